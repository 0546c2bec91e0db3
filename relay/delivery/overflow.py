"""Which of what waits for a channel goes by another one: plain functions of what is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from relay.policy.route import PATIENCE, first_channel
from relay.queue.rows import Waiting

Moves = dict[int, str]
"""By recipient id, the channel that it takes."""


def diverted(
    channel: str, waiting: Iterable[Waiting], closed: Mapping[bool, Mapping[str, datetime]]
) -> Moves:
    """Return what leaves a channel that is closed; `closed` by whether mail is essential."""
    return {
        item.id: way
        for item in waiting
        if (way := first_channel(item.plan.channels, closed[item.is_essential])) != channel
    }


def overflowing(
    waiting: Iterable[Waiting], full: Mapping[str, datetime], now: datetime
) -> tuple[Moves, datetime | None]:
    """Return what has waited for a limit long enough, and when the next one will have, if any.

    `waiting` is essential; `full` are the channels without room at this moment, its own included.
    """
    moves, ends = Moves(), list[datetime]()
    for item in waiting:
        way = first_channel(item.plan.channels, full)
        if item.due_at + PATIENCE > now:
            ends.append(item.due_at + PATIENCE)
        elif way not in full:
            moves[item.id] = way
    return moves, min(ends, default=None)

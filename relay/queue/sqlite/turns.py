"""Who stands before a recipient that waits: its place among those of its channel."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from relay.policy.ledger import Ledger
from relay.policy.limits import Charge, Usage, from_ms
from relay.queue.rows import Turn
from relay.queue.sqlite.codec import ESSENTIAL_RANK, goes_to_many

_OF_ONE_TRANSACTION = 100  # recipients, of what goes to many
_AT_ONCE = 500
_NOBODY = Charge(from_ms(0), 0, 0)

_PLACES = """
SELECT r.id, r.channel, r.rank, r.flow, r.due_at, m.size_bytes
FROM recipient r JOIN message m ON m.id = r.message_id
WHERE r.due_at IS NOT NULL AND r.id IN ({})"""

_LINES = """
SELECT rank, flow, count(*) FROM recipient WHERE channel = ? AND due_at IS NOT NULL GROUP BY 1, 2"""

_BETWEEN = """
SELECT count(*) FROM recipient
WHERE channel = ? AND rank = ? AND flow = ? AND due_at >= ? AND due_at < ?"""

_BESIDE = """
SELECT count(*) FROM recipient
WHERE channel = ? AND rank = ? AND flow = ? AND due_at = ? AND id < ?"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a recipient stands; transactions and bytes before it are estimates."""

    recipient_id: int
    channel: str
    is_essential: bool
    due_at: datetime
    ahead: Charge
    essential: Charge  # of those ahead


def places(db: sqlite3.Connection, ids: Sequence[int], channels: Iterable[str]) -> list[Place]:
    """Return where each of `ids` that waits for one of `channels` stands."""
    found = []
    for begin in range(0, len(ids), _AT_ONCE):
        some = ids[begin : begin + _AT_ONCE]
        found += db.execute(_PLACES.format(", ".join("?" * len(some))), some).fetchall()
    wanted = frozenset(channels)
    lines: dict[str, list[tuple[int, str, int]]] = {}
    result = []
    for row, before in _in_own_line(db, [row for row in found if row[1] in wanted]):
        number, channel, rank, flow, due_at, size_bytes = row
        if channel not in lines:
            lines[channel] = db.execute(_LINES, (channel,)).fetchall()
        ahead = {(rank, flow): before}
        for other_rank, other, length in lines[channel]:
            if other_rank < rank:
                ahead[other_rank, other] = length
            elif other_rank == rank and other != flow:
                ahead[other_rank, other] = min(length, before + 1)  # lines take turns
        result.append(
            Place(
                recipient_id=number,
                channel=channel,
                is_essential=rank == ESSENTIAL_RANK,
                due_at=from_ms(due_at),
                ahead=_charge(ahead, size_bytes),
                essential=_charge(
                    {line: n for line, n in ahead.items() if line[0] == ESSENTIAL_RANK},
                    size_bytes,
                ),
            )
        )
    return result


def turn(ledger: Ledger, place: Place, now: datetime) -> Turn | None:
    """Return when a recipient's turn is, None while no limit lets it wait."""
    essential = None if place.is_essential else place.essential
    wait = ledger.turn(place.ahead, essential, now)
    if wait is None:
        return None
    room = ledger.turn(_NOBODY, None if place.is_essential else _NOBODY, now)
    usage = next(usage for usage in ledger.usage(now) if usage.limit == wait.limit)
    return Turn(
        usage=Usage(usage.limit, usage.used, None if room is None else room.until),
        ahead=place.ahead.recipients,
        at=max(wait.until, place.due_at),
    )


def _in_own_line(
    db: sqlite3.Connection, rows: list[tuple[int, str, int, str, int, int]]
) -> Iterator[tuple[tuple[int, str, int, str, int, int], int]]:
    """Yield each row with how many stand before it in its line, counting each of those once."""
    line: tuple[str, int, str] | None = None
    begin = before = 0
    for row in sorted(rows, key=lambda row: (row[1], row[2], row[3], row[4], row[0])):
        number, channel, rank, flow, due_at, _ = row
        if line != (channel, rank, flow):
            line, begin, before = (channel, rank, flow), 0, 0
        before += db.execute(_BETWEEN, (*line, begin, due_at)).fetchone()[0]
        begin = due_at
        yield row, before + db.execute(_BESIDE, (*line, due_at, number)).fetchone()[0]


def _charge(lines: Mapping[tuple[int, str], int], size_bytes: int) -> Charge:
    """Return what the recipients of some lines come to, their messages being of one size."""
    messages = sum(
        -(-number // _OF_ONE_TRANSACTION) if goes_to_many(flow) else number
        for (_, flow), number in lines.items()
    )
    return Charge(from_ms(0), messages, sum(lines.values()), messages * size_bytes)

"""When a recipient's copy is tried again, and when the relay gives up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.policy.kinds import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Waits between attempts; the last one repeats until `give_up_after`."""

    waits: tuple[timedelta, ...]  # at least one
    give_up_after: timedelta  # counted from reception
    in_doubt_wait: timedelta  # after an outcome in doubt
    held_in_doubt: frozenset[Kind] = frozenset()  # the others are sent once more after that wait
    delay_notice_after: timedelta | None  # counted from reception; None: the sender is never told


def next_attempt_at(
    schedule: Schedule, attempts: int, received_at: datetime, now: datetime
) -> datetime | None:
    """Return when to try again after `attempts` ≥ 1, or None to give up.

    RFC 5321 §4.5.4.1 asks for waits of 30 minutes or more and 4-5 days in all. What had to wait
    for its channel until then is tried a few times all the same: as often as there are waits.
    """
    wait = schedule.waits[min(attempts, len(schedule.waits)) - 1]
    due = now + wait
    in_time = due < received_at + schedule.give_up_after
    return due if in_time or attempts < len(schedule.waits) else None

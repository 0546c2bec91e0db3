"""The claim: what matters first, then each application in its turn, as far as limits have room."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from relay.mail.message import Content, Spooled, encode_id
from relay.policy.kinds import ESSENTIAL, Kind
from relay.policy.ledger import Ledger
from relay.policy.limits import Charge, Wait, from_ms, to_ms, to_ms_up
from relay.queue.rows import Claim, Lease, Target
from relay.queue.sqlite import charges
from relay.queue.sqlite.codec import ESSENTIAL_RANK, decode_plan
from relay.queue.store import Room

_RANKS = (0, 1, 2)
_LOOK_AHEAD = 4  # candidates read for each lease and recipient that may be taken
_MAX_CANDIDATES = 512

_NEXT_FLOW = """
SELECT flow, due_at FROM recipient
WHERE channel = ? AND rank = ? AND flow > ? AND due_at IS NOT NULL ORDER BY flow, due_at LIMIT 1"""

_DUE = """
SELECT message_id, id, forward_path, attempts, doubts, plan, rule FROM recipient
WHERE channel = ? AND rank = ? AND flow = ? AND due_at <= ? ORDER BY due_at LIMIT ?"""

_NEXT_DUE = """
SELECT due_at FROM recipient WHERE channel = ? AND rank = ? AND flow = ? AND due_at IS NOT NULL
ORDER BY due_at LIMIT 1"""

_FIRST_DUE = """
SELECT min(due_at) FROM recipient
WHERE channel = ? AND rank = ? AND due_at > ? AND due_at < ?"""

_MESSAGE = """
SELECT received_at, reverse_path, body_8bit, smtputf8, spooled, size_bytes, kind, unsure, subject
FROM message WHERE id = ?"""

_LEASE = """
UPDATE recipient SET state = 'sending', due_at = NULL, lease_until = ?, charged_at = ?,
    attempts = attempts + 1
WHERE id = ?"""

Turns = dict[tuple[str, int], str]
"""Whose turn was the last one, by channel and rank."""

_Rows = list[tuple[Any, ...]]


@dataclass(slots=True)
class _Claiming:
    """One claim as it grows."""

    db: sqlite3.Connection
    ledger: Ledger
    channel: str
    room: Room
    now: datetime
    recall: Callable[[int], bytes | None]
    turns: Turns
    leases: list[Lease] = field(default_factory=list)
    throttled: Wait | None = None
    is_essential_throttled: bool = False
    served: list[tuple[int, str]] = field(default_factory=list)  # rank and flow
    next_due: list[int] = field(default_factory=list)  # ms; of the flows that were not

    @property
    def is_over(self) -> bool:
        return self.throttled is not None or len(self.leases) == self.room.leases


def claim(
    db: sqlite3.Connection,
    ledger: Ledger,
    channel: str,
    room: Room,
    now: datetime,
    recall: Callable[[int], bytes | None],
    turns: Turns,
) -> Claim:
    """Lease what is due, one transaction a lease, and charge for it.

    `recall` returns content that is still in memory.
    """
    claiming = _Claiming(db, ledger, channel, room, now, recall, turns)
    for rank in _RANKS:
        if claiming.is_over:
            break
        _claim_rank(claiming, rank)
    leases, throttled = tuple(claiming.leases), claiming.throttled
    if leases:
        charges.charge(db, channel, [lease.charge for lease in leases])
    if throttled is not None:
        return Claim(
            leases=leases,
            next_at=_essential_due(claiming, throttled.until),
            throttled=throttled,
            has_reserve=not claiming.is_essential_throttled and _has_reserve(ledger, now),
        )
    if len(leases) == room.leases:
        return Claim(leases=leases, next_at=now)
    return Claim(leases=leases, next_at=_next_due(claiming))


def unclaim(db: sqlite3.Connection, leases: tuple[Lease, ...], now: datetime) -> None:
    """Make due what was leased in a commit that failed."""
    for lease in leases:
        for target in lease.targets:
            db.execute(
                "UPDATE recipient SET state = 'queued', due_at = ?, lease_until = NULL, "
                "charged_at = NULL WHERE id = ? AND state = 'sending'",
                (to_ms(now), target.id),
            )


def load_content(
    db: sqlite3.Connection, message_id: int, spooled: str | None, size_bytes: int
) -> Content:
    """Return content from its file or from the database."""
    if spooled is not None:
        return Spooled(spooled, size_bytes)
    row = db.execute("SELECT data FROM content WHERE message_id = ?", (message_id,)).fetchone()
    return b"" if row is None else bytes(row[0])


def _claim_rank(claiming: _Claiming, rank: int) -> None:
    """Lease of each flow in its turn, beginning after the one that had the last turn."""
    lines = deque(
        (flow, deque(_messages(claiming, rank, flow).items()))
        for flow in _flows(claiming, rank, claiming.room.leases - len(claiming.leases))
    )
    claiming.served += [(rank, flow) for flow, _ in lines]
    while lines and not claiming.is_over:
        flow, messages = lines.popleft()
        message_id, rows = messages.popleft()
        if _take(claiming, message_id, rows, is_essential=rank == ESSENTIAL_RANK):
            claiming.turns[claiming.channel, rank] = flow
        if messages:
            lines.append((flow, messages))


def _flows(claiming: _Claiming, rank: int, at_most: int) -> list[str]:
    """Return the flows that have something due, those after the last turn first."""
    last = claiming.turns.get((claiming.channel, rank), "")
    found: list[str] = []
    for after, up_to in ((last, None), ("", last)):
        for flow, due_at in _from(claiming, rank, after):
            if up_to is not None and flow > up_to:
                break
            if due_at <= to_ms(claiming.now):
                found.append(flow)
                if len(found) == at_most:
                    return found
            else:
                claiming.next_due.append(due_at)
        if not last:
            break
    return found


def _from(claiming: _Claiming, rank: int, after: str) -> Iterator[tuple[str, int]]:
    while True:
        row = claiming.db.execute(_NEXT_FLOW, (claiming.channel, rank, after)).fetchone()
        if row is None:
            return
        after = row[0]
        yield row


def _next_due(claiming: _Claiming) -> datetime | None:
    """Return when something is due, once all that may go now was taken."""
    for rank, flow in claiming.served:
        row = claiming.db.execute(_NEXT_DUE, (claiming.channel, rank, flow)).fetchone()
        if row is not None:
            claiming.next_due.append(row[0])
    return from_ms(min(claiming.next_due)) if claiming.next_due else None


def _essential_due(claiming: _Claiming, until: datetime) -> datetime:
    """Return when essential mail is due that other mail's limit does not keep, else `until`."""
    if claiming.is_essential_throttled:
        return until
    arguments = (claiming.channel, ESSENTIAL_RANK, to_ms(claiming.now), to_ms(until))
    (due_at,) = claiming.db.execute(_FIRST_DUE, arguments).fetchone()
    return until if due_at is None else from_ms(due_at)


def _messages(claiming: _Claiming, rank: int, flow: str) -> dict[int, _Rows]:
    """Return what is due of a flow, the oldest first, by message."""
    room = claiming.room
    wanted = (room.leases - len(claiming.leases)) * _LOOK_AHEAD + room.recipients
    due = claiming.db.execute(
        _DUE,
        (claiming.channel, rank, flow, to_ms(claiming.now), min(wanted, _MAX_CANDIDATES)),
    )
    messages: dict[int, _Rows] = {}
    for row in due:
        messages.setdefault(row[0], []).append(row)
    return messages


def _take(claiming: _Claiming, message_id: int, rows: _Rows, *, is_essential: bool) -> bool:
    """Lease a message to as many of `rows` as there is room for; return whether there is any."""
    ledger, now = claiming.ledger, claiming.now
    message = claiming.db.execute(_MESSAGE, (message_id,)).fetchone()
    rows = rows[: claiming.room.recipients]
    wish = _wish(ledger, message[5], rows, now)
    answer = ledger.admit(wish, now, is_essential=is_essential)
    if isinstance(answer, Wait):
        claiming.throttled, claiming.is_essential_throttled = answer, is_essential
        return False
    if answer.recipients < len(rows):
        rows = rows[: answer.recipients]
        wish = _wish(ledger, message[5], rows, now)
    ledger.depart(wish, now + claiming.room.lease_for)
    claiming.leases.append(_lease(claiming, message_id, message, rows, wish))
    return True


def _wish(ledger: Ledger, size_bytes: int, rows: _Rows, now: datetime) -> Charge:
    addresses = tuple(charges.digest(row[2]) for row in rows) if ledger.wants_addresses else ()
    return Charge(now, 1, len(rows), size_bytes, addresses)


def _lease(
    claiming: _Claiming, message_id: int, message: tuple[Any, ...], rows: _Rows, charge: Charge
) -> Lease:
    received_at, reverse_path, body_8bit, smtputf8, spooled, size_bytes, kind, unsure, subject = (
        message
    )
    until = charges.lease_until(claiming.now + claiming.room.lease_for, rows[0][1])
    charged_at = to_ms_up(claiming.now)
    for row in rows:
        claiming.db.execute(_LEASE, (until, charged_at, row[1]))
    content: Content | None = claiming.recall(message_id)
    if content is None:
        content = load_content(claiming.db, message_id, spooled, size_bytes)
    return Lease(
        message_id=message_id,
        queue_id=encode_id(message_id),
        channel=claiming.channel,
        kind=Kind(kind),
        is_essential=bool(unsure) or Kind(kind) in ESSENTIAL,
        received_at=from_ms(received_at),
        reverse_path=reverse_path,
        body_8bit=bool(body_8bit),
        smtputf8=bool(smtputf8),
        subject=subject,
        targets=tuple(_target(row) for row in rows),
        content=content,
        charge=charge,
    )


def _target(row: tuple[Any, ...]) -> Target:
    _, number, forward_path, attempts, doubts, plan, rule = row
    return Target(
        id=number,
        forward_path=forward_path,
        attempts=attempts + 1,
        doubts=doubts,
        plan=decode_plan(plan, rule),
    )


def _has_reserve(ledger: Ledger, now: datetime) -> bool:
    """Return whether a small essential message would go now."""
    return not isinstance(ledger.admit(Charge(now, 1, 1, 1), now, is_essential=True), Wait)

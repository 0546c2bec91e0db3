"""The three transactions of a message's way: put, claim, settle."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from relay.mail.attempt import Attempt
from relay.mail.message import Content, Spooled, encode_id
from relay.policy.accounting import State
from relay.policy.health import Health
from relay.policy.kinds import ESSENTIAL, Kind
from relay.policy.limits import Charge, Ledger, Limit, Wait, from_ms, to_ms, to_ms_up
from relay.policy.settlement import Dead, Disposition, Done, Doubt, Held, Later, Settlement
from relay.queue.rows import Claim, Lease, Target
from relay.queue.sqlite.codec import (
    decode_plan,
    encode_facts,
    encode_health,
    encode_reasons,
    rank_of,
)
from relay.queue.store import Entry, Room

_RANKS = (0, 1, 2)
_LOOK_AHEAD = 4  # candidates read for each lease and recipient that may be taken
_MAX_CANDIDATES = 512

_PUT_MESSAGE = """
INSERT OR IGNORE INTO message (id, received_at, reverse_path, body_8bit, smtputf8, listener,
    application, client, helo, tls, size_bytes, spooled, subject, kind, certainty, unsure, reasons,
    facts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_PUT_RECIPIENT = """
INSERT INTO recipient (message_id, forward_path, state, channel, plan, rule, rank, due_at, why)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""

COUNT = """
INSERT INTO counter (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"""

_DUE = """
SELECT r.message_id, r.id, r.forward_path, r.attempts, r.doubts, r.plan, r.rule
FROM recipient r WHERE r.channel = ? AND r.rank = ? AND r.due_at <= ?
ORDER BY r.due_at LIMIT ?"""

_NEXT_DUE = """
SELECT due_at FROM recipient WHERE channel = ? AND rank = ? AND due_at IS NOT NULL
ORDER BY due_at LIMIT 1"""

_MESSAGE = """
SELECT received_at, reverse_path, body_8bit, smtputf8, spooled, size_bytes, kind, unsure, subject
FROM message WHERE id = ?"""

_LEASE = """
UPDATE recipient SET state = 'sending', due_at = NULL, lease_until = ?, attempts = attempts + 1
WHERE id = ?"""

CHARGE = """
INSERT INTO charge (channel, at, messages, recipients) VALUES (?, ?, ?, ?)
ON CONFLICT (channel, at) DO UPDATE
SET messages = messages + excluded.messages, recipients = recipients + excluded.recipients"""

_REFUND = """
UPDATE charge SET messages = max(0, messages - ?), recipients = max(0, recipients - ?)
WHERE channel = ? AND at = ?"""

_SETTLE = """
UPDATE recipient SET state = ?, channel = ?, due_at = ?, lease_until = NULL, why = ?,
    doubts = doubts + ?, finished_at = ?
WHERE id = ? AND state = 'sending'"""

_ATTEMPT = """
INSERT INTO attempt (recipient_id, at, channel, upstream, result, reply, entry, milliseconds)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""

FINISH_MESSAGE = """
UPDATE message SET finished_at = ? WHERE id = ? AND NOT EXISTS (
    SELECT 1 FROM recipient WHERE message_id = message.id AND finished_at IS NULL)"""


def put(db: sqlite3.Connection, entry: Entry) -> None:
    """Insert a message, its content and its recipients; doing it twice is doing it once."""
    message, verdict = entry.message, entry.verdict
    envelope, origin, content = message.envelope, message.origin, message.content
    received_at = to_ms(message.received_at)
    spooled = content.path if isinstance(content, Spooled) else None
    new = db.execute(
        _PUT_MESSAGE,
        (
            message.id, received_at, envelope.reverse_path, envelope.body_8bit, envelope.smtputf8,
            origin.listener, origin.application, origin.client, origin.helo, origin.tls,
            message.size_bytes, spooled, entry.subject, verdict.kind, verdict.certainty,
            verdict.unsure, encode_reasons(verdict), encode_facts(entry.facts),
        ),
    )  # fmt: skip
    if new.rowcount == 0:
        return
    if isinstance(content, bytes):
        db.execute("INSERT INTO content (message_id, data) VALUES (?, ?)", (message.id, content))
    rank = rank_of(verdict.kind, verdict.is_essential)
    rows = []
    for path, plan, channel in zip(
        envelope.forward_paths, entry.plans, entry.channels, strict=True
    ):
        state, due_at = (State.QUEUED, received_at) if plan.hold is None else (State.HELD, None)
        rows.append(
            (
                message.id, plan.redirect or path, state, channel, " ".join(plan.channels),
                plan.rule, rank, due_at, plan.hold or "",
            )
        )  # fmt: skip
    db.executemany(_PUT_RECIPIENT, rows)
    db.execute(COUNT, ("accepted", len(rows)))


def unput(db: sqlite3.Connection, message_id: int) -> None:
    """Take out a message whose client was told that it was not accepted."""
    gone = db.execute("DELETE FROM recipient WHERE message_id = ?", (message_id,)).rowcount
    db.execute("DELETE FROM content WHERE message_id = ?", (message_id,))
    if db.execute("DELETE FROM message WHERE id = ?", (message_id,)).rowcount:
        db.execute(COUNT, ("accepted", -gone))


def claim(
    db: sqlite3.Connection,
    ledger: Ledger,
    channel: str,
    room: Room,
    now: datetime,
    recall: Callable[[int], bytes | None],
) -> Claim:
    """Lease what is due, the first in rank and then in time, one transaction a lease.

    `recall` returns content that is still in memory.
    """
    leases: list[Lease] = []
    throttled: Wait | None = None
    charged_messages = charged_recipients = 0
    for rank in _RANKS:
        if len(leases) == room.leases or throttled is not None:
            break
        wanted = (room.leases - len(leases)) * _LOOK_AHEAD + room.recipients
        due = db.execute(_DUE, (channel, rank, to_ms(now), min(wanted, _MAX_CANDIDATES))).fetchall()
        for message_id, rows in groupby(due, key=itemgetter(0)):
            if len(leases) == room.leases:
                break
            targets = list(rows)[: room.recipients]
            answer = ledger.admit(len(targets), now)
            if isinstance(answer, Wait):
                throttled = answer
                break
            lease = _lease(db, message_id, channel, targets[: answer.recipients], room, now, recall)
            ledger.charge(lease.charge)
            charged_messages += 1
            charged_recipients += len(lease.targets)
            leases.append(lease)
    if leases:
        db.execute(CHARGE, (channel, to_ms_up(now), charged_messages, charged_recipients))
    if throttled is not None:
        return Claim(leases=tuple(leases), next_at=throttled.until, throttled=throttled.limit)
    return Claim(leases=tuple(leases), next_at=_next_due(db, channel))


def unclaim(db: sqlite3.Connection, leases: tuple[Lease, ...], now: datetime) -> None:
    """Make due what was leased in a commit that failed."""
    for lease in leases:
        for target in lease.targets:
            db.execute(
                "UPDATE recipient SET state = 'queued', due_at = ?, lease_until = NULL "
                "WHERE id = ? AND state = 'sending'",
                (to_ms(now), target.id),
            )


def settle(
    db: sqlite3.Connection,
    ledger: Ledger | None,
    lease: Lease,
    attempt: Attempt,
    settlement: Settlement,
    health: Health | None,
    reports: tuple[Entry, ...],
) -> None:
    """Write what came of each recipient, the history, the channel's state and the reports."""
    ended_at = to_ms(attempt.ended_at)
    started_at = to_ms(attempt.started_at)
    finished = changed = False
    for target, disposition, judgement in zip(
        lease.targets, settlement.dispositions, settlement.judgements, strict=True
    ):
        state, channel, due_at, why = _columns(disposition, lease.channel)
        is_final = state in ("sent", "failed")
        updated = db.execute(
            _SETTLE,
            (state, channel, due_at, why, state == "in_doubt", ended_at if is_final else None,
             target.id),
        )  # fmt: skip
        if updated.rowcount == 0:
            continue
        changed = True
        finished = finished or is_final
        db.execute(
            _ATTEMPT,
            (target.id, started_at, attempt.channel, attempt.upstream, state, why,
             judgement.entry if judgement else None, ended_at - started_at),
        )  # fmt: skip
    if not changed:
        return  # settled before, by a commit that was reported as failed
    if finished:
        db.execute(FINISH_MESSAGE, (ended_at, lease.message_id))
    if settlement.refund_messages or settlement.refund_recipients:
        _refund(db, ledger, lease, settlement)
    if any(isinstance(disposition, Doubt) for disposition in settlement.dispositions):
        doubts = sum(isinstance(disposition, Doubt) for disposition in settlement.dispositions)
        db.execute(COUNT, ("possible_duplicates", doubts))
    if health is not None:
        put_health(db, lease.channel, health)
    for report in reports:
        put(db, report)


def put_health(db: sqlite3.Connection, channel: str, health: Health) -> None:
    """Remember how a channel is."""
    db.execute(
        "INSERT OR REPLACE INTO health (channel, state) VALUES (?, ?)",
        (channel, encode_health(health)),
    )


def load_ledger(
    db: sqlite3.Connection, channel: str, limits: tuple[Limit, ...], now: datetime
) -> Ledger:
    """Return a channel's windows, filled with what was charged so far."""
    longest = max((limit.per for limit in limits), default=None)
    if longest is None:
        return Ledger((), (), now)
    rows = db.execute(
        "SELECT at, messages, recipients FROM charge WHERE channel = ? AND at > ? ORDER BY at",
        (channel, to_ms(now - longest)),
    )
    return Ledger(limits, (Charge(from_ms(at), m, r) for at, m, r in rows), now)


def _lease(
    db: sqlite3.Connection,
    message_id: int,
    channel: str,
    rows: list[tuple[Any, ...]],
    room: Room,
    now: datetime,
    recall: Callable[[int], bytes | None],
) -> Lease:
    row = db.execute(_MESSAGE, (message_id,)).fetchone()
    received_at, reverse_path, body_8bit, smtputf8, spooled, size_bytes, kind, unsure, subject = row
    until = to_ms(now + room.lease_for)
    targets = []
    for _, number, forward_path, attempts, doubts, plan, rule in rows:
        db.execute(_LEASE, (until, number))
        targets.append(
            Target(
                id=number,
                forward_path=forward_path,
                attempts=attempts + 1,
                doubts=doubts,
                plan=decode_plan(plan, rule),
            )
        )
    content: Content | None = recall(message_id)
    if content is None:
        content = load_content(db, message_id, spooled, size_bytes)
    return Lease(
        message_id=message_id,
        queue_id=encode_id(message_id),
        channel=channel,
        kind=Kind(kind),
        is_essential=bool(unsure) or Kind(kind) in ESSENTIAL,
        received_at=from_ms(received_at),
        reverse_path=reverse_path,
        body_8bit=bool(body_8bit),
        smtputf8=bool(smtputf8),
        subject=subject,
        targets=tuple(targets),
        content=content,
        charge=Charge(now, 1, len(targets)),
    )


def load_content(
    db: sqlite3.Connection, message_id: int, spooled: str | None, size_bytes: int
) -> Content:
    """Return content from its file or from the database."""
    if spooled is not None:
        return Spooled(spooled, size_bytes)
    row = db.execute("SELECT data FROM content WHERE message_id = ?", (message_id,)).fetchone()
    return b"" if row is None else bytes(row[0])


def content_head(db: sqlite3.Connection, message_id: int, size_bytes: int) -> bytes:
    """Return the first `size_bytes` of a message's content."""
    row = db.execute("SELECT spooled FROM message WHERE id = ?", (message_id,)).fetchone()
    if row is not None and row[0] is not None:
        fd = os.open(row[0], os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, size_bytes)
        finally:
            os.close(fd)
    found = db.execute(
        "SELECT substr(data, 1, ?) FROM content WHERE message_id = ?", (size_bytes, message_id)
    ).fetchone()
    return b"" if found is None else bytes(found[0])


def _columns(disposition: Disposition, channel: str) -> tuple[str, str, int | None, str]:
    """Return state, channel, due_at and why."""
    match disposition:
        case Done(reply):
            return "sent", channel, None, str(reply)
        case Later(due_at, by, reply):
            return "deferred", by, to_ms(due_at), str(reply)
        case Doubt(due_at, reply):
            return "in_doubt", channel, to_ms(due_at), str(reply)
        case Held(why):
            return "held", channel, None, why
        case Dead(reply):
            return "failed", channel, None, str(reply)


def _refund(
    db: sqlite3.Connection, ledger: Ledger | None, lease: Lease, settlement: Settlement
) -> None:
    back = Charge(lease.charge.at, settlement.refund_messages, settlement.refund_recipients)
    db.execute(_REFUND, (back.messages, back.recipients, lease.channel, to_ms_up(back.at)))
    if ledger is not None:
        ledger.refund(back)


def _next_due(db: sqlite3.Connection, channel: str) -> datetime | None:
    found = [
        row[0]
        for rank in _RANKS
        if (row := db.execute(_NEXT_DUE, (channel, rank)).fetchone()) is not None
    ]
    return from_ms(min(found)) if found else None

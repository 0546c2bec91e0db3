"""The first and the last transaction of a message's way: put and settle; `claims` is between."""

from __future__ import annotations

import os
import sqlite3

from relay.mail.attempt import Attempt, InDoubt
from relay.mail.message import Spooled
from relay.policy.accounting import State
from relay.policy.health import Health
from relay.policy.limits import to_ms
from relay.policy.settlement import Dead, Disposition, Done, Doubt, Held, Later, Settlement
from relay.queue.rows import Lease
from relay.queue.sqlite.codec import (
    encode_facts,
    encode_health,
    encode_reasons,
    flow_of,
    rank_of,
)
from relay.queue.store import Entry

_PUT_MESSAGE = """
INSERT OR IGNORE INTO message (id, received_at, reverse_path, body_8bit, smtputf8, listener,
    application, client, helo, tls, size_bytes, spooled, subject, kind, certainty, unsure, reasons,
    facts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_PUT_RECIPIENT = """
INSERT INTO recipient (message_id, forward_path, state, channel, plan, rule, rank, flow,
    due_at, why)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

COUNT = """
INSERT INTO counter (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"""

_SETTLE = """
UPDATE recipient SET state = ?, channel = ?, due_at = ?, lease_until = NULL, charged_at = NULL,
    why = ?, doubts = doubts + ?, finished_at = ?
WHERE id = ? AND state = 'sending' AND attempts = ?"""

_ATTEMPT = """
INSERT INTO attempt (recipient_id, at, channel, upstream, result, reply, entry, milliseconds)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""

_FORGET_CONTENT = """
UPDATE message SET spooled = NULL, has_content = 0
WHERE id = ? AND finished_at IS NOT NULL AND has_content = 1 AND NOT EXISTS (
    SELECT 1 FROM recipient WHERE message_id = message.id AND state = 'failed')"""

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
    flow = flow_of(origin, len(envelope.forward_paths))
    rows = []
    for path, plan, channel in zip(
        envelope.forward_paths, entry.plans, entry.channels, strict=True
    ):
        state, due_at = (State.QUEUED, received_at) if plan.hold is None else (State.HELD, None)
        rows.append(
            (
                message.id, plan.redirect or path, state, channel, " ".join(plan.channels),
                plan.rule, rank, flow, due_at, plan.hold or "",
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


def settle(
    db: sqlite3.Connection,
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
    for target, outcome, disposition, judgement in zip(
        lease.targets, attempt.outcomes, settlement.dispositions, settlement.judgements, strict=True
    ):
        result, channel, due_at, why = _columns(disposition, lease.channel)
        state = "in_doubt" if result == "deferred" and target.doubts else result
        is_final = state in ("sent", "failed")
        updated = db.execute(
            _SETTLE,
            (state, channel, due_at, why, isinstance(outcome, InDoubt),
             ended_at if is_final else None, target.id, target.attempts),
        )  # fmt: skip
        if updated.rowcount == 0:
            continue
        changed = True
        finished = finished or is_final
        db.execute(
            _ATTEMPT,
            (target.id, started_at, attempt.channel, attempt.upstream, result, why,
             judgement.entry if judgement else None, ended_at - started_at),
        )  # fmt: skip
    if not changed:
        return  # settled before, by a commit that was reported as failed
    if finished:
        db.execute(FINISH_MESSAGE, (ended_at, lease.message_id))
    if any(isinstance(disposition, Doubt) for disposition in settlement.dispositions):
        doubts = sum(isinstance(disposition, Doubt) for disposition in settlement.dispositions)
        db.execute(COUNT, ("possible_duplicates", doubts))
    if health is not None:
        put_health(db, lease.channel, health)
    for report in reports:
        put(db, report)


def forget_content(db: sqlite3.Connection, message_id: int) -> bool:
    """Let go of the file of a message if it is done, but for failures; return whether it was."""
    return db.execute(_FORGET_CONTENT, (message_id,)).rowcount > 0


def put_health(db: sqlite3.Connection, channel: str, health: Health) -> None:
    """Remember how a channel is."""
    db.execute(
        "INSERT OR REPLACE INTO health (channel, state) VALUES (?, ?)",
        (channel, encode_health(health)),
    )


def content_head(db: sqlite3.Connection, message_id: int, size_bytes: int) -> bytes:
    """Return the first `size_bytes` of a message's content."""
    which = "SELECT spooled FROM message WHERE id = ?"
    row = db.execute(which, (message_id,)).fetchone()
    if row is not None and row[0] is not None:
        fd = os.open(row[0], os.O_RDONLY | os.O_CLOEXEC)
        try:
            head = os.read(fd, size_bytes)
        finally:
            os.close(fd)
        is_still = db.execute(which, (message_id,)).fetchone() == row
        return head if is_still else b""  # the file may be another message's by now
    found = db.execute(
        "SELECT substr(data, 1, ?) FROM content WHERE message_id = ?", (size_bytes, message_id)
    ).fetchone()
    return b"" if found is None else bytes(found[0])


def _columns(disposition: Disposition, channel: str) -> tuple[str, str, int | None, str]:
    """Return result, channel, due_at and why."""
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

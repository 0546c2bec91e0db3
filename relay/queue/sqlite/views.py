"""What people and metrics see; reads only, on a connection of its own."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import Any

from relay.mail.message import Envelope, Origin, decode_id, encode_id
from relay.policy.accounting import Accounting, State
from relay.policy.corrections import Past
from relay.policy.kinds import Kind
from relay.policy.limits import from_ms
from relay.queue.rows import AttemptRow, Correction, Depth, MessageRow, RecipientRow
from relay.queue.sqlite.codec import decode_facts, decode_plan, decode_reasons, optional_time
from relay.queue.sqlite.owner import where
from relay.queue.store import Selection

_RECIPIENT = """
SELECT r.id, r.message_id, r.forward_path, r.state, r.channel, r.plan, r.rule, r.due_at,
    r.attempts, r.why, m.reverse_path, m.subject, m.kind, m.size_bytes, m.received_at,
    r.finished_at
FROM recipient r JOIN message m ON m.id = r.message_id """

# Three small indexes instead of a large one, which every message would have to pay for.
_UNFINISHED = """
SELECT state, channel, message_id FROM recipient WHERE due_at IS NOT NULL
UNION ALL SELECT state, channel, message_id FROM recipient WHERE lease_until IS NOT NULL
UNION ALL SELECT state, channel, message_id FROM recipient WHERE state = 'held'"""


def recipients(db: sqlite3.Connection, selection: Selection, limit: int) -> list[RecipientRow]:
    """Return recipients, the newest message first."""
    condition, arguments = where(selection)
    rows = db.execute(
        f"{_RECIPIENT} WHERE {condition} ORDER BY r.message_id DESC, r.id LIMIT ?",
        [*arguments, limit],
    )
    return [_to_recipient(row) for row in rows]


def message(db: sqlite3.Connection, queue_id: str) -> MessageRow | None:
    """Return one message with its recipients and their history."""
    number = decode_id(queue_id)
    row = db.execute(
        "SELECT received_at, reverse_path, body_8bit, smtputf8, listener, application, client, "
        "helo, tls, size_bytes, has_content, subject, m.kind, certainty, reasons, facts, "
        "c.at, c.kind FROM message m LEFT JOIN correction c ON c.message_id = m.id WHERE m.id = ?",
        (number,),
    ).fetchone()
    if row is None:
        return None
    (
        received_at, reverse_path, body_8bit, smtputf8, listener, application, client, helo, tls,
        size_bytes, has_content, subject, kind, certainty, reasons, facts, corrected_at, found,
    ) = row  # fmt: skip
    rows = recipients(db, Selection(queue_ids=(queue_id,)), -1)
    return MessageRow(
        queue_id=encode_id(number),
        received_at=from_ms(received_at),
        envelope=Envelope(
            reverse_path=reverse_path,
            forward_paths=tuple(row.forward_path for row in rows),
            body_8bit=bool(body_8bit),
            smtputf8=bool(smtputf8),
        ),
        origin=Origin(
            listener=listener, application=application, client=client, helo=helo, tls=bool(tls)
        ),
        size_bytes=size_bytes,
        subject=subject,
        kind=Kind(kind),
        certainty=certainty,
        reasons=decode_reasons(reasons),
        recipients=tuple(rows),
        attempts=_attempts(db, number),
        has_content=bool(has_content),
        corrected=found and Correction(at=from_ms(corrected_at), kind=Kind(found)),
        facts=decode_facts(facts),
    )


def past(db: sqlite3.Connection, limit: int) -> list[Past]:
    """Return the newest messages as they were told and corrected, without reports of our own."""
    rows = db.execute(
        "SELECT m.id, m.listener, m.application, m.reverse_path, m.subject, m.kind, c.kind, c.at "
        "FROM message m LEFT JOIN correction c ON c.message_id = m.id "
        "WHERE m.listener != 'relay' ORDER BY m.id DESC LIMIT ?",
        (limit,),
    )
    return [
        Past(
            queue_id=encode_id(number),
            listener=listener,
            application=application,
            reverse_path=reverse_path,
            subject=subject,
            kind=Kind(kind),
            found=Kind(found or kind),
            is_corrected=corrected_at is not None,
        )
        for number, listener, application, reverse_path, subject, kind, found, corrected_at in rows
    ]


def depth(db: sqlite3.Connection) -> list[Depth]:
    """Return how much there is of everything that is not finished."""
    rows = db.execute(
        "SELECT r.state, r.channel, m.kind, count(*), min(m.received_at) "  # noqa: S608
        f"FROM ({_UNFINISHED}) r JOIN message m ON m.id = r.message_id GROUP BY 1, 2, 3"
    )
    return [
        Depth(
            state=State(state),
            channel=channel,
            kind=Kind(kind),
            recipients=count,
            oldest_at=from_ms(oldest),
        )
        for state, channel, kind, count, oldest in rows
    ]


def accounting(db: sqlite3.Connection) -> Accounting:
    """Count every recipient, in one snapshot of the database."""
    db.execute("BEGIN")
    try:
        counters = dict(db.execute("SELECT name, value FROM counter").fetchall())
        states = {state: counters.get(f"purged_{state}", 0) for state in State}
        for state, count in db.execute("SELECT state, count(*) FROM recipient GROUP BY state"):
            states[State(state)] += count
    finally:
        db.execute("ROLLBACK")
    return Accounting(counters.get("accepted", 0), states)


def possible_duplicates(db: sqlite3.Connection) -> int:
    """Return how many recipients may have got a message twice, since the queue was made."""
    row = db.execute("SELECT value FROM counter WHERE name = 'possible_duplicates'").fetchone()
    return 0 if row is None else int(row[0])


def _to_recipient(row: tuple[Any, ...]) -> RecipientRow:
    (
        number, message_id, forward_path, state, channel, plan, rule, due_at, attempts, why,
        reverse_path, subject, kind, size_bytes, received_at, finished_at,
    ) = row  # fmt: skip
    return RecipientRow(
        id=number,
        queue_id=encode_id(message_id),
        forward_path=forward_path,
        state=State(state),
        channel=channel,
        plan=decode_plan(plan, rule),
        due_at=optional_time(due_at),
        attempts=attempts,
        why=why,
        reverse_path=reverse_path,
        subject=subject,
        kind=Kind(kind),
        size_bytes=size_bytes,
        received_at=from_ms(received_at),
        finished_at=optional_time(finished_at),
    )


def _attempts(db: sqlite3.Connection, message_id: int) -> tuple[tuple[int, AttemptRow], ...]:
    rows = db.execute(
        "SELECT a.recipient_id, a.at, a.channel, a.upstream, a.result, a.reply, a.entry, "
        "a.milliseconds FROM attempt a JOIN recipient r ON r.id = a.recipient_id "
        "WHERE r.message_id = ? ORDER BY a.id",
        (message_id,),
    )
    return tuple(
        (
            number,
            AttemptRow(
                at=from_ms(at),
                channel=channel,
                upstream=upstream,
                result=result,
                reply=reply,
                entry=entry,
                seconds=timedelta(milliseconds=milliseconds).total_seconds(),
            ),
        )
        for number, at, channel, upstream, result, reply, entry, milliseconds in rows
    )

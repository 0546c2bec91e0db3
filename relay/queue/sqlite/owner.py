"""What a person does to the queue, and what moves mail from channel to channel."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from relay.mail.message import decode_id
from relay.policy.accounting import State
from relay.policy.kinds import ESSENTIAL, Kind
from relay.policy.limits import from_ms, to_ms
from relay.policy.plan import Plan
from relay.policy.settle import may_have_arrived
from relay.queue.rows import Waiting
from relay.queue.sqlite.codec import ESSENTIAL_RANK, decode_plan, rank_of
from relay.queue.sqlite.verbs import content_head
from relay.queue.store import Corrected, Planner, Selection

_WAITING = "('queued', 'deferred', 'in_doubt')"
_UNFINISHED = "('queued', 'deferred', 'in_doubt', 'held')"

WAITING_COLUMNS = """
SELECT r.id, r.message_id, r.forward_path, r.state, r.channel, r.plan, r.rule, r.attempts,
    r.doubts, r.why, m.kind, m.unsure, m.reverse_path, m.application, m.listener, m.size_bytes,
    m.smtputf8, m.subject, m.received_at, r.due_at
FROM recipient r JOIN message m ON m.id = r.message_id """


def where(selection: Selection) -> tuple[str, list[Any]]:
    """Return the condition (over `r` and `m`) and its arguments; raises ValueError for a bad id."""
    parts, arguments = ["1"], list[Any]()
    if selection.queue_ids:
        parts.append(f"r.message_id IN ({', '.join('?' * len(selection.queue_ids))})")
        arguments += [decode_id(text) for text in selection.queue_ids]
    for column, value in (
        ("r.forward_path", selection.forward_path),
        ("r.state", selection.state),
        ("r.channel", selection.channel),
        ("m.kind", selection.kind),
    ):
        if value is not None:
            parts.append(f"{column} = ?")
            arguments.append(value)
    return " AND ".join(parts), arguments


def retry(db: sqlite3.Connection, selection: Selection, now: datetime) -> int:
    """Make due now; what failed comes back, as long as its content is still there."""
    return _change(
        db,
        "r.state IN ('queued', 'deferred', 'in_doubt', 'failed') AND m.has_content = 1",
        selection,
        "state = CASE state WHEN 'failed' THEN 'queued' ELSE state END, due_at = ?,"
        " finished_at = NULL, noticed = CASE state WHEN 'failed' THEN 0 ELSE noticed END",
        (to_ms(now),),
        reopen=True,
    )


def hold(db: sqlite3.Connection, selection: Selection, why: str) -> int:
    """Hold what waits."""
    return _change(
        db, f"r.state IN {_WAITING}", selection,
        "state = 'held', due_at = NULL, why = ?", (why,),
    )  # fmt: skip


def release(db: sqlite3.Connection, selection: Selection, now: datetime) -> int:
    """Let go what is held."""
    return _change(
        db, "r.state = 'held'", selection,
        "state = 'queued', due_at = ?, why = 'released'", (to_ms(now),),
    )  # fmt: skip


def drop(db: sqlite3.Connection, selection: Selection, now: datetime) -> int:
    """Throw away what waits or is held."""
    changed = _change(
        db, f"r.state IN {_UNFINISHED}", selection,
        "state = 'dropped', due_at = NULL, finished_at = ?", (to_ms(now),),
    )  # fmt: skip
    db.execute(
        "UPDATE message SET finished_at = ? WHERE finished_at IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM recipient WHERE message_id = message.id AND finished_at IS NULL)",
        (to_ms(now),),
    )
    return changed


def waiting(
    db: sqlite3.Connection,
    channel: str,
    *,
    only_alternatives: bool,
    only_essential: bool,
    limit: int,
) -> list[Waiting]:
    """Return what waits for a channel, what matters most first, line by line."""
    rank = f"AND r.rank = {ESSENTIAL_RANK}" if only_essential else ""
    elsewhere = "AND instr(r.plan, ' ') AND r.doubts = 0" if only_alternatives else ""
    rows = db.execute(
        f"{WAITING_COLUMNS} WHERE r.channel = ? AND r.due_at IS NOT NULL {rank} {elsewhere}"
        " ORDER BY r.rank, r.flow, r.due_at LIMIT ?",
        (channel, limit),
    )
    return [to_waiting(row) for row in rows]


def move(db: sqlite3.Connection, moves: Mapping[int, str]) -> int:
    """Let recipients go by another channel; what may have arrived stays, and what is gone."""
    moved = 0
    for number, channel in moves.items():
        moved += db.execute(
            "UPDATE recipient SET channel = ? WHERE id = ? AND due_at IS NOT NULL AND doubts = 0",
            (channel, number),
        ).rowcount
    return moved


def plan_again(
    db: sqlite3.Connection,
    fingerprint: str,
    plan: Planner,
    now: datetime,
) -> int:
    """Plan everything that waits anew, unless the rules are the ones it was planned with."""
    found = db.execute("SELECT value FROM note WHERE name = 'routing'").fetchone()
    if found is not None and found[0] == fingerprint:
        return 0
    rows = db.execute(f"{WAITING_COLUMNS} WHERE r.due_at IS NOT NULL").fetchall()
    changed = sum(_plan_again(db, to_waiting(row), plan, now) for row in rows)
    db.execute("INSERT OR REPLACE INTO note (name, value) VALUES ('routing', ?)", (fingerprint,))
    return changed


def _plan_again(db: sqlite3.Connection, item: Waiting, plan: Planner, now: datetime) -> bool:
    """Plan one recipient anew; return whether that changed anything."""
    new = plan(item, partial(content_head, db, item.message_id))
    if new is None:
        db.execute(
            "UPDATE recipient SET state = 'held', due_at = NULL, "
            "why = 'a rule of the settings refuses it now' WHERE id = ?",
            (item.id,),
        )
    elif new.hold is not None:
        db.execute(
            "UPDATE recipient SET state = 'held', due_at = NULL, why = ?, rule = ? WHERE id = ?",
            (new.hold, new.rule, item.id),
        )
    elif new.channels != item.plan.channels or item.channel not in new.channels:
        _follow(db, item, new, now)
    else:
        return False
    return True


def _follow(db: sqlite3.Connection, item: Waiting, new: Plan, now: datetime) -> None:
    """Let it go by the first channel of its new plan, but what may have arrived by its own one.

    Where the plan no longer has that one, a person has to decide.
    """
    plan = " ".join(new.channels)
    if item.doubts and item.channel in new.channels:
        db.execute(
            "UPDATE recipient SET plan = ?, rule = ? WHERE id = ?", (plan, new.rule, item.id)
        )
        return
    db.execute(
        "UPDATE recipient SET plan = ?, rule = ?, channel = ?, due_at = min(due_at, ?) "
        "WHERE id = ?",
        (plan, new.rule, new.channels[0], to_ms(now), item.id),
    )
    if item.doubts:
        why = f"it was sent by {item.channel}, which its plan no longer has"
        db.execute(
            "UPDATE recipient SET state = 'held', due_at = NULL, why = ? WHERE id = ?",
            (may_have_arrived(why), item.id),
        )


def correct(
    db: sqlite3.Connection, queue_ids: Sequence[str], kind: Kind, plan: Planner, now: datetime
) -> Corrected:
    """Set kinds by hand; what is held is planned anew, too, but stays held."""
    messages = recipients = 0
    for number in {decode_id(text) for text in queue_ids}:
        row = db.execute("SELECT kind, unsure FROM message WHERE id = ?", (number,)).fetchone()
        if row is None:
            continue
        messages += 1
        _note_correction(db, number, kind, row, now)
        rank = rank_of(kind, kind in ESSENTIAL)
        db.execute("UPDATE message SET kind = ?, unsure = 0 WHERE id = ?", (kind, number))
        db.execute("UPDATE recipient SET rank = ? WHERE message_id = ?", (rank, number))
        rows = db.execute(
            f"{WAITING_COLUMNS} WHERE r.message_id = ? AND r.state IN {_UNFINISHED}", (number,)
        ).fetchall()
        recipients += len(rows)
        for item in map(to_waiting, rows):
            _plan_again(db, item, plan, now)
    return Corrected(messages=messages, recipients=recipients)


def _note_correction(
    db: sqlite3.Connection, number: int, kind: Kind, told: tuple[str, int], now: datetime
) -> None:
    """Remember what relay had found, or forget the correction if that was right."""
    db.execute(
        "INSERT INTO correction (message_id, at, kind, unsure) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (message_id) DO UPDATE SET at = excluded.at",
        (number, to_ms(now), *told),
    )
    db.execute(
        "DELETE FROM correction WHERE message_id = ? AND kind = ? AND unsure = 0", (number, kind)
    )


def to_waiting(row: tuple[Any, ...]) -> Waiting:
    """Return a row of WAITING_COLUMNS as a value."""
    (
        number, message_id, forward_path, state, channel, plan, rule, attempts, doubts, why, kind,
        unsure, reverse_path, application, listener, size_bytes, smtputf8, subject, received_at,
        due_at,
    ) = row  # fmt: skip
    return Waiting(
        id=number,
        message_id=message_id,
        forward_path=forward_path,
        state=State(state),
        channel=channel,
        plan=decode_plan(plan, rule),
        attempts=attempts,
        doubts=doubts,
        why=why,
        kind=Kind(kind),
        unsure=bool(unsure),
        reverse_path=reverse_path,
        application=application,
        listener=listener,
        size_bytes=size_bytes,
        smtputf8=bool(smtputf8),
        subject=subject,
        received_at=from_ms(received_at),
        due_at=from_ms(due_at or 0),
    )


def _change(
    db: sqlite3.Connection,
    condition: str,
    selection: Selection,
    assignments: str,
    arguments: tuple[Any, ...],
    *,
    reopen: bool = False,
) -> int:
    """Update the selected recipients that meet `condition`."""
    selected, more = where(selection)
    ids = (
        f"SELECT r.id FROM recipient r JOIN message m ON m.id = r.message_id "  # noqa: S608
        f"WHERE {condition} AND {selected}"
    )
    if reopen:
        messages = f"SELECT message_id FROM recipient WHERE id IN ({ids})"  # noqa: S608
        db.execute(f"UPDATE message SET finished_at = NULL WHERE id IN ({messages})", more)  # noqa: S608
    return db.execute(
        f"UPDATE recipient SET {assignments} WHERE id IN ({ids})",  # noqa: S608
        [*arguments, *more],
    ).rowcount

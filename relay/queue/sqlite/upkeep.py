"""What time does to the queue: recovery, giving up, notices, forgetting."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from relay.policy.accounting import State
from relay.policy.limits import from_ms, to_ms
from relay.policy.settle import may_have_arrived
from relay.queue.rows import Waiting
from relay.queue.sqlite import charges
from relay.queue.sqlite.owner import WAITING_COLUMNS, to_waiting
from relay.queue.sqlite.verbs import COUNT, FINISH_MESSAGE, put
from relay.queue.store import Entry, Purged, Retention

_PURGE_AT_ONCE = 500  # messages in one transaction
_VACUUM_PAGES = 2000

# Charges older than `age` are merged into slices of `slice`, dated at the last one in it:
# never early, and at most 1/200 of any window late.
_MERGES = (
    (timedelta(seconds=200), timedelta(seconds=1)),
    (timedelta(minutes=200), timedelta(minutes=1)),
    (timedelta(hours=50), timedelta(minutes=15)),
)

_LATEST = """
SELECT max(at) FROM (
    SELECT 0 AS at UNION ALL SELECT max(at) FROM charge
    UNION ALL SELECT * FROM (SELECT received_at FROM message ORDER BY id DESC LIMIT 1)
    UNION ALL SELECT * FROM (SELECT at + milliseconds FROM attempt ORDER BY id DESC LIMIT 1))"""

_MAX_COPIES = 3
_BREAK_OFF = """
UPDATE recipient SET lease_until = NULL, charged_at = NULL, doubts = doubts + 1,
    state = iif(doubts + 1 < :max, 'in_doubt', 'held'),
    due_at = iif(doubts + 1 < :max, :due_at, NULL),
    why = iif(doubts + 1 < :max, :why, :enough)
WHERE id = :id"""


def recover(db: sqlite3.Connection, now: datetime, retry_at: datetime) -> int:
    """Make due what was being sent when the last run died: it may have arrived until now."""
    charges.land_all(db, now)
    rows = db.execute("SELECT id FROM recipient WHERE state = 'sending'").fetchall()
    return _break_off(db, [number for (number,) in rows], "relay ended", retry_at)


def find_files(db: sqlite3.Connection, folder: Path) -> set[str]:
    """Return the files of content, which are in `folder` even if it was elsewhere before."""
    rows = db.execute("SELECT id, spooled FROM message WHERE spooled IS NOT NULL").fetchall()
    found = {number: (path, f"{folder}/{path.rpartition('/')[2]}") for number, path in rows}
    moved = [(here, number) for number, (path, here) in found.items() if here != path]
    db.executemany("UPDATE message SET spooled = ? WHERE id = ?", moved)
    return {here for _, here in found.values()}


def take_back(db: sqlite3.Connection, in_flight: frozenset[int], now: datetime) -> int:
    """Make due what was leased by a task that is gone."""
    rows = db.execute(
        "SELECT id, message_id FROM recipient WHERE lease_until < ?", (to_ms(now),)
    ).fetchall()
    lost = [number for number, message in rows if message not in in_flight]
    return _break_off(db, lost, "the attempt was broken off", now)


def _break_off(
    db: sqlite3.Connection, recipient_ids: Sequence[int], what: str, retry_at: datetime
) -> int:
    """Make due what may have arrived; what may have arrived `_MAX_COPIES` times is held."""
    db.executemany(
        _BREAK_OFF,
        [
            {
                "id": number,
                "max": _MAX_COPIES,
                "due_at": to_ms(retry_at),
                "why": f"{what} while it was being sent; it may have arrived",
                "enough": may_have_arrived(f"{what} three times while it was being sent"),
            }
            for number in recipient_ids
        ],
    )
    if recipient_ids:
        db.execute(COUNT, ("possible_duplicates", len(recipient_ids)))
    return len(recipient_ids)


def latest_at(db: sqlite3.Connection) -> datetime:
    """Return the latest of the newest message, the end of the last attempt, and the charges."""
    (latest,) = db.execute(_LATEST).fetchone()
    return from_ms(latest)


def shift(db: sqlite3.Connection, by: timedelta, since: datetime) -> None:
    """Move with a clock that was set: nothing waits longer or shorter for it.

    Charges from before `since` stay, as they may have been right all along.
    """
    charges.shift(db, by, since)
    db.execute(
        "UPDATE recipient SET due_at = due_at + ? WHERE due_at IS NOT NULL",
        (by // timedelta(milliseconds=1),),
    )


def clamp(db: sqlite3.Connection, now: datetime, latest: datetime) -> int:
    """Make nothing due or leased later than `latest`, and no charge later than `now`.

    What was never tried has nothing to wait for.
    """
    charges.clamp_leases(db, latest)
    charges.clamp(db, now)
    return db.execute(
        "UPDATE recipient SET due_at = iif(state = 'queued', :now, :latest)"
        " WHERE due_at > iif(state = 'queued', :now, :latest)",
        {"now": to_ms(now), "latest": to_ms(latest)},
    ).rowcount


def expired(db: sqlite3.Connection, received_before: datetime, limit: int) -> list[Waiting]:
    """Return what was tried and is too old."""
    rows = db.execute(
        f"{WAITING_COLUMNS} WHERE r.due_at IS NOT NULL AND m.received_at < ? LIMIT ?",
        (to_ms(received_before), limit),
    )
    return [to_waiting(row) for row in rows]


def overdue(db: sqlite3.Connection, received_before: datetime, limit: int) -> list[Waiting]:
    """Return what waits without its sender having been told."""
    rows = db.execute(
        f"{WAITING_COLUMNS} WHERE r.due_at IS NOT NULL AND r.noticed = 0"
        " AND m.received_at < ? AND m.reverse_path IS NOT NULL LIMIT ?",
        (to_ms(received_before), limit),
    )
    return [to_waiting(row) for row in rows]


def give_up(
    db: sqlite3.Connection,
    recipient_ids: Sequence[int],
    state: State,
    why: str,
    reports: Sequence[Entry],
    now: datetime,
) -> None:
    """Fail or hold what still waits, and queue the reports."""
    finished_at = to_ms(now) if state is State.FAILED else None
    for number in recipient_ids:
        db.execute(
            "UPDATE recipient SET state = ?, due_at = NULL, why = ?, finished_at = ? "
            "WHERE id = ? AND due_at IS NOT NULL",
            (state, why, finished_at, number),
        )
        if finished_at is not None:
            db.execute(FINISH_MESSAGE, (finished_at, _message_of(db, number)))
    for report in reports:
        put(db, report)


def notice(db: sqlite3.Connection, recipient_ids: Sequence[int], reports: Sequence[Entry]) -> None:
    """Note that the senders were told."""
    db.executemany(
        "UPDATE recipient SET noticed = 1 WHERE id = ?", [(number,) for number in recipient_ids]
    )
    for report in reports:
        put(db, report)


def purge(db: sqlite3.Connection, retention: Retention, now: datetime) -> tuple[Purged, list[str]]:
    """Forget what is old, a part at a time; return what part, as `Purged`, and its files."""
    contents, files = _forget_content(db, to_ms(now - retention.content))
    before = to_ms(now - retention.rows)
    ids = [
        (row[0],)
        for row in db.execute(
            "SELECT id FROM message WHERE finished_at < ? LIMIT ?", (before, _PURGE_AT_ONCE)
        )
    ]
    for (message_id,) in ids:
        for state, count in db.execute(
            "SELECT state, count(*) FROM recipient WHERE message_id = ? GROUP BY state",
            (message_id,),
        ).fetchall():
            db.execute(COUNT, (f"purged_{state}", count))
        row = db.execute("SELECT spooled FROM message WHERE id = ?", (message_id,)).fetchone()
        if row[0] is not None:
            files.append(row[0])
    db.executemany(
        "DELETE FROM attempt WHERE recipient_id IN (SELECT id FROM recipient WHERE message_id = ?)",
        ids,
    )
    for table, column in (
        ("recipient", "message_id"),
        ("content", "message_id"),
        ("correction", "message_id"),
        ("message", "id"),
    ):
        db.executemany(f"DELETE FROM {table} WHERE {column} = ?", ids)  # noqa: S608
    charges.forget(db, now - retention.charges, now - retention.contacts)
    for age, slice_length in _MERGES:
        charges.merge(db, now - age, slice_length)
    db.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
    full = max(contents, len(ids)) == _PURGE_AT_ONCE
    return Purged(messages=len(ids), more=full), files


def _forget_content(db: sqlite3.Connection, before: int) -> tuple[int, list[str]]:
    """Delete the content of what was sent or dropped to the last recipient; return how many."""
    rows = db.execute(
        "SELECT m.id, m.spooled FROM message m "
        "WHERE m.finished_at <= ? AND m.has_content = 1 AND NOT EXISTS "
        "(SELECT 1 FROM recipient WHERE message_id = m.id AND state = 'failed') "
        "LIMIT ?",
        (before, _PURGE_AT_ONCE),
    ).fetchall()
    ids = [(row[0],) for row in rows]
    db.executemany("DELETE FROM content WHERE message_id = ?", ids)
    db.executemany("UPDATE message SET spooled = NULL, has_content = 0 WHERE id = ?", ids)
    return len(ids), [row[1] for row in rows if row[1] is not None]


def _message_of(db: sqlite3.Connection, recipient_id: int) -> int:
    row = db.execute("SELECT message_id FROM recipient WHERE id = ?", (recipient_id,)).fetchone()
    return int(row[0])

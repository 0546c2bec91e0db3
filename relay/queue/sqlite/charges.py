"""What was charged to the limits, and the ledgers that are filled from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import blake2b

from relay.policy.ledger import Flight, Ledger, reach
from relay.policy.limits import Charge, FirstSend, Lesson, Limit, Unit, from_ms, to_ms, to_ms_up
from relay.policy.settlement import Done, Settlement
from relay.queue.rows import Lease

_ADD = """
INSERT INTO charge (channel, at, messages, recipients, size_bytes) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (channel, at) DO UPDATE SET messages = messages + excluded.messages,
    recipients = recipients + excluded.recipients, size_bytes = size_bytes + excluded.size_bytes"""

_TAKE = """
UPDATE charge SET messages = max(0, messages - ?), recipients = max(0, recipients - ?),
    size_bytes = max(0, size_bytes - ?)
WHERE channel = ? AND at = ?"""

_MEET = "INSERT OR IGNORE INTO contact (channel, address, at, was_sent) VALUES (?, ?, ?, 0)"

_MET = """
INSERT INTO contact (channel, address, at, was_sent) VALUES (?, ?, ?, 1)
ON CONFLICT (channel, address) DO UPDATE SET at = max(at, excluded.at), was_sent = 1"""

_CHARGED_AT = "SELECT charged_at FROM recipient WHERE id = ? AND state = 'sending'"

_UNDER_WAY = """
SELECT r.charged_at, r.lease_until, count(*), max(m.size_bytes),
    group_concat(r.forward_path, char(10))
FROM recipient r JOIN message m ON m.id = r.message_id
WHERE r.state = 'sending' AND r.channel = ? GROUP BY r.charged_at, r.message_id, r.lease_until"""

_LEASES_APART = 60_000


def digest(forward_path: str) -> int:
    """Return what stands for an address: 64 bits, the same for upper and lower case."""
    folded = forward_path.lower().encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(folded, digest_size=8).digest(), "big", signed=True)


def lease_until(at: datetime, recipient_id: int) -> int:
    """Return the end (ms) of a lease that begins with a recipient: `at`, or up to a minute later.

    By that it is told from others of the same message that depart in the same moment.
    """
    return to_ms(at) + recipient_id % _LEASES_APART


def clamp_leases(db: sqlite3.Connection, latest: datetime) -> None:
    """Let no lease end later than `latest`, up to a minute, and tell them apart still."""
    db.execute(
        "UPDATE recipient SET lease_until = :latest + lease_until % :apart"
        " WHERE lease_until > :latest + :apart",
        {"latest": to_ms(latest) // _LEASES_APART * _LEASES_APART, "apart": _LEASES_APART},
    )


def charge(db: sqlite3.Connection, channel: str, charges: Sequence[Charge]) -> None:
    """Write down what is about to be sent, all of it begun at the same time."""
    at = to_ms_up(charges[0].at)
    db.execute(
        _ADD,
        (channel, at, sum(c.messages for c in charges), sum(c.recipients for c in charges),
         sum(c.size_bytes for c in charges)),
    )  # fmt: skip
    addresses = [(channel, address, at) for c in charges for address in c.addresses]
    if addresses:
        db.executemany(_MEET, addresses)


def settle(
    db: sqlite3.Connection,
    ledger: Ledger | None,
    lease: Lease,
    ended_at: datetime,
    settlement: Settlement,
) -> None:
    """Give back what the provider has not counted, and date the rest at the attempt's end.

    Call it while the lease is still there: once it is settled, this does nothing.
    """
    row = db.execute(_CHARGED_AT, (lease.targets[0].id,)).fetchone()
    if row is None:
        return
    whole, is_clean = replace(lease.charge, at=from_ms(row[0])), bool(settlement.refund_messages)
    back = replace(
        whole,
        messages=settlement.refund_messages,
        recipients=settlement.refund_recipients,
        size_bytes=whole.size_bytes if is_clean else 0,
        addresses=whole.addresses if is_clean else (),
    )
    kept = replace(
        whole,
        messages=whole.messages - back.messages,
        recipients=whole.recipients - back.recipients,
        size_bytes=whole.size_bytes - back.size_bytes,
        addresses=() if is_clean else whole.addresses,
    )
    if back.recipients:
        _refund(db, lease.channel, back)
    if ledger is not None:
        was_taken = any(isinstance(each, Done) for each in settlement.dispositions)
        ledger.land(whole, kept, ended_at, is_certain=was_taken)
        _note_first_sends(db, lease.channel, ledger)
    _land(db, lease.channel, kept, ended_at)


def _refund(db: sqlite3.Connection, channel: str, back: Charge) -> None:
    """Give back what was charged, dated as it was."""
    at = to_ms_up(back.at)
    db.execute(_TAKE, (back.messages, back.recipients, back.size_bytes, channel, at))
    db.executemany(
        "DELETE FROM contact WHERE channel = ? AND address = ? AND at = ? AND was_sent = 0",
        [(channel, address, at) for address in back.addresses],
    )


def _land(db: sqlite3.Connection, channel: str, kept: Charge, ended_at: datetime) -> None:
    """Date what was counted at the end of its transaction."""
    if not kept.recipients:
        return
    at, amounts = to_ms_up(ended_at), (kept.messages, kept.recipients, kept.size_bytes)
    if at > to_ms_up(kept.at):
        db.execute(_TAKE, (*amounts, channel, to_ms_up(kept.at)))
        db.execute(_ADD, (channel, at, *amounts))
    if kept.addresses:
        db.executemany(_MET, [(channel, address, at) for address in kept.addresses])


def land_all(db: sqlite3.Connection, now: datetime) -> None:
    """Date at `now` what was being sent when the last run died."""
    for (channel,) in db.execute(
        "SELECT DISTINCT channel FROM recipient WHERE state = 'sending'"
    ).fetchall():
        knows = db.execute("SELECT 1 FROM contact WHERE channel = ? LIMIT 1", (channel,)).fetchone()
        for flight in _under_way(db, channel, wants_addresses=knows is not None):
            _land(db, channel, flight.charge, now)


def shift(db: sqlite3.Connection, by: timedelta, since: datetime) -> None:
    """Move dates with a clock that was set, so that they are as long ago as they were.

    What is dated before `since`, in an earlier boot, stays where a clock is set back: it may have
    been right then, and wrong only since.
    """
    by_ms = by // timedelta(milliseconds=1)
    first = to_ms(since) if by < timedelta() else 0
    moved = db.execute(
        "SELECT channel, at + ?, messages, recipients, size_bytes FROM charge WHERE at >= ?",
        (by_ms, first),
    ).fetchall()
    db.execute("DELETE FROM charge WHERE at >= ?", (first,))
    db.executemany(_ADD, moved)
    db.execute("UPDATE contact SET at = at + ? WHERE at >= ?", (by_ms, first))
    db.execute(
        "UPDATE lesson SET at = at + ?, until = until + ? WHERE at >= ?", (by_ms, by_ms, first)
    )
    db.execute("UPDATE first_send SET earliest = earliest + ?, latest = latest + ?", (by_ms, by_ms))
    db.execute(
        "UPDATE recipient SET charged_at = charged_at + ?, lease_until = lease_until + ? "
        "WHERE state = 'sending'",
        (by_ms, by_ms),
    )


def load_ledger(
    db: sqlite3.Connection, channel: str, limits: tuple[Limit, ...], now: datetime
) -> Ledger:
    """Return a channel's windows, filled with what was charged so far.

    What is dated after `now`, by a clock that was stepped back, was sent before it all the same:
    it is dated now, on the disk too, or it would lock the windows for as long as the step.
    """
    if not limits:
        return Ledger((), (), now)
    after, now_ms = to_ms(now - max(map(reach, limits))), to_ms_up(now)
    distinct = any(limit.unit is Unit.DISTINCT_RECIPIENTS for limit in limits)
    flights = list(_under_way(db, channel, wants_addresses=distinct))
    _date_now(db, channel, flights, now_ms)
    rows = db.execute(
        "SELECT at, messages, recipients, size_bytes FROM charge "
        "WHERE channel = ? AND at > ? AND at <= ? ORDER BY at",
        (channel, after, now_ms),
    )
    charges = [
        Charge(from_ms(at), messages, recipients, size_bytes)
        for at, messages, recipients, size_bytes in (_without(row, flights) for row in rows)
        if recipients
    ]
    if distinct:
        charges += _contacts(db, channel, after, now_ms)
    return Ledger(limits, charges, now, flights, _lessons(db, channel), _first_sends(db, channel))


def clamp(db: sqlite3.Connection, now: datetime) -> None:
    """Date nothing after `now`, but what is being sent."""
    now_ms = to_ms_up(now)
    for (channel,) in db.execute(
        "SELECT DISTINCT channel FROM charge WHERE at > ?", (now_ms,)
    ).fetchall():
        _date_now(db, channel, list(_under_way(db, channel, wants_addresses=False)), now_ms)


def _date_now(db: sqlite3.Connection, channel: str, flights: Sequence[Flight], now_ms: int) -> None:
    for row in db.execute(
        "SELECT at, messages, recipients, size_bytes FROM charge WHERE channel = ? AND at > ?",
        (channel, now_ms),
    ).fetchall():
        at, messages, recipients, size_bytes = _without(row, flights)
        if recipients:
            db.execute(_TAKE, (messages, recipients, size_bytes, channel, at))
            db.execute(_ADD, (channel, now_ms, messages, recipients, size_bytes))
            db.execute("DELETE FROM first_send WHERE channel = ?", (channel,))
    db.execute(
        "DELETE FROM charge WHERE channel = ? AND at > ? AND recipients = 0", (channel, now_ms)
    )


def _under_way(db: sqlite3.Connection, channel: str, *, wants_addresses: bool) -> Iterator[Flight]:
    for charged_at, until, recipients, size_bytes, paths in db.execute(_UNDER_WAY, (channel,)):
        addresses = tuple(map(digest, paths.split("\n"))) if wants_addresses else ()
        yield Flight(
            Charge(from_ms(charged_at), 1, recipients, size_bytes, addresses), from_ms(until)
        )


def _without(
    row: tuple[int, int, int, int], flights: Sequence[Flight]
) -> tuple[int, int, int, int]:
    """Return a row of `charge` without what is still being sent."""
    at, messages, recipients, size_bytes = row
    for flight in flights:
        if to_ms_up(flight.charge.at) == at:
            messages -= flight.charge.messages
            recipients -= flight.charge.recipients
            size_bytes -= flight.charge.size_bytes
    return at, messages, max(0, recipients), size_bytes


def _note_first_sends(db: sqlite3.Connection, channel: str, ledger: Ledger) -> None:
    """Remember the beginnings of windows that have become known."""
    for first in ledger.new_first_sends():
        db.execute(
            "INSERT OR REPLACE INTO first_send (channel, limit_name, earliest, latest) "
            "VALUES (?, ?, ?, ?)",
            (channel, first.limit, to_ms(first.earliest), to_ms(first.latest)),
        )


def _first_sends(db: sqlite3.Connection, channel: str) -> list[FirstSend]:
    rows = db.execute(
        "SELECT limit_name, earliest, latest FROM first_send WHERE channel = ?", (channel,)
    )
    return [FirstSend(name, from_ms(earliest), from_ms(latest)) for name, earliest, latest in rows]


def forget_first_sends(db: sqlite3.Connection) -> None:
    """Forget them: the clock may be another one than it was."""
    db.execute("DELETE FROM first_send")


def learn(db: sqlite3.Connection, channel: str, lesson: Lesson) -> None:
    """Remember what a provider said of a limit."""
    db.execute(
        "INSERT OR REPLACE INTO lesson (channel, limit_name, counted, at, until) "
        "VALUES (?, ?, ?, ?, ?)",
        (channel, lesson.limit, lesson.counted, to_ms(lesson.at), to_ms(lesson.until)),
    )


def _lessons(db: sqlite3.Connection, channel: str) -> list[Lesson]:
    rows = db.execute(
        "SELECT limit_name, counted, at, until FROM lesson WHERE channel = ?", (channel,)
    )
    return [Lesson(name, counted, from_ms(at), from_ms(until)) for name, counted, at, until in rows]


def _contacts(db: sqlite3.Connection, channel: str, after: int, now_ms: int) -> list[Charge]:
    db.execute("UPDATE contact SET at = ? WHERE channel = ? AND at > ?", (now_ms, channel, now_ms))
    rows = db.execute(
        "SELECT at, address FROM contact WHERE channel = ? AND at > ? ORDER BY at",
        (channel, after),
    )
    return [Charge(from_ms(at), 0, 0, addresses=(address,)) for at, address in rows]


def forget(db: sqlite3.Connection, charges_before: datetime, contacts_before: datetime) -> None:
    """Forget what no window asks for any more, and merge what is old."""
    db.execute("DELETE FROM charge WHERE at < ?", (to_ms(charges_before),))
    db.execute("DELETE FROM contact WHERE at < ?", (to_ms(contacts_before),))
    db.execute("DELETE FROM lesson WHERE max(at, until) < ?", (to_ms(charges_before),))


def merge(db: sqlite3.Connection, before: datetime, slice_length: timedelta) -> None:
    """Merge charges dated before `before` that share a slice, dated at the last one in it."""
    slice_ms = slice_length // timedelta(milliseconds=1)
    crowded = db.execute(
        "SELECT channel, at / ?, max(at), sum(messages), sum(recipients), sum(size_bytes) "
        "FROM charge WHERE at < ? GROUP BY 1, 2 HAVING count(*) > 1",
        (slice_ms, to_ms(before)),
    ).fetchall()
    for channel, number, last, messages, recipients, size_bytes in crowded:
        db.execute(
            "DELETE FROM charge WHERE channel = ? AND at >= ? AND at < ? AND at <= ?",
            (channel, number * slice_ms, (number + 1) * slice_ms, last),
        )
        db.execute(_ADD, (channel, last, messages, recipients, size_bytes))

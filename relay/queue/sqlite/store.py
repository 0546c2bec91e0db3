"""The embedded queue: who runs the SQL of `verbs`, `owner`, `upkeep` and `views`, and where."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from relay.mail.attempt import Attempt
from relay.mail.message import Content, Spooled
from relay.policy.accounting import Accounting, State
from relay.policy.corrections import Past
from relay.policy.health import Health
from relay.policy.kinds import Kind
from relay.policy.ledger import Ledger
from relay.policy.limits import Lesson, Limit, Usage
from relay.policy.settlement import Later, Settlement
from relay.queue.rows import Claim, Depth, Lease, MessageRow, RecipientRow, Turn, Waiting
from relay.queue.spool import Spool, check_free
from relay.queue.sqlite import charges, claims, owner, turns, upkeep, verbs, views
from relay.queue.sqlite.codec import decode_health
from relay.queue.sqlite.wall_clock import WallClock
from relay.queue.sqlite.writer import Writer
from relay.queue.store import (
    Corrected,
    Entry,
    Opened,
    Planner,
    Purged,
    QueueDamagedError,
    Retention,
    Room,
    Selection,
    StoreError,
)

T = TypeVar("T")

_RECENT_BYTES = 16 * 1024 * 1024  # content kept in memory from put to claim
_SYNC_THREADS = 4


class SqliteStore:
    """See `relay.queue.store.Store`. A lock on the folder keeps a second process out."""

    def __init__(
        self,
        folder: Path,
        spool: Spool,
        steady: Callable[[], timedelta] | None = None,
        boot: str = "",
    ) -> None:
        """`steady` is a clock that is never set, to notice when the other one is.

        `boot` names what it counts from, "" if that is not known.
        """
        self._folder = folder
        self._spool = spool
        self._path = folder / "queue.sqlite"
        self._writer = Writer(self._path, self._forget_ledgers, spool.sync_names)
        self._readers = ThreadPoolExecutor(1, "queue-reader")
        self._syncers = ThreadPoolExecutor(_SYNC_THREADS, "queue-sync")
        self._syncing = 0  # files, at this moment
        self._forgets_at_once = False
        self._leased: Counter[int] = Counter()  # messages that were given out and not settled
        self._reader: sqlite3.Connection | None = None  # touched by the reader's thread only
        self._recent: dict[int, bytes] = {}
        self._recent_bytes = 0
        self._recent_lock = threading.Lock()  # put remembers in the loop, claim recalls in a thread
        self._limits: dict[str, tuple[Limit, ...]] = {}
        self._ledgers: dict[str, Ledger] = {}  # touched within transactions only
        self._turns: claims.Turns = {}  # the same
        self._wall = WallClock(steady, boot)
        self._mail_for: Callable[[str], None] = lambda _: None
        self._lock = -1

    async def open(self, now: datetime, retry_at: datetime) -> Opened:
        """Lock the folder, open the database, take over what the last run left."""
        ahead = self._wall.ahead(now)
        try:
            await asyncio.to_thread(self._lock_folder)
            await self._writer.start()
            return await self._take_over(now, retry_at, ahead)
        except BaseException:
            await self.close()
            raise

    async def _take_over(self, now: datetime, retry_at: datetime, ahead: timedelta) -> Opened:
        def recover(db: sqlite3.Connection) -> Opened:
            health = {
                channel: decode_health(state)
                for channel, state in db.execute("SELECT channel, state FROM health")
            }
            self._wall.begin(db, now, ahead)
            return Opened(
                recovered=upkeep.recover(db, now, retry_at),
                latest_at=upkeep.latest_at(db),
                health=health,
            )

        opened = await self._writer.run_long(recover)
        await self._writer.run(lambda db: db.execute("PRAGMA optimize").fetchall())
        await self._remove_orphans()
        return opened

    async def close(self) -> None:
        """Finish, close, unlock; the writer last, so that it leaves one file without a log."""
        await asyncio.to_thread(self._readers.shutdown)
        if self._reader is not None:
            self._reader.close()
        await self._writer.stop()
        self._syncers.submit(self._spool.tidy)
        await asyncio.to_thread(self._syncers.shutdown)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def set_limits(self, limits: Mapping[str, Sequence[Limit]]) -> None:
        """Forget the windows; they are filled again from what was charged."""
        self._limits = {channel: tuple(of) for channel, of in limits.items()}
        self._writer.run(lambda _: self._forget_ledgers()).add_done_callback(_ignore)

    def keep_content(self, span: timedelta) -> None:
        """Say how long content outlives its message; where not at all, its file is used again."""
        self._forgets_at_once = not span

    def tell(self, mail_for: Callable[[str], None]) -> None:
        """Say whom to tell of mail for a channel."""
        self._mail_for = mail_for

    def keep(self, content: Content) -> Awaitable[None] | None:
        """Begin to sync the content's file if it has one, in a thread."""
        if not isinstance(content, Spooled):
            return None
        self._syncing += 1
        if self._syncing == _SYNC_THREADS and self._spool.is_short:
            self._in_thread(self._spool.prepare).add_done_callback(_ignore)
        kept = self._in_thread(partial(self._spool.sync, content))
        kept.add_done_callback(self._synced)
        return kept

    def _synced(self, kept: asyncio.Future[None]) -> None:
        self._syncing -= 1
        _ignore(kept)

    async def put(self, entry: Entry, kept: Awaitable[None] | None = None) -> None:
        """Wait until the content's file is synced if it has one, then commit."""
        message = entry.message
        content = message.content
        try:
            if kept := kept or self.keep(content):
                await kept
        except OSError as error:
            raise StoreError(f"the content cannot be written: {error}") from error

        def op(db: sqlite3.Connection) -> None:
            self._check_free()
            verbs.put(db, entry)

        if isinstance(content, bytes):
            self._remember(message.id, content)
        try:
            await self._writer.run(
                op,
                lambda db: verbs.unput(db, message.id),
                has_file=isinstance(content, Spooled),
                tell=partial(self._tell, (entry,)),
            )
        except BaseException:
            self._recall(message.id)
            raise

    async def claim(self, channel: str, room: Room, now: datetime) -> Claim:
        """Lease and charge."""
        made: list[Claim] = []
        if self._wall.is_set(ahead := self._wall.ahead(now)):
            await self._writer.run_long(lambda db: self._follow(db, ahead))
            self._wall.followed(ahead)

        def op(db: sqlite3.Connection) -> Claim:
            ledger = self._ledger(db, channel, now)
            claim = claims.claim(db, ledger, channel, room, now, self._recall, self._turns)
            made[:] = [claim]
            return claim

        def undo(db: sqlite3.Connection) -> None:
            for claim in made:
                claims.unclaim(db, claim.leases, now)

        claimed = await self._writer.run(op, undo)
        self._leased.update(lease.message_id for lease in claimed.leases)
        return claimed

    async def settle(
        self,
        lease: Lease,
        attempt: Attempt,
        settlement: Settlement,
        health: Health | None,
        reports: Sequence[Entry],
    ) -> None:
        """Write down what came of a lease."""
        channel = lease.channel

        def op(db: sqlite3.Connection) -> bool:
            if self._limits.get(channel) or settlement.refund_recipients:
                ledger = self._ledgers.get(channel)
                charges.settle(db, ledger, lease, attempt.ended_at, settlement)
            verbs.settle(db, lease, attempt, settlement, health, tuple(reports))
            may_forget = self._forgets_at_once and isinstance(lease.content, Spooled)
            return may_forget and verbs.forget_content(db, lease.message_id)

        written = self._writer.run(op)
        for disposition in settlement.dispositions:
            if isinstance(disposition, Later):
                self._mail_for(disposition.channel)
        self._tell(reports)
        is_done_with = await written
        self._leased[lease.message_id] -= 1
        is_read = self._leased[lease.message_id] > 0  # by a lease that was taken back
        if not is_read:
            del self._leased[lease.message_id]
        if is_done_with and isinstance(lease.content, Spooled):
            self._let_go(lease.content, is_read=is_read)

    async def set_health(self, channel: str, health: Health) -> None:
        """Remember how a channel is."""
        await self._writer.run(lambda db: verbs.put_health(db, channel, health))

    async def waiting(
        self,
        channel: str,
        *,
        only_alternatives: bool,
        only_essential: bool = False,
        limit: int,
    ) -> list[Waiting]:
        """Return what waits for a channel."""
        return await self._read(
            lambda db: owner.waiting(
                db, channel, only_alternatives=only_alternatives, only_essential=only_essential,
                limit=limit,
            )
        )  # fmt: skip

    async def move(self, moves: Mapping[int, str]) -> int:
        """Let recipients go by another channel."""
        return await self._writer.run(lambda db: owner.move(db, moves))

    async def plan_again(self, fingerprint: str, plan: Planner, now: datetime) -> int:
        """Plan what waits anew."""
        return await self._writer.run_long(lambda db: owner.plan_again(db, fingerprint, plan, now))

    async def retry(self, selection: Selection, now: datetime) -> int:
        """Make due now."""
        return await self._writer.run_long(lambda db: owner.retry(db, selection, now))

    async def hold(self, selection: Selection, why: str) -> int:
        """Hold."""
        return await self._writer.run_long(lambda db: owner.hold(db, selection, why))

    async def release(self, selection: Selection, now: datetime) -> int:
        """Let go."""
        return await self._writer.run_long(lambda db: owner.release(db, selection, now))

    async def drop(self, selection: Selection, now: datetime) -> int:
        """Throw away."""
        return await self._writer.run_long(lambda db: owner.drop(db, selection, now))

    async def correct(
        self, queue_ids: Sequence[str], kind: Kind, plan: Planner, now: datetime
    ) -> Corrected:
        """Set kinds by hand."""
        return await self._writer.run(lambda db: owner.correct(db, queue_ids, kind, plan, now))

    async def past(self, limit: int) -> list[Past]:
        """Return the newest messages."""
        return await self._read(lambda db: views.past(db, limit))

    async def expired(self, received_before: datetime, limit: int) -> list[Waiting]:
        """Return what is too old."""
        return await self._read(lambda db: upkeep.expired(db, received_before, limit))

    async def overdue(self, received_before: datetime, limit: int) -> list[Waiting]:
        """Return what waits without notice."""
        return await self._read(lambda db: upkeep.overdue(db, received_before, limit))

    async def give_up(
        self,
        recipient_ids: Sequence[int],
        state: State,
        why: str,
        reports: Sequence[Entry],
        now: datetime,
    ) -> None:
        """Fail or hold, with reports."""
        written = self._writer.run(
            lambda db: upkeep.give_up(db, recipient_ids, state, why, reports, now)
        )
        self._tell(reports)
        await written

    async def notice(self, recipient_ids: Sequence[int], reports: Sequence[Entry]) -> None:
        """Note notices."""
        written = self._writer.run(lambda db: upkeep.notice(db, recipient_ids, reports))
        self._tell(reports)
        await written

    async def take_back(self, in_flight: frozenset[int], now: datetime) -> int:
        """Take back leases that ran out."""
        return await self._writer.run_long(lambda db: upkeep.take_back(db, in_flight, now))

    async def clamp(self, now: datetime, latest: datetime) -> int:
        """Make nothing due after `latest`; the windows are filled again from what was charged."""
        ahead = self._wall.ahead(now)

        def op(db: sqlite3.Connection) -> int:
            self._follow(db, ahead)
            return upkeep.clamp(db, now, latest)

        clamped = await self._writer.run(op)
        self._wall.followed(ahead)
        return clamped

    async def purge(self, retention: Retention, now: datetime) -> Purged:
        """Forget what is old, and then its files."""
        purged, files = await self._writer.run_long(lambda db: upkeep.purge(db, retention, now))
        await self._in_thread(partial(self._remove, files))
        return purged

    async def recipients(self, selection: Selection, limit: int) -> list[RecipientRow]:
        """Return recipients as people see them."""
        return await self._read(lambda db: views.recipients(db, selection, limit))

    async def message(self, queue_id: str) -> MessageRow | None:
        """Return one message."""
        return await self._read(lambda db: views.message(db, queue_id))

    async def content_head(self, message_id: int, size_bytes: int) -> bytes:
        """Return the beginning of the content."""
        return await self._read(lambda db: verbs.content_head(db, message_id, size_bytes))

    async def probe(self) -> None:
        """Write a little."""

        def op(db: sqlite3.Connection) -> None:
            self._check_free()
            db.execute("INSERT OR REPLACE INTO note (name, value) VALUES ('probe', '')")

        await self._writer.run(op)

    async def depth(self) -> list[Depth]:
        """Return how much there is."""
        return await self._read(views.depth)

    async def accounting(self) -> Accounting:
        """Count every recipient."""
        return await self._read(views.accounting)

    async def possible_duplicates(self) -> int:
        """Return how many recipients may have got a message twice."""
        return await self._read(views.possible_duplicates)

    async def learn(self, lease: Lease, window: timedelta | None, now: datetime) -> Lesson | None:
        """Note that the provider refuses a lease as over a limit."""

        def op(db: sqlite3.Connection) -> Lesson | None:
            ledger = self._ledger(db, lease.channel, now)
            lesson = ledger.learn(lease.charge, window, now)
            if lesson is not None:
                charges.learn(db, lease.channel, lesson)
            return lesson

        return await self._writer.run(op)

    async def turns(self, recipient_ids: Sequence[int], now: datetime) -> dict[int, Turn]:
        """Return when those go that wait for a limit."""
        limited = [channel for channel, limits in self._limits.items() if limits]
        if not recipient_ids or not limited:
            return {}
        places = await self._read(lambda db: turns.places(db, recipient_ids, limited))

        def op(db: sqlite3.Connection) -> dict[int, Turn]:
            found = {
                place.recipient_id: turns.turn(self._ledger(db, place.channel, now), place, now)
                for place in places
            }
            return {number: turn for number, turn in found.items() if turn is not None}

        return await self._writer.run(op)

    async def usage(self, now: datetime) -> dict[str, tuple[Usage, ...]]:
        """Return how the limits stand."""
        return await self._writer.run(
            lambda db: {
                channel: self._ledger(db, channel, now).usage(now) for channel in self._limits
            }
        )

    def _in_thread(self, work: Callable[[], None]) -> asyncio.Future[None]:
        return asyncio.get_running_loop().run_in_executor(self._syncers, work)

    def _let_go(self, content: Spooled, *, is_read: bool) -> None:
        if is_read or not self._spool.use_again(content):
            self._in_thread(partial(self._spool.remove, content.path)).add_done_callback(_ignore)

    def _remove(self, paths: Sequence[str]) -> None:
        """Delete files; blocks."""
        for path in paths:
            self._spool.remove(path)
        if not self._syncing:
            self._spool.tidy()

    def _tell(self, entries: Sequence[Entry]) -> None:
        for channel in {channel for entry in entries for channel in entry.channels}:
            self._mail_for(channel)

    def _ledger(self, db: sqlite3.Connection, channel: str, now: datetime) -> Ledger:
        ledger = self._ledgers.get(channel)
        if ledger is None or ledger.is_behind(now):
            ledger = charges.load_ledger(db, channel, self._limits.get(channel, ()), now)
            self._ledgers[channel] = ledger
        return ledger

    def _follow(self, db: sqlite3.Connection, ahead: timedelta) -> None:
        """Move what was charged with the clock; the windows are filled again."""
        self._wall.follow(db, ahead)
        self._forget_ledgers()

    def _forget_ledgers(self) -> None:
        self._ledgers = {}

    def _remember(self, message_id: int, content: bytes) -> None:
        """Keep content until its claim, as far as there is room."""
        with self._recent_lock:
            if self._recent_bytes + len(content) <= _RECENT_BYTES:
                self._recent[message_id] = content
                self._recent_bytes += len(content)

    def _recall(self, message_id: int) -> bytes | None:
        with self._recent_lock:
            content = self._recent.pop(message_id, None)
            if content is not None:
                self._recent_bytes -= len(content)
        return content

    def _check_free(self) -> None:
        try:
            check_free(self._folder)
        except OSError as error:
            raise StoreError(f"the disk of {self._folder} is full: {error.strerror}") from error

    async def _read(self, op: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            if self._reader is None:
                self._reader = sqlite3.connect(
                    f"file:{self._path}?mode=ro", uri=True, isolation_level=None, timeout=5.0,
                    check_same_thread=False,
                )  # fmt: skip
            return op(self._reader)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, run)
        except sqlite3.OperationalError as error:
            raise StoreError(f"the queue cannot be read: {error}") from error
        except sqlite3.DatabaseError as error:
            raise QueueDamagedError(f"the queue is damaged: {error}") from error
        except OSError as error:
            raise StoreError(f"the queue cannot be read: {error}") from error

    def _lock_folder(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(
                self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(
                f"another relay is running with {self._folder}; stop it first, "
                "or give this one a state_dir of its own"
            ) from error
        except OSError as error:
            raise StoreError(f"{self._folder} cannot be used: {error}") from error

    async def _remove_orphans(self) -> None:
        """Delete files that were being received when the last run died: nobody was told 250."""
        known = await self._writer.run_long(lambda db: upkeep.find_files(db, self._spool.folder))
        for path in self._spool.files() - known:
            self._spool.remove(path)


def _ignore(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()

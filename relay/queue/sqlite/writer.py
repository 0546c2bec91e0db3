"""Who writes: takes what is asked for, runs it in one transaction, commits once.

A commit costs a disk sync whatever is in it, so that all that came in during the last one share
the next, and what nobody waits for waits a moment for company. Statements only touch memory and
run in the event loop; what waits for the disk, the commit, runs in a thread, and so does work on
many rows. (Statements in a thread would fight with the loop for the interpreter, several times
each.) Loop and thread take turns, so that the connection is never used by both.

When a statement fails, the others of its batch are run again without it. When the commit itself
fails, nothing of the batch is acknowledged, the connection is opened anew (a file whose fsync
failed cannot be trusted), and what may have reached the file all the same is undone first.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from relay.queue.store import QueueDamagedError, StoreError

T = TypeVar("T")
Op = Callable[[sqlite3.Connection], T]

_MAX_BATCH = 256
_COMPANY_SECONDS = 0.002  # that a settled delivery waits for other work to share its commit
_BUSY_MS = 5000  # for another program that has the file open, in the thread only
_CHECK_UP_TO_BYTES = 64 * 1024 * 1024  # a larger file is not read through at each start
_WAL_PAGES = 2000


@dataclass(slots=True)
class _Job:
    op: Op[Any]
    undo: Op[None] | None
    future: asyncio.Future[Any]
    is_long: bool = False
    has_file: bool = False  # whose name is to be durable before the commit


_Outcome = tuple[asyncio.Future[Any], Any, BaseException | None]


class Writer:
    """Runs operations on the database, one at a time, several to a commit."""

    def __init__(
        self, path: Path, on_rollback: Callable[[], None], sync_names: Callable[[], None]
    ) -> None:
        """`on_rollback` is called when what was done since the last commit is no longer true.

        `sync_names` makes the names of files durable, in the thread; raises OSError.
        """
        self._path = path
        self._sync_names = sync_names
        self._on_rollback = on_rollback
        self._waiting: deque[_Job] = deque()
        self._patient: list[_Job] = []
        self._is_busy = False  # a transaction is open, or about to be
        self._idle = asyncio.Event()
        self._idle.set()
        self._undos: list[Op[None]] = []
        self._db: sqlite3.Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: SimpleQueue[Callable[[], list[_Outcome]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="queue-commit", daemon=True)

    async def start(self) -> None:
        """Open the file and bring its schema up to date; raises StoreError."""
        self._loop = asyncio.get_running_loop()
        self._db = await asyncio.to_thread(self._open)
        self._thread.start()

    def run(self, op: Op[T], undo: Op[None] | None = None) -> asyncio.Future[T]:
        """Return the result of `op` once it is on the disk; raises StoreError when it is not."""
        self._hurry()
        return self._ask(op, undo)

    def run_at_once(self, op: Op[T], undo: Op[None], *, has_file: bool) -> asyncio.Future[T]:
        """Return the same, without the company of what can wait: a client waits for its reply."""
        return self._ask(op, undo, has_file=has_file)

    def run_soon(self, op: Op[T]) -> asyncio.Future[T]:
        """Return the same, somewhat later: it shares the commit of what comes next."""
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        if not self._patient:
            self._loop.call_later(_COMPANY_SECONDS, self._hurry)
        self._patient.append(_Job(op, None, future))
        return future

    def run_long(self, op: Op[T]) -> asyncio.Future[T]:
        """Return the same for work on many rows, which is done in the thread, alone."""
        self._hurry()
        return self._ask(op, None, is_long=True)

    async def stop(self) -> None:
        """Finish what was asked for and close the file."""
        self._hurry()
        await self._idle.wait()
        if self._thread.is_alive():
            self._work.put(None)
            await asyncio.to_thread(self._thread.join)
        self._close()

    # -- in the event loop ----------------------------------------------------------------------

    def _ask(
        self,
        op: Op[T],
        undo: Op[None] | None,
        *,
        is_long: bool = False,
        has_file: bool = False,
    ) -> asyncio.Future[T]:
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append(_Job(op, undo, future, is_long, has_file))
        self._look()
        return future

    def _hurry(self) -> None:
        if self._patient:
            self._waiting.extend(self._patient)
            self._patient.clear()
            self._look()

    def _look(self) -> None:
        if self._waiting and not self._is_busy:
            assert self._loop is not None
            self._is_busy = True
            self._idle.clear()
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        """Run what waits, and have it committed."""
        batch = self._next_batch()
        if batch[0].is_long or self._db is None or self._undos:
            self._work.put(lambda: self._settle(batch))
            return
        try:
            results = self._execute(self._db, batch)
        except Exception as error:
            self._roll_back(error)
            self._work.put(lambda: self._settle(batch))
        else:
            self._work.put(lambda: self._commit(batch, results))

    def _next_batch(self) -> list[_Job]:
        batch = [self._waiting.popleft()]
        while (
            self._waiting
            and len(batch) < _MAX_BATCH
            and not batch[0].is_long
            and not self._waiting[0].is_long
        ):
            batch.append(self._waiting.popleft())
        return batch

    def _end(self, outcomes: list[_Outcome]) -> None:
        """Tell what came of a batch, and go on with what came in meanwhile."""
        for future, result, error in outcomes:
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        self._is_busy = False
        self._look()
        if not self._is_busy:
            self._idle.set()

    # -- in either, never in both -----------------------------------------------------------------

    def _execute(self, db: sqlite3.Connection, batch: list[_Job]) -> list[Any]:
        db.execute("BEGIN IMMEDIATE")
        return [job.op(db) for job in batch]

    def _roll_back(self, error: Exception) -> None:
        self._on_rollback()
        if self._db is None:
            return
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:
            self._close()
        if isinstance(error, sqlite3.OperationalError) and not _is_busy(error):
            self._close()

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    # -- in the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        assert self._loop is not None
        while (work := self._work.get()) is not None:
            self._loop.call_soon_threadsafe(self._end, work())

    def _settle(self, batch: list[_Job]) -> list[_Outcome]:
        """Run a batch in one transaction, or, when one of it fails, each in its own."""
        try:
            db = self._ready()
            db.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
            results = self._execute(db, batch)
            db.execute("PRAGMA busy_timeout = 0")
        except Exception as error:
            self._roll_back(error)
            if len(batch) == 1:
                return [(batch[0].future, None, _as_store_error(error))]
            return [outcome for job in batch for outcome in self._settle([job])]
        return self._commit(batch, results)

    def _commit(self, batch: list[_Job], results: list[Any]) -> list[_Outcome]:
        assert self._db is not None
        try:
            if any(job.has_file for job in batch):
                self._sync_names()
            self._db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._undos += [job.undo for job in batch if job.undo is not None]
            self._close()
            self._on_rollback()
            return [(job.future, None, _as_store_error(error)) for job in batch]
        return [(job.future, result, None) for job, result in zip(batch, results, strict=True)]

    def _ready(self) -> sqlite3.Connection:
        """Return the connection, opened anew and cleaned up if the last commit failed."""
        if self._db is None:
            self._db = self._open()
        if self._undos:
            self._db.execute("BEGIN IMMEDIATE")
            for undo in self._undos:
                undo(self._db)
            self._db.execute("COMMIT")
            self._undos.clear()
        return self._db

    def _open(self) -> sqlite3.Connection:
        try:
            return open_database(self._path)
        except sqlite3.Error as error:
            raise _as_store_error(error) from error


def open_database(path: Path) -> sqlite3.Connection:
    """Return a connection for writing, schema up to date; raises sqlite3.Error or StoreError."""
    fresh = not path.exists()
    if fresh:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    db = sqlite3.connect(
        path, isolation_level=None, timeout=_BUSY_MS / 1000, check_same_thread=False
    )
    try:
        if fresh:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = FAST")
        db.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        db.execute("PRAGMA cell_size_check = ON")
        if path.stat().st_size <= _CHECK_UP_TO_BYTES:
            (answer,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if answer != "ok":
                raise QueueDamagedError(f"{path}: {answer}")
        _migrate(db, path)
        db.execute("PRAGMA busy_timeout = 0")  # nothing in the event loop waits
    except BaseException:
        db.close()
        raise
    return db


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    """Apply the numbered files of `schema/` that are newer than the database."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    files = sorted(
        (
            entry
            for entry in resources.files("relay.queue").joinpath("schema").iterdir()
            if entry.name.endswith(".sql")
        ),
        key=lambda entry: entry.name,
    )
    newest = int(files[-1].name[:4])
    if version > newest:
        raise StoreError(
            f"{path} was written by a newer relay (schema {version}, this one knows {newest}); "
            "install that version again"
        )
    for entry in files:
        number = int(entry.name[:4])
        if number > version:
            db.executescript(
                f"BEGIN IMMEDIATE;{entry.read_text('utf-8')};PRAGMA user_version = {number};COMMIT;"
            )


def _as_store_error(error: Exception) -> BaseException:
    """Return what callers see: StoreError for the world's failures, our mistakes as they are."""
    match error:
        case StoreError():
            return error
        case sqlite3.OperationalError() | OSError():
            wrapped: StoreError = StoreError(f"the queue cannot be written: {error}")
        case sqlite3.DatabaseError() if not isinstance(
            error, sqlite3.ProgrammingError | sqlite3.IntegrityError
        ):
            wrapped = QueueDamagedError(f"the queue is damaged: {error}")
        case _:
            return error
    wrapped.__cause__ = error
    return wrapped


def _is_busy(error: sqlite3.Error) -> bool:
    """Return whether another program holds the file."""
    return (error.sqlite_errorcode & 0xFF) == sqlite3.SQLITE_BUSY

"""Who writes: takes what is asked for, runs it in one transaction, commits once.

A commit costs a disk sync whatever is in it, so that all that came in during the last one share
the next. Statements only touch memory and run in the event loop; what waits for the disk, the
commit, runs in a thread, and so does work on many rows. (Statements in a thread would fight with
the loop for the interpreter, several times each.) Loop and thread take turns, so that the
connection is never used by both.

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
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from relay.queue.store import QueueDamagedError, StoreError

T = TypeVar("T")
Op = Callable[[sqlite3.Connection], T]

_MAX_BATCH = 256
_MAX_TURNS = 2  # of the loop that a transaction stays open for more
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
    tell: Callable[[], None] | None = None  # to be called once, when the job was run


@dataclass(slots=True)
class _Batch:
    """What shares a transaction."""

    jobs: list[_Job]
    results: list[Any] = field(default_factory=list)  # of as many of them as were run
    turns: int = 0  # of the loop that it stayed open for those who heard of it
    is_told: bool = False  # somebody heard of it in this turn


_Outcome = tuple[_Job, Any, BaseException | None]


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
        self._is_busy = False  # a transaction is open, or about to be
        self._open_batch: _Batch | None = None  # whose transaction others may still join
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

    def run(
        self,
        op: Op[T],
        undo: Op[None] | None = None,
        *,
        has_file: bool = False,
        tell: Callable[[], None] | None = None,
    ) -> asyncio.Future[T]:
        """Return the result of `op` once it is on the disk; raises StoreError when it is not.

        With `has_file` the names of files are made durable before. `tell` is called once `op` was
        run: what is asked for by those who hear of it may share the commit.
        """
        return self._ask(_Job(op, undo, self._future(), has_file=has_file, tell=tell))

    def run_long(self, op: Op[T]) -> asyncio.Future[T]:
        """Return the same for work on many rows, which is done in the thread, alone."""
        return self._ask(_Job(op, None, self._future(), is_long=True))

    async def stop(self) -> None:
        """Finish what was asked for and close the file."""
        await self._idle.wait()
        if self._thread.is_alive():
            self._work.put(None)
            await asyncio.to_thread(self._thread.join)
        self._close()

    # -- in the event loop ----------------------------------------------------------------------

    def _future(self) -> asyncio.Future[Any]:
        assert self._loop is not None
        return self._loop.create_future()

    def _ask(self, job: _Job) -> asyncio.Future[Any]:
        """Let a job share the transaction that is open, or the next one."""
        if self._open_batch is not None and not job.is_long and not self._waiting:
            self._join(self._open_batch, job)
        else:
            self._waiting.append(job)
            self._look()
        return job.future

    def _look(self) -> None:
        if self._waiting and not self._is_busy:
            assert self._loop is not None
            self._is_busy = True
            self._idle.clear()
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        """Run what waits, and have it committed together with what that leads to.

        Who hears of a job claims in the same transaction what it put there, so that the two cost
        one commit.
        """
        jobs = self._next_jobs()
        if jobs[0].is_long or self._db is None or self._undos:
            self._work.put(lambda: self._settle(jobs))
            return
        batch = self._open_batch = _Batch(jobs)
        if self._tried(_begin, batch) and self._tried(lambda db: self._execute(db, batch), batch):
            self._stay_open(batch)

    def _join(self, batch: _Batch, job: _Job) -> None:
        """Run a job in the transaction that is open."""
        batch.jobs.append(job)
        if self._tried(lambda db: batch.results.append(job.op(db)), batch):
            batch.is_told |= _tell((job,))

    def _stay_open(self, batch: _Batch) -> None:
        """Give who hears of a batch a turn of the loop to join it, then have it committed."""
        assert self._loop is not None
        if self._open_batch is not batch:
            return  # a job failed; it is being done one by one
        batch.is_told |= _tell(batch.jobs)
        if batch.is_told and batch.turns < _MAX_TURNS and len(batch.jobs) < _MAX_BATCH:
            batch.is_told = False
            batch.turns += 1
            self._loop.call_soon(self._stay_open, batch)
        else:
            self._open_batch = None
            self._work.put(lambda: self._commit(batch))

    def _tried(self, work: Op[object], batch: _Batch) -> bool:
        """Run work of a batch; if it fails, have all of the batch done one by one."""
        assert self._db is not None
        try:
            work(self._db)
        except Exception as error:
            self._open_batch = None
            self._roll_back(error)
            self._work.put(lambda: self._settle(batch.jobs))
            return False
        return True

    def _next_jobs(self) -> list[_Job]:
        jobs = [self._waiting.popleft()]
        while (
            self._waiting
            and len(jobs) < _MAX_BATCH
            and not jobs[0].is_long
            and not self._waiting[0].is_long
        ):
            jobs.append(self._waiting.popleft())
        return jobs

    def _end(self, outcomes: list[_Outcome]) -> None:
        """Tell what came of a batch, and go on with what came in meanwhile."""
        for job, result, error in outcomes:
            if job.future.cancelled():
                continue
            if error is None:
                job.future.set_result(result)
            else:
                job.future.set_exception(error)
        self._is_busy = False
        _tell(job for job, _, error in outcomes if error is None)
        self._look()
        if not self._is_busy:
            self._idle.set()

    # -- in either, never in both -----------------------------------------------------------------

    def _execute(self, db: sqlite3.Connection, batch: _Batch) -> None:
        for job in batch.jobs:
            batch.results.append(job.op(db))

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

    def _settle(self, jobs: list[_Job]) -> list[_Outcome]:
        """Run jobs in one transaction, or, when one of them fails, each in its own.

        When nothing can be written at all, nobody waits for a second try.
        """
        try:
            db = self._ready()
            _begin_patiently(db)
        except Exception as error:
            self._roll_back(error)
            failure = _as_store_error(error)
            return [(job, None, failure) for job in jobs]
        batch = _Batch(jobs)
        try:
            self._execute(db, batch)
        except Exception as error:
            self._roll_back(error)
            if len(jobs) == 1:
                return [(jobs[0], None, _as_store_error(error))]
            return [outcome for job in jobs for outcome in self._settle([job])]
        return self._commit(batch)

    def _commit(self, batch: _Batch) -> list[_Outcome]:
        assert self._db is not None
        jobs = batch.jobs
        try:
            if any(job.has_file for job in jobs):
                self._sync_names()
            self._db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._undos += [job.undo for job in jobs if job.undo is not None]
            self._close()
            self._on_rollback()
            return [(job, None, _as_store_error(error)) for job in jobs]
        return [(job, result, None) for job, result in zip(jobs, batch.results, strict=True)]

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


def _tell(jobs: Iterable[_Job]) -> bool:
    """Tell once who wants to know of jobs that were run; return whether anybody did."""
    told = False
    for job in jobs:
        if job.tell is not None:
            tell, job.tell = job.tell, None
            told = True
            try:
                tell()
            except Exception as error:  # who hears of it must not stop the queue
                context = {"message": "telling of new mail failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
    return told


def _begin(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")


def _begin_patiently(db: sqlite3.Connection) -> None:
    """Begin once another program that has the file open lets us; not in the event loop."""
    db.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    try:
        _begin(db)
    finally:
        with suppress(sqlite3.Error):
            db.execute("PRAGMA busy_timeout = 0")


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

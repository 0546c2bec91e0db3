"""The one thread that writes: takes what is asked for, runs it in one transaction, commits once.

A commit costs a disk sync whatever is in it, so that all that came in during the last one share
the next, and what nobody waits for waits a moment for company. When a statement fails, the others
of its batch are run again without it. When the commit itself fails, nothing of the batch is
acknowledged, the connection is opened anew (a file whose fsync failed cannot be trusted), and what
may have reached the file all the same is undone first.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from relay.queue.store import QueueDamagedError, StoreError

T = TypeVar("T")
Op = Callable[[sqlite3.Connection], T]

_MAX_BATCH = 256
_COMPANY_SECONDS = 0.002  # that a settled delivery waits for other work to share its commit
_BUSY_SECONDS = 5.0
_CHECK_UP_TO_BYTES = 64 * 1024 * 1024  # a larger file is not read through at each start
_WAL_PAGES = 2000


@dataclass(slots=True)
class _Job:
    op: Op[Any]
    undo: Op[None] | None
    future: asyncio.Future[Any]


_Outcome = tuple[asyncio.Future[Any], Any, BaseException | None]


class Writer:
    """Runs operations on the database, one at a time, several to a commit."""

    def __init__(self, path: Path, on_rollback: Callable[[], None]) -> None:
        """`on_rollback` is called in the writer's thread when what was done is no longer true."""
        self._path = path
        self._on_rollback = on_rollback
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._patient: list[_Job] = []  # touched by the event loop's thread only
        self._undos: list[Op[None]] = []
        self._db: sqlite3.Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Open the file and bring its schema up to date; raises StoreError."""
        self._loop = asyncio.get_running_loop()
        self._db = await asyncio.to_thread(self._open)
        self._thread = threading.Thread(target=self._run, name="queue-writer", daemon=True)
        self._thread.start()

    def run(self, op: Op[T], undo: Op[None] | None = None) -> asyncio.Future[T]:
        """Return the result of `op` once it is on the disk; raises StoreError when it is not."""
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        self._hurry()
        self._jobs.put(_Job(op, undo, future))
        return future

    def run_at_once(self, op: Op[T], undo: Op[None]) -> asyncio.Future[T]:
        """Return the same, without the company of what can wait: a client waits for its reply."""
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(op, undo, future))
        return future

    def run_soon(self, op: Op[T]) -> asyncio.Future[T]:
        """Return the same, somewhat later: it shares the commit of what comes next."""
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        if not self._patient:
            self._loop.call_later(_COMPANY_SECONDS, self._hurry)
        self._patient.append(_Job(op, None, future))
        return future

    def _hurry(self) -> None:
        for job in self._patient:
            self._jobs.put(job)
        self._patient.clear()

    async def stop(self) -> None:
        """Finish what was asked for and close the file."""
        self._hurry()
        self._jobs.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        assert self._loop is not None
        stopping = False
        while not stopping:
            job = self._jobs.get()
            batch: list[_Job] = []
            while job is not None:
                batch.append(job)
                if len(batch) == _MAX_BATCH:
                    break
                try:
                    job = self._jobs.get_nowait()
                except Empty:
                    break
            stopping = job is None
            if batch:
                outcomes = self._settle(batch)
                self._loop.call_soon_threadsafe(_resolve, outcomes)
        if self._db is not None:
            self._db.close()

    def _settle(self, batch: list[_Job]) -> list[_Outcome]:
        """Run a batch in one transaction, or, when one of it fails, each in its own."""
        try:
            db = self._ready()
            db.execute("BEGIN IMMEDIATE")
            outcomes: list[_Outcome] = [(job.future, job.op(db), None) for job in batch]
        except Exception as error:
            self._roll_back(error)
            if len(batch) == 1:
                return [(batch[0].future, None, _as_store_error(error))]
            return [outcome for job in batch for outcome in self._settle([job])]
        try:
            db.execute("COMMIT")
        except sqlite3.Error as error:
            self._undos += [job.undo for job in batch if job.undo is not None]
            self._close()
            self._on_rollback()
            return [(job.future, None, _as_store_error(error)) for job in batch]
        return outcomes

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

    def _roll_back(self, error: Exception) -> None:
        self._on_rollback()
        if self._db is None:
            return
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:
            self._close()
        if isinstance(error, sqlite3.OperationalError):
            self._close()

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

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
    db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False)
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


def _resolve(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.cancelled():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

"""Worker processes, started when there is work for them and ended when there was none for a minute.

A worker looks at one message at a time and has the next ones at hand. When it is late or breaks, it
is killed, the message that it was at is given up, and another one looks at the others.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import deque
from pathlib import Path
from typing import cast

from relay.inspect.frames import LENGTH_BYTES, guide_frame, length_of, parse_inspection
from relay.inspect.inspection import Guide, Inspection

SECONDS_PER_MESSAGE = 2.0
SECONDS_TO_START = 10.0
SECONDS_TO_END = 5.0
SECONDS_IDLE = 60.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024

_MAX_DEATHS = 2  # of workers at one message; the first may have died before it
_MAX_TRIES = 20  # with those of workers that were lost before they came to it
_AT_HAND = 6  # messages that one worker has before another is asked, with the one that it is at
_PACE_SECONDS = 0.05  # at one message, after which it is no longer asked first
_ROOT = str(Path(__file__).resolve().parents[2])  # where `relay` is imported from
_COMMAND = (sys.executable, "-s", "-P", "-m", "relay.inspect.worker")


class WorkerError(Exception):
    """A message could not be looked at; the text says why, for the verdict."""


class LateError(WorkerError):
    """To look at a message took too long."""


class _NotYetError(Exception):
    """The worker was lost before it came to this message."""


class _DiedError(Exception):
    """The worker died at this message, or before it was told of it."""


class Pool:
    """Hands messages to workers."""

    def __init__(self, guide: Guide, size: int) -> None:
        """Allow `size` workers, which follow `guide`; none is started yet."""
        self._guide = guide
        self._size = size
        self._room = asyncio.Semaphore(size * _AT_HAND)
        self._workers: list[_Worker] = []
        self._processes: list[asyncio.subprocess.Process] = []  # until they have ended
        self._start: asyncio.Task[_Worker | None] | None = None  # what all who need one wait for
        self._is_closed = False
        self._reaper: asyncio.TimerHandle | None = None

    async def look(self, request: bytes) -> Inspection:
        """Return what a worker says to a request; raises WorkerError."""
        deaths = tries = 0
        async with self._room:
            while deaths < _MAX_DEATHS and tries < _MAX_TRIES:
                tries += 1
                worker = self._at_work() or await self._another()
                try:
                    return parse_inspection(await worker.ask(request))
                except _NotYetError:
                    continue
                except _DiedError:
                    deaths += 1
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    worker.end(_NotYetError())
                    raise WorkerError(f"the reader of mail said {type(error).__name__}") from None
                finally:
                    self._reap_later()
        raise WorkerError("the reader of mail died of it")

    def _at_work(self) -> _Worker | None:
        """Return who is to be asked, None when one more should be started.

        To keep one busy takes less CPU a message than to wake several in turn, as long as it keeps
        pace.
        """
        self._workers = [worker for worker in self._workers if not worker.is_lost]
        for worker in self._workers:
            if worker.load < _AT_HAND and worker.keeps_pace:
                return worker
        if self._workers and (self._start is not None or len(self._workers) >= self._size):
            return min(self._workers, key=lambda one: one.load)
        return None

    async def _another(self) -> _Worker:
        """Return who is to be asked once one more has started: one at a time may be enough."""
        while True:
            if self._is_closed:
                raise WorkerError("relay stops")
            start = self._start
            if start is None:
                start = self._start = asyncio.create_task(self._start_one())
            await asyncio.wait([start])
            if start.cancelled():
                continue
            worker = start.result()
            if at_work := self._at_work():
                return at_work
            if worker is not None and worker.is_lost:
                return worker

    async def _start_one(self) -> _Worker | None:
        """Start a worker; return None when it knows no longer what it should."""
        guide = self._guide
        worker = _Worker()
        try:
            await _get_ready(worker, guide)
        finally:
            self._remember(worker)
            self._start = None
        if self._is_closed or guide is not self._guide:
            worker.release()
            return None
        self._workers.append(worker)
        return worker

    def _remember(self, worker: _Worker) -> None:
        self._processes = [one for one in self._processes if one.returncode is None]
        if worker.process is not None:
            self._processes.append(worker.process)

    def follow(self, guide: Guide) -> None:
        """Follow another guide: workers end when they are done with what they have."""
        self._guide = guide
        self._reap()

    async def close(self) -> None:
        """End the workers."""
        self._is_closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        if self._start is not None:
            self._start.cancel()
            await asyncio.wait([self._start])
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.end(WorkerError("relay stops"))
        for process in self._processes:
            await process.wait()

    def _reap_later(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
        self._reaper = asyncio.get_running_loop().call_later(SECONDS_IDLE, self._reap)

    def _reap(self) -> None:
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.release()


class _Worker(asyncio.Protocol):
    """One child process, at the other end of a socket."""

    def __init__(self) -> None:
        self.process: asyncio.subprocess.Process | None = None
        self.is_ready = False  # it knows the guide
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._arrived = bytearray()
        self._asked: deque[asyncio.Future[bytes]] = deque()  # the first is what it is at
        self._late: asyncio.TimerHandle | None = None
        self._since = 0.0  # loop time at which it came to the message that it is at
        self._is_released = False

    @property
    def is_lost(self) -> bool:
        """Return whether there is no way to it any more."""
        return self._transport is None or self._transport.is_closing()

    @property
    def load(self) -> int:
        """Return how many messages it has."""
        return len(self._asked)

    @property
    def keeps_pace(self) -> bool:
        """Return whether it has not been at one message for long."""
        return not self._asked or self._loop.time() < self._since + _PACE_SECONDS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand out the answers, which come in the order of the questions."""
        arrived = self._arrived
        arrived += data
        while self._asked and len(arrived) >= LENGTH_BYTES:
            end = LENGTH_BYTES + length_of(arrived)
            if end > MAX_ANSWER_BYTES:
                self.end(WorkerError("the reader of mail says too much"))
                return
            if len(arrived) < end:
                return
            asked = self._asked.popleft()
            if not asked.done():
                asked.set_result(bytes(arrived[LENGTH_BYTES:end]))
            del arrived[:end]
            self._watch()
        if arrived and not self._asked:
            self.end(_NotYetError())  # it says what nobody asked for

    def connection_lost(self, _: Exception | None) -> None:
        """Tell who waits."""
        self.end(_DiedError())

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """Return the answer to `request`; raises WorkerError, _NotYetError, _DiedError."""
        asked: asyncio.Future[bytes] = self._loop.create_future()
        if self._transport is None or self.is_lost:
            asked.set_exception(_NotYetError())
            return asked
        self._asked.append(asked)
        self._transport.write(request)
        if len(self._asked) == 1:
            self._watch()
        return asked

    def _watch(self) -> None:
        """Begin to count the seconds of the message that it comes to now."""
        if self._late is not None:
            self._late.cancel()
            self._late = None
        self._since = self._loop.time()
        if self._asked and self.is_ready:
            late = LateError(f"reading took longer than {SECONDS_PER_MESSAGE:g} s")
            self._late = self._loop.call_later(SECONDS_PER_MESSAGE, self.end, late)
        elif self._is_released and not self._asked:
            self._close()

    def release(self) -> None:
        """Let it end by itself when it is done: it stops when its input does."""
        self._is_released = True
        if not self._asked:
            self._close()

    def end(self, head: Exception) -> None:
        """End it at once; `head` is for the message that it is at, others were not looked at."""
        asked, self._asked = self._asked, deque()
        for number, future in enumerate(asked):
            if not future.done():
                future.set_exception(_NotYetError() if number else head)
        self._kill()
        self._close()

    def _kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    def _close(self) -> None:
        if self._late is not None:
            self._late.cancel()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            self._loop.call_later(SECONDS_TO_END, self._kill)


async def _get_ready(worker: _Worker, guide: Guide) -> None:
    """Start its process and tell it the guide; raises WorkerError."""
    try:
        async with asyncio.timeout(SECONDS_TO_START):
            await _spawn(worker)
            await worker.ask(guide_frame(guide))
            worker.is_ready = True
    except (OSError, WorkerError, _NotYetError, _DiedError) as error:  # so is a timeout
        worker.end(_NotYetError())
        raise WorkerError(f"the reader of mail does not start ({error!r})") from error
    except BaseException:
        worker.end(_NotYetError())
        raise


async def _spawn(worker: _Worker) -> None:
    """Start the process; it has no secrets in its environment, no files of ours."""
    ours, theirs = socket.socketpair()
    with theirs:
        await asyncio.get_running_loop().create_connection(lambda: worker, sock=ours)
        worker.process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=asyncio.subprocess.DEVNULL,
            env={"PYTHONPATH": _ROOT, "PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            cwd="/",
            start_new_session=True,
        )

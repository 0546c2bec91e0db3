"""Worker processes, started when a document comes and ended when none has for a minute."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.policy.evidence import Document, EInvoice, Reading

SECONDS_PER_MESSAGE = 2.0
SECONDS_TO_START = 10.0
SECONDS_IDLE = 60.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024

_ROOT = str(Path(__file__).resolve().parents[2])  # where `relay` is imported from


class WorkerError(Exception):
    """The documents could not be read; the text says why, for the verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A raw attachment: its bytes, or where they are in a file."""

    where: str
    name: str
    media_type: str
    encoding: str
    raw: bytes = b""
    path: str | None = None
    start: int = 0
    size: int = 0


class Pool:
    """Hands parts to a free worker; a worker that is late or broken is killed and replaced."""

    def __init__(self, size: int = 2) -> None:
        """Allow `size` workers; none is started yet."""
        self._room = asyncio.Semaphore(size)
        self._idle: list[_Worker] = []
        self._reaper: asyncio.TimerHandle | None = None

    async def read(self, parts: list[Part]) -> tuple[list[Document], list[str]]:
        """Return the documents in `parts` and what could not be read; raises WorkerError."""
        async with self._room:
            worker = self._idle.pop() if self._idle else await _start()
            try:
                async with asyncio.timeout(SECONDS_PER_MESSAGE):
                    answer = await worker.ask(parts)
            except TimeoutError:
                worker.kill()
                raise WorkerError(f"reading took longer than {SECONDS_PER_MESSAGE:g} s") from None
            except (OSError, EOFError, ValueError) as error:
                worker.kill()
                raise WorkerError(
                    f"the reader of documents died ({type(error).__name__})"
                ) from None
            except BaseException:
                worker.kill()
                raise
            self._idle.append(worker)
            self._reap_later()
        documents = [_document(fields) for fields in answer["documents"]]
        return documents, [str(problem) for problem in answer["problems"]]

    def _reap_later(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
        self._reaper = asyncio.get_running_loop().call_later(SECONDS_IDLE, self._reap)

    def _reap(self) -> None:
        while self._idle:
            self._idle.pop().release()

    async def close(self) -> None:
        """End the workers; those in use are killed by whoever waits for them."""
        if self._reaper is not None:
            self._reaper.cancel()
        while self._idle:
            worker = self._idle.pop()
            worker.release()
            await worker.process.wait()


class _Worker:
    """One child process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._source = process.stdout
        self._sink = process.stdin

    async def ask(self, parts: list[Part]) -> dict[str, Any]:
        head = json.dumps({"parts": [_described(part) for part in parts]}).encode("ascii")
        self._sink.write(len(head).to_bytes(4, "big") + head)
        for part in parts:
            if part.path is None:
                self._sink.write(part.raw)
        await self._sink.drain()
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        size = int.from_bytes(await self._source.readexactly(4), "big")
        if size > MAX_ANSWER_BYTES:
            raise ValueError("answer too long")
        value: dict[str, Any] = json.loads(await self._source.readexactly(size))
        return value

    def release(self) -> None:
        """Let it end by itself: it stops when its input does."""
        self._sink.close()

    def kill(self) -> None:
        """End it at once."""
        if self.process.returncode is None:
            self.process.kill()
        self._sink.close()


async def _start() -> _Worker:
    """Return a worker that is ready; it has no secrets in its environment, no files of ours."""
    command = (sys.executable, "-s", "-P", "-m", "relay.inspect.worker")
    try:
        async with asyncio.timeout(SECONDS_TO_START):
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"PYTHONPATH": _ROOT, "PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
            )
            worker = _Worker(process)
            try:
                await worker.answer()
            except BaseException:
                worker.kill()
                raise
            return worker
    except (OSError, EOFError, ValueError, TimeoutError) as error:
        raise WorkerError(f"the reader of documents does not start ({error})") from error


def _described(part: Part) -> dict[str, object]:
    described: dict[str, object] = {
        "where": part.where,
        "name": part.name,
        "type": part.media_type,
        "encoding": part.encoding,
        "size": len(part.raw) if part.path is None else part.size,
    }
    if part.path is not None:
        described |= {"path": part.path, "start": part.start}
    return described


def _document(fields: dict[str, Any]) -> Document:
    einvoice = fields.pop("einvoice")
    return Document(
        **fields
        | {
            "reading": Reading(fields["reading"]),
            "pages": tuple(fields["pages"]),
            "einvoice": EInvoice(**einvoice) if einvoice else None,
        }
    )

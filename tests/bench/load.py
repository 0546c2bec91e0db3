"""The applications of the bench: a process that hands in mail, and times each message.

It waits for each reply before it says more, as the mail libraries of applications do. All content
is made before the clock starts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection

import uvloop

from tests.bench.mails import Mail, mails


@dataclass(frozen=True, slots=True)
class Work:
    """What is handed in, and how."""

    name: str
    count: int
    size_bytes: int
    sessions: int
    connection_each: bool = False  # one message a connection, one after the other


@dataclass(frozen=True, slots=True)
class Order:
    """What the runner asks of the generator: first to make the mail, then to hand it in."""

    work: Work
    seed: int


@dataclass(frozen=True, slots=True)
class Handed:
    """What the generator tells of a run."""

    began_at: float  # time.monotonic()
    waits: tuple[float, ...]  # seconds, one for each message
    fault: str = ""


class Session(asyncio.Protocol):
    """One connection that hands in its share."""

    def __init__(self, share: list[Mail]) -> None:
        self.over: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()
        self._reply = b""
        self._talk = _talk(share)
        next(self._talk)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        reply = self._reply = self._reply + data
        last_line = reply.rfind(b"\n", 0, -1) + 1
        if not reply.endswith(b"\r\n") or reply[last_line + 3 : last_line + 4] == b"-":
            return
        self._reply = b""
        try:
            self._transport.write(self._talk.send(reply))
        except StopIteration as end:
            self.over.set_result(end.value)
            self._transport.close()
        except UnexpectedReplyError as error:
            self.over.set_exception(error)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_exception(error or ConnectionError("the connection was closed early"))


class UnexpectedReplyError(Exception):
    """The server under measurement did not take the mail."""


def _talk(share: list[Mail]) -> Generator[bytes, bytes, list[float]]:
    """Yield what to say, take the replies; return how long each message took."""
    waits = []
    _expect(b"220", (yield b""))
    _expect(b"250", (yield b"EHLO bench.example.com\r\n"))
    for mail in share:
        began_at = time.monotonic()
        command = f"MAIL FROM:<{mail.reverse_path}> SIZE={mail.size_bytes} BODY=8BITMIME\r\n"
        _expect(b"250", (yield command.encode()))
        _expect(b"250", (yield f"RCPT TO:<{mail.forward_path}>\r\n".encode()))
        _expect(b"354", (yield b"DATA\r\n"))
        _expect(b"250", (yield mail.wire))
        waits.append(time.monotonic() - began_at)
    _expect(b"221", (yield b"QUIT\r\n"))
    return waits


def _expect(code: bytes, reply: bytes) -> None:
    if not reply.startswith(code):
        raise UnexpectedReplyError(f"{reply!r} where {code.decode()} was expected")


def generate(runner: Connection) -> None:
    """Obey the runner until it hangs up. The entry of the process.

    An Order is answered by id and digest of each message; the port that follows it, by Handed.
    """
    while True:
        try:
            order: Order = runner.recv()
        except EOFError:
            return
        work = order.work
        made = mails(work.name, work.count, work.size_bytes, order.seed)
        runner.send({mail.id: mail.digest for mail in made})
        port: int = runner.recv()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            runner.send(loop.run(_hand_in(work, made, port)))


async def _hand_in(work: Work, made: list[Mail], port: int) -> Handed:
    began_at = time.monotonic()
    try:
        waits = await (_one_by_one if work.connection_each else _at_once)(work, made, port)
    except (OSError, UnexpectedReplyError) as error:
        return Handed(began_at, (), str(error))
    return Handed(began_at, tuple(waits))


async def _at_once(work: Work, made: list[Mail], port: int) -> list[float]:
    shares = [made[first :: work.sessions] for first in range(work.sessions)]
    waits = await asyncio.gather(*(_connection(share, port) for share in shares))
    return [wait for each in waits for wait in each]


async def _one_by_one(work: Work, made: list[Mail], port: int) -> list[float]:
    """Time from connecting to the answer to QUIT."""
    waits = []
    for mail in made:
        began_at = time.monotonic()
        await _connection([mail], port)
        waits.append(time.monotonic() - began_at)
    return waits


async def _connection(share: list[Mail], port: int) -> list[float]:
    loop = asyncio.get_running_loop()
    _, session = await loop.create_connection(lambda: Session(share), "127.0.0.1", port)
    return await session.over

"""A real listener on loopback in a thread of its own, and a client that says what it is told."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar

import uvloop

from relay.listener.listeners import Servers, open_listeners
from relay.listener.options import ListenerOptions
from relay.mail.message import Message, Spooled
from relay.mail.reply import Reply
from relay.observe.events import Crashed, Event, Refused
from relay.observe.journal import Journal
from relay.queue.spool import Spool

NOON = datetime(2026, 3, 5, 12, 0, 7, tzinfo=UTC)
PATIENCE = 10.0  # seconds until a test gives up
T = TypeVar("T")


@dataclass
class Desk:
    """Takes every message, or does what it is told."""

    answer: Reply | Exception = field(default_factory=lambda: Reply(250, "2.0.0", "queued"))
    messages: list[Message] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    gate: asyncio.Event | None = None  # to be set before anything is taken
    arrived: threading.Event = field(default_factory=threading.Event)
    ids: Iterator[int] = field(default_factory=lambda: count(1 << 40))

    def new_id(self) -> int:
        return next(self.ids)

    def now(self) -> datetime:
        return NOON

    async def accept(self, message: Message) -> Reply:
        self.arrived.set()
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        self.messages.append(message)
        self.contents.append(content_of(message))
        return self.answer


def content_of(message: Message) -> bytes:
    """Return the content, wherever it is kept."""
    match message.content:
        case Spooled(path=path):
            return Path(path).read_bytes()
        case content:
            return content


class Client:
    """A raw socket; sends exactly what it is given."""

    def __init__(self, address: tuple[str, int], *, greeting: bool = True) -> None:
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        if greeting:
            assert self.reply().startswith(b"220 ")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def flood(self, data: bytes, times: int, *, every: float = 0.0) -> str:
        """Send the same again and again; return how it ended."""
        clock = threading.Event()
        try:
            for _ in range(times):
                self.send(data)
                if every:
                    clock.wait(every)
        except (BrokenPipeError, ConnectionResetError):
            return "hung up"
        return "all sent"

    def read(self) -> bytes:
        """Return what comes with one read, b"" at the end."""
        try:
            return self.socket.recv(65536)
        except ConnectionResetError:
            return b""

    def reply(self) -> bytes:
        """Return one reply, all its lines, without the last CRLF; b"" at the end."""
        lines: list[bytes] = []
        while True:
            line, end, rest = self._buffer.partition(b"\r\n")
            if end:
                self._buffer = rest
                lines.append(line)
                if line[3:4] != b"-":
                    return b"\r\n".join(lines)
                continue
            data = self.read()
            if not data:
                return b""
            self._buffer += data

    def say(self, line: bytes) -> bytes:
        """Send one line, return the reply."""
        self.send(line + b"\r\n")
        return self.reply()

    def all(self, *lines: bytes) -> list[bytes]:
        """Say one line after the other, return the replies."""
        return [self.say(line) for line in lines]

    def rest(self) -> bytes:
        """Return all that comes until the other side closes."""
        data, self._buffer = self._buffer, b""
        while piece := self.read():
            data += piece
        return data

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def upgrade(self, context: ssl.SSLContext) -> None:
        """Shake hands."""
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")

    def begin(self, sender: bytes = b"<a@b.example>", *recipients: bytes) -> None:
        """Say all that comes before content."""
        recipients = recipients or (b"<c@d.example>",)
        assert self.say(b"EHLO app").startswith(b"250")
        assert self.say(b"MAIL FROM:" + sender).startswith(b"250 2.1.0")
        for recipient in recipients:
            assert self.say(b"RCPT TO:" + recipient).startswith(b"250 2.1.5")
        assert self.say(b"DATA").startswith(b"354 ")


@dataclass
class House:
    """A listener that runs."""

    desk: Desk
    events: list[Event]
    loop: asyncio.AbstractEventLoop
    servers: Servers
    spool: Path

    @property
    def address(self) -> tuple[str, int]:
        return self.servers.addresses[0]

    def client(self, *, greeting: bool = True) -> Client:
        return Client(self.address, greeting=greeting)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call something on the loop."""

        async def run() -> T:
            return function(*arguments)

        return self.run(run())

    def run(self, awaitable: Awaitable[T]) -> T:
        """Await something on the loop."""
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result(PATIENCE)  # type: ignore[arg-type]

    def hold(self) -> Callable[[], None]:
        """Let nothing be taken until the function is called that this returns."""
        self.desk.gate = self.call(asyncio.Event)
        return lambda: self.call(self.desk.gate.set)  # type: ignore[union-attr]

    @property
    def refusals(self) -> list[tuple[str, str]]:
        return [(str(e.reason), e.detail) for e in self.events if isinstance(e, Refused)]

    @property
    def crashes(self) -> list[Crashed]:
        return [event for event in self.events if isinstance(event, Crashed)]

    def settled(self) -> None:
        """Wait until no connection is left."""

        async def wait() -> None:
            for listener, _ in self.servers._opened:
                await listener.emptied.wait()

        self.run(wait())

    def deliver(self, content: bytes) -> bytes:
        """Send one message, return the content that arrived."""
        with self.client() as client:
            client.begin()
            client.send(content)
            assert client.reply().startswith(b"250 ")
        return self.desk.contents[-1]


@contextmanager
def listening(
    spool: Path,
    *,
    loop: str = "uvloop",
    sockets: dict[str, socket.socket] | None = None,
    **say: Any,
) -> Iterator[House]:
    """Run a listener with these options; every error of the loop fails the test."""
    options = ListenerOptions(
        **{"address": "127.0.0.1:0", "host": "127.0.0.1", "port": 0, "hostname": "mx.example"} | say
    )
    events: list[Event] = []
    desk = Desk()
    troubles: list[dict[str, Any]] = []
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    started: list[House] = []
    ready, done = threading.Event(), threading.Event()

    async def main() -> None:
        running = asyncio.get_running_loop()
        running.set_exception_handler(lambda _, context: troubles.append(context))
        try:
            servers = await open_listeners(
                (options,),
                reception=desk,
                journal=Journal(events.append),
                spool=Spool(spool),
                sockets=sockets,
            )
            started.append(House(desk, events, running, servers, spool))
        finally:
            ready.set()
        await running.run_in_executor(None, done.wait)
        await servers.drain(0)

    def run() -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(PATIENCE)
    try:
        yield started[0]
    finally:
        done.set()
        thread.join(PATIENCE)
    assert not troubles

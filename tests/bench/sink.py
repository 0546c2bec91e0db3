"""The upstream of the bench: a process that takes mail as fast as it can and forgets nothing.

It keeps the content as it came; only after the clock has stopped it is looked at.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import uvloop

from tests.bench.mails import ID_FIELD, digest

_END = b"\r\n.\r\n"
_CAPABILITIES = b"250-sink\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250 8BITMIME\r\n"
_REPLIES = {
    b"EHLO": _CAPABILITIES,
    b"HELO": b"250 sink\r\n",
    b"MAIL": b"250 ok\r\n",
    b"RCPT": b"250 ok\r\n",
    b"RSET": b"250 ok\r\n",
    b"NOOP": b"250 ok\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 bye\r\n",
}


@dataclass(slots=True)
class Tally:
    """What came since the last `expect`, and who is to be told when all is there."""

    runner: Connection
    wanted: int = 0
    contents: list[bytes] = field(default_factory=list)

    def add(self, content: bytes) -> None:
        """Count one; the clock stops with the last."""
        self.contents.append(content)
        if len(self.contents) == self.wanted:
            self.runner.send(time.monotonic())

    def command(self) -> None:
        """Do what the runner asks: a number to expect, or None for a list of what came."""
        wanted = self.runner.recv()
        if wanted is None:
            self.runner.send(list(_list(self.contents)))
        else:
            self.contents, self.wanted = [], wanted


def _list(contents: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield id and digest of each message without the trace fields in front."""
    for stuffed in contents:
        content = stuffed.replace(b"\r\n..", b"\r\n.")
        start = content.find(ID_FIELD)
        if start < 0 or (start > 0 and content[start - 1 : start] != b"\n"):
            yield f"no {ID_FIELD.decode()} in {content[:200]!r}", b""
            continue
        begin = start + len(ID_FIELD)
        yield content[begin : content.index(b"@", begin)].decode(), digest(content[start:])


class Session(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_buffer", "_in_content", "_scanned", "_tally", "_transport")

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._buffer = bytearray()
        self._in_content = False
        self._scanned = 0
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # that of uvloop is no subclass
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        replies = b""
        while (reply := self._step()) is not None:
            replies += reply
            if reply.startswith(b"221"):
                self._transport.write(replies)
                self._transport.close()
                return
        if replies:
            self._transport.write(replies)

    def _step(self) -> bytes | None:
        """Take one command or one message; None: it is not all there."""
        buffer = self._buffer
        if self._in_content:
            end = buffer.find(_END, self._scanned)
            if end < 0:
                self._scanned = max(0, len(buffer) - len(_END) + 1)
                return None
            content = bytes(buffer[: end + 2])
            del buffer[: end + len(_END)]
            self._in_content, self._scanned = False, 0
            self._tally.add(content)
            return b"250 taken\r\n"
        end = buffer.find(b"\r\n")
        if end < 0:
            return None
        verb = bytes(buffer[:4]).upper()
        del buffer[: end + 2]
        self._in_content = verb == b"DATA"
        return _REPLIES.get(verb, b"500 what?\r\n")


def serve(listening: socket.socket, runner: Connection) -> None:
    """Run until the runner hangs up. The entry of the process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(_serve(listening, runner))


async def _serve(listening: socket.socket, runner: Connection) -> None:
    loop = asyncio.get_running_loop()
    tally = Tally(runner)
    over = asyncio.Event()

    def command() -> None:
        try:
            tally.command()
        except EOFError:
            over.set()

    loop.add_reader(runner.fileno(), command)
    server = await loop.create_server(lambda: Session(tally), sock=listening, backlog=1024)
    await over.wait()
    server.close()

"""aiosmtplib's protocol, taught to pipeline (RFC 2920) and to distrust what nobody asked for."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from typing import cast

from aiosmtplib.errors import SMTPException, SMTPServerDisconnected
from aiosmtplib.protocol import MAX_RESPONSE_LENGTH, SMTPProtocol
from aiosmtplib.response import SMTPResponse

CLOSED = "Connection unexpectedly closed"
_QUIT_SECONDS = 5.0


class OutOfStep(SMTPException):
    """The server said what is no reply or was not asked for; nothing it says can be trusted."""


class UpstreamProtocol(SMTPProtocol):
    """One connection. Replies are counted: each one that arrives must be owed.

    The library's own way of reading (one reply at a time) is replaced, its flow control and
    writing are used. No method here has a timeout: that is the caller's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.gone = loop.create_future()  # done when the connection is
        self._owed = 1  # the greeting
        self._arrived: deque[SMTPResponse] = deque()
        self._lines: list[bytes] = []  # of a reply that has begun
        self._line_bytes = 0
        self._failure: BaseException | None = None
        self._reader: asyncio.Future[None] | None = None
        self._retired = False

    @property
    def is_in_step(self) -> bool:
        """Return whether the connection lives and both sides agree that nothing is owed."""
        clean = not (self._owed or self._arrived or self._lines or self._buffer)
        return clean and self._failure is None and self.is_connected

    @property
    def has_reply(self) -> bool:
        """Return whether a reply can be had without waiting."""
        return bool(self._arrived)

    def ask(self, *commands: bytes) -> None:
        """Write `commands`, CRLF included, in one go; a reply is owed for each of them."""
        self._owed += len(commands)
        self.write(b"".join(commands))

    def expect(self) -> None:
        """Let the server answer once: what follows by `write` is content."""
        self._owed += 1

    def write(self, data: bytes) -> None:
        """Write `data`; raises what broke the connection."""
        if self._failure is not None:
            raise self._failure
        super().write(data)

    def write_all(self, parts: Sequence[bytes]) -> None:
        """Write `parts` in one go, without joining large ones here."""
        if self._failure is not None:
            raise self._failure
        if not self.is_connected:
            raise SMTPServerDisconnected(CLOSED)
        cast("asyncio.WriteTransport", self.transport).writelines(parts)

    async def reply(self) -> SMTPResponse:
        """Return the next reply; raises what broke the connection before it came."""
        while not self._arrived:
            if self._failure is not None:
                raise self._failure
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._arrived.popleft()

    async def room(self, stall_seconds: float) -> None:
        """Wait until more can be written or a reply is there.

        Raises TimeoutError when nothing at all moves for `stall_seconds`.
        """
        while self._paused and not self._arrived and self._failure is None:
            before = self._unwritten()
            try:
                async with asyncio.timeout(stall_seconds):
                    await self._drain_helper()
            except TimeoutError:
                if self._unwritten() >= before:
                    raise

    def _unwritten(self) -> int:
        transport = cast("asyncio.WriteTransport", self.transport)
        return transport.get_write_buffer_size() if self.is_connected else 0

    def in_plain_step(self) -> None:
        """Raise OutOfStep when more was said than STARTTLS asked for: it may be a forger's.

        RFC 3207 §4.2: nothing learnt before the handshake may be kept.
        """
        if not self.is_in_step:
            raise self._failure or OutOfStep("the server spoke between STARTTLS and the handshake")

    async def upgrade(self, context: ssl.SSLContext, name: str) -> None:
        """Do the handshake after STARTTLS was agreed upon."""
        self.in_plain_step()
        upgraded = await self._loop.start_tls(
            cast("asyncio.WriteTransport", self.transport),
            self,
            context,
            server_hostname=name,
        )
        if upgraded is None:
            raise SMTPServerDisconnected(CLOSED)
        self.transport = upgraded
        self._over_ssl = True

    def retire(self) -> None:
        """Say QUIT and close once it is answered, or after a few seconds; waits for nothing."""
        if not self.is_in_step:
            self.abort()
            return
        self._retired = True
        self.write(b"QUIT\r\n")
        closing = self._loop.call_later(_QUIT_SECONDS, self.abort)
        self.gone.add_done_callback(lambda _: closing.cancel())

    def abort(self) -> None:
        """Drop the connection at once."""
        if self.transport is not None:
            cast("asyncio.WriteTransport", self.transport).abort()

    def data_received(self, data: bytes) -> None:
        """Take replies apart (RFC 5321 §4.2.1)."""
        if self._failure is not None:
            return
        if self._retired:
            if self.transport is not None:
                self.transport.close()
            return
        if self._buffer:
            data = bytes(self._buffer) + data
            self._buffer.clear()
        *lines, rest = data.split(b"\n")
        for line in lines:
            if not self._take(line):
                return
        self._buffer += rest
        if self._line_bytes + len(rest) > MAX_RESPONSE_LENGTH:
            self._fail(OutOfStep("a reply that does not end"))

    def _take(self, line: bytes) -> bool:
        """Take one line; return whether the server is still in step."""
        line = line.removesuffix(b"\r")
        code, sign = line[:3], line[3:4]
        is_reply = len(code) == 3 and code.isdigit() and b"2" <= code[:1] <= b"5"
        if not is_reply or sign not in (b" ", b"-", b""):
            return self._fail(OutOfStep(f"no reply: {line[:80].decode('ascii', 'replace')}"))
        if not self._owed:
            return self._fail(OutOfStep(f"not asked for: {line[:80].decode('ascii', 'replace')}"))
        self._lines.append(line)
        self._line_bytes += len(line) + 2
        if self._line_bytes > MAX_RESPONSE_LENGTH:
            return self._fail(OutOfStep("a reply that does not end"))
        if self._lines[0][:3] != code:
            return self._fail(OutOfStep("a reply with two codes"))
        if sign != b"-":
            self._finish(int(code))
        return True

    def _finish(self, code: int) -> None:
        text = b"\n".join(line[4:] for line in self._lines).decode("utf-8", "replace")
        self._arrived.append(SMTPResponse(code, text))
        self._lines.clear()
        self._line_bytes = 0
        self._owed -= 1
        self._wake()

    def _fail(self, error: OutOfStep) -> bool:
        if self._failure is None:
            self._failure = error
        self._buffer.clear()
        self.abort()
        self._wake()
        return False

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        for waiter in self._drain_waiters:
            if not waiter.done():
                waiter.set_result(None)

    def eof_received(self) -> bool:
        """Take the end of what the server says as the end of the connection."""
        if self._failure is None:
            self._failure = SMTPServerDisconnected(CLOSED)
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember why, and wake whoever waits."""
        super().connection_lost(exc)
        if self._failure is None:
            self._failure = exc or SMTPServerDisconnected(CLOSED)
        self._wake()
        if not self.gone.done():
            self.gone.set_result(None)

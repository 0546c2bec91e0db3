"""An event loop whose time is only spent by waiting: weeks of real sockets run in seconds.

Time stands still while anything is to be done. When no callback is ready, no socket has news and no
octet is on its way between the two ends of a connection, it jumps to the next timer. What would be
done in a thread is done at once, so that the same seed takes the same course.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_LOST_SECONDS = 0.5  # real ones: what has not arrived by then is not being read
_LATE_SECONDS = 1e-6  # that a timer comes too late, as with every loop

_End = tuple[Any, Any]
"""The address of an end of a connection, and that of the other one."""


class NothingLeftError(Exception):
    """Everybody waits for something that nobody will do."""


class Wire:
    """What was written at one end of a connection and not yet read at the other.

    That a connection was made or ended counts as an octet: it is news at the other end.
    """

    def __init__(self) -> None:
        self._open: set[_End] = set()
        self._under_way: dict[_End, int] = {}  # octets, by the end that wrote them

    @property
    def is_quiet(self) -> bool:
        """Return whether all that was written was read."""
        return not any(self._under_way.values())

    def open(self, end: _End) -> None:
        """Note an end that was connected or accepted."""
        self._open.add(end)
        self._under_way[end] = int((end[1], end[0]) not in self._open)
        self.read(end, 1)

    def wrote(self, end: _End, size_bytes: int) -> None:
        """Note what was written."""
        self._under_way[end] += size_bytes

    def read(self, end: _End, size_bytes: int) -> None:
        """Note what was read; 0 is the end of all."""
        other = end[1], end[0]
        if other in self._under_way:
            self._under_way[other] = max(0, self._under_way[other] - (size_bytes or 1))

    def close(self, end: _End) -> None:
        """Note an end that is gone; nobody reads what is on its way to it."""
        if end not in self._open:
            return
        other = end[1], end[0]
        self._open.discard(end)
        if other in self._open:
            self._under_way[end] += 1
            self._under_way[other] = 0
        else:
            self._under_way.pop(end, None)
            self._under_way.pop(other, None)


class _CountedSocket(socket.socket):
    """An end of a connection that tells the wire what passes."""

    wire: Wire
    end: _End

    @classmethod
    def over(cls, wire: Wire, sock: socket.socket) -> _CountedSocket:
        counted = cls(sock.family, sock.type, sock.proto, fileno=sock.detach())
        counted.setblocking(False)
        counted.wire, counted.end = wire, (counted.getsockname(), counted.getpeername())
        wire.open(counted.end)
        return counted

    def send(self, data: Any, *flags: int) -> int:
        size = super().send(data, *flags)
        self.wire.wrote(self.end, size)
        return size

    def sendmsg(self, buffers: Any, *more: Any) -> int:
        size = super().sendmsg(buffers, *more)
        self.wire.wrote(self.end, size)
        return size

    def recv(self, *arguments: int) -> bytes:
        data = super().recv(*arguments)
        self.wire.read(self.end, len(data))
        return data

    def recv_into(self, *arguments: Any) -> int:
        size = super().recv_into(*arguments)
        self.wire.read(self.end, size)
        return size

    def close(self) -> None:
        self.wire.close(self.end)
        super().close()


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Looks at sockets, and lets time pass when they have no news."""

    def __init__(self, wire: Wire, let_pass: Callable[[float], None]) -> None:
        super().__init__()
        self._wire = wire
        self._let_pass = let_pass

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if not self._wire.is_quiet and (events := super().select(_LOST_SECONDS)):
            return events
        if timeout is None:
            raise NothingLeftError
        self._let_pass(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See above. `time` begins at 0."""

    def __init__(self) -> None:
        self._now = 0.0
        self._wire = Wire()
        super().__init__(_Selector(self._wire, self._let_pass))

    def time(self) -> float:
        """Return the seconds that have passed."""
        return self._now

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *arguments: Any
    ) -> asyncio.Future[T]:
        """Run it here and now."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def _let_pass(self, seconds: float) -> None:
        self._now += seconds + _LATE_SECONDS

    def _make_socket_transport(self, sock: socket.socket, *arguments: Any, **more: Any) -> Any:
        counted = _CountedSocket.over(self._wire, sock)
        return super()._make_socket_transport(counted, *arguments, **more)  # type: ignore[misc]

    def _make_ssl_transport(self, rawsock: socket.socket, *arguments: Any, **more: Any) -> Any:
        counted = _CountedSocket.over(self._wire, rawsock)
        return super()._make_ssl_transport(counted, *arguments, **more)  # type: ignore[misc]


def run(story: Coroutine[Any, Any, T]) -> T:
    """Run a story in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)

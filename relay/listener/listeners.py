"""All listeners together: opened at the start, drained at the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from relay.listener.options import ListenerOptions, Tls
from relay.listener.server import (
    GOODBYE_SECONDS,
    HANDSHAKE_SECONDS,
    Connection,
    Listener,
    address_of,
)
from relay.listener.session import Reception
from relay.listener.tls import ListenerError
from relay.observe.events import ListenerOpened, RefusalReason
from relay.observe.journal import Journal
from relay.queue.spool import Spool

BACKLOG = 1024  # a short one silently loses bursts of connections
RETRY_SECONDS = 1.0  # after a connection could not be accepted


class TlsDoor:
    """Lets clients in that begin with TLS.

    `create_server` does so too, but never tells of a handshake that failed, nor whose it was.
    """

    def __init__(self, listener: Listener, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.listen(BACKLOG)
        self.sockets: tuple[socket.socket, ...] = (sock,)  # none once it is closed
        self._sock = sock
        self._listener = listener
        self._shaking: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._open()

    def close(self) -> None:
        """Take no more connections; handshakes under way are broken off."""
        if not self.sockets:
            return
        self.sockets = ()
        if self._retry is not None:
            self._retry.cancel()
        self._listener.loop.remove_reader(self._sock)
        self._sock.close()
        for task in self._shaking:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until no handshake is under way."""
        if self._shaking:
            await asyncio.wait(self._shaking)

    def _open(self) -> None:
        self._listener.loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        listener = self._listener
        try:
            client, peer = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # too many open files: wait until some are closed
            listener.refuse("", RefusalReason.BUSY, f"accept: {error.strerror}")
            listener.loop.remove_reader(self._sock)
            self._retry = listener.loop.call_later(RETRY_SECONDS, self._open)
            return
        client.setblocking(False)
        task = listener.loop.create_task(self._shake_hands(client, address_of(peer)))
        self._shaking.add(task)
        task.add_done_callback(partial(self._forget, client))

    def _forget(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._shaking.discard(task)
        if task.cancelled():
            sock.close()

    async def _shake_hands(self, sock: socket.socket, client: str) -> None:
        listener = self._listener
        if len(listener.connections) + len(self._shaking) > listener.options.max_connections:
            listener.refuse(client, RefusalReason.BUSY, "too many connections")
            sock.close()  # no word can be said before the handshake
            return
        try:
            await listener.loop.connect_accepted_socket(
                lambda: Connection(listener),
                sock,
                ssl=listener.context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except OSError as error:  # that of `ssl` is one
            listener.refuse(client, RefusalReason.ACCESS, f"TLS handshake: {error}")


Door = asyncio.Server | TlsDoor


class Servers:
    """All listeners, open."""

    def __init__(self, opened: Sequence[tuple[Listener, Door]]) -> None:
        self._opened = tuple(opened)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Return host and port of each socket, in the order of the settings."""
        names = (sock.getsockname() for _, server in self._opened for sock in server.sockets)
        return tuple((name[0], name[1]) for name in names)

    def close(self) -> None:
        """Take no more connections."""
        for _, server in self._opened:
            server.close()

    async def drain(self, seconds: float) -> bool:
        """Let transactions end, say 421 to all others; return whether none had to be cut off.

        Clients get a moment first: one that reads 421 as the answer to its QUIT may believe that
        the message before it was not taken, and send it again.
        """
        self.close()
        listeners = [listener for listener, _ in self._opened]
        with suppress(TimeoutError):
            async with asyncio.timeout(min(GOODBYE_SECONDS, seconds)):
                for listener in listeners:
                    await listener.emptied.wait()
        for listener in listeners:
            listener.is_leaving = True
            for connection in tuple(listener.connections):
                connection.finish()
        is_drained = True
        try:
            async with asyncio.timeout(seconds):
                for listener in listeners:
                    await listener.emptied.wait()
        except TimeoutError:
            is_drained = False
            for listener in listeners:
                for connection in tuple(listener.connections):
                    connection.abort()
            for listener in listeners:
                await listener.emptied.wait()
        for _, server in self._opened:
            if isinstance(server, TlsDoor):
                await server.wait_closed()
        return is_drained


async def open_listeners(
    options: Sequence[ListenerOptions],
    *,
    reception: Reception,
    journal: Journal,
    spool: Spool,
    sockets: Mapping[str, socket.socket] | None = None,
) -> Servers:
    """Return the listeners, open; `sockets` holds those that systemd opened, by address.

    Raises ListenerError, and then none is open.
    """
    loop = asyncio.get_running_loop()
    opened: list[tuple[Listener, Door]] = []
    try:
        for each in options:
            listener = Listener(each, reception=reception, journal=journal, spool=spool, loop=loop)
            opened.append((listener, await _listen(listener, (sockets or {}).get(each.address))))
            journal.record(ListenerOpened(address=each.address, tls=each.tls, auth=each.auth))
    except ListenerError:
        Servers(opened).close()
        raise
    return Servers(opened)


async def _listen(listener: Listener, inherited: socket.socket | None) -> Door:
    options = listener.options
    try:
        sock = inherited or _bind(options)
    except OSError as error:
        raise ListenerError(f"{options.address}: {error.strerror or error}") from error
    if options.tls is Tls.IMPLICIT:
        return TlsDoor(listener, sock)
    return await listener.loop.create_server(
        lambda: Connection(listener), sock=sock, backlog=BACKLOG
    )


def _bind(options: ListenerOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    return socket.create_server((options.host, options.port), family=family, backlog=BACKLOG)

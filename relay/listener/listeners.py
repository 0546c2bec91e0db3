"""All listeners together: opened at the start, drained at the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence

from relay.listener.options import ListenerOptions
from relay.listener.server import Connection, Listener
from relay.listener.session import Reception
from relay.listener.tls import ListenerError
from relay.observe.events import ListenerOpened
from relay.observe.journal import Journal
from relay.queue.spool import Spool

BACKLOG = 1024  # a short one silently loses bursts of connections


class Servers:
    """All listeners, open."""

    def __init__(self, opened: Sequence[tuple[Listener, asyncio.Server]]) -> None:
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
        """Let transactions end, say 421 to all others; return whether none had to be cut off."""
        self.close()
        listeners = [listener for listener, _ in self._opened]
        for listener in listeners:
            listener.is_leaving = True
            for connection in tuple(listener.connections):
                connection.finish()
        try:
            async with asyncio.timeout(seconds):
                for listener in listeners:
                    await listener.emptied.wait()
        except TimeoutError:
            for listener in listeners:
                for connection in tuple(listener.connections):
                    connection.abort()
            for listener in listeners:
                await listener.emptied.wait()
            return False
        return True


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
    opened: list[tuple[Listener, asyncio.Server]] = []
    try:
        for each in options:
            listener = Listener(each, reception=reception, journal=journal, spool=spool, loop=loop)
            opened.append((listener, await _listen(listener, (sockets or {}).get(each.address))))
            journal.record(ListenerOpened(address=each.address, tls=each.tls, auth=each.auth))
    except ListenerError:
        Servers(opened).close()
        raise
    return Servers(opened)


async def _listen(listener: Listener, inherited: socket.socket | None) -> asyncio.Server:
    options = listener.options

    def connect() -> Connection:
        return Connection(listener)

    try:
        if inherited is not None:
            return await listener.loop.create_server(connect, sock=inherited, backlog=BACKLOG)
        return await listener.loop.create_server(
            connect, options.host, options.port, backlog=BACKLOG
        )
    except OSError as error:
        raise ListenerError(f"{options.address}: {error.strerror or error}") from error

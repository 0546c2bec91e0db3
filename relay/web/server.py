"""Serves an ASGI app on a network address or a Unix socket, inside the running event loop.

It takes uvicorn's protocol and not its server: that one handles signals, ends the process when it
cannot listen, and wakes up ten times a second.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.server import ServerState

from relay.observe.journal import Journal
from relay.web.connection import Connection
from relay.web.guard import REQUEST_SECONDS, Guard

_BACKLOG = 128
_KEEP_ALIVE_SECONDS = 5
_MAX_HEAD_BYTES = 16 * 1024
_CLOSE_SECONDS = 2.0  # for replies that are being made


class ListenError(Exception):
    """An address could not be opened; the words name it and say what to do."""


@dataclass(frozen=True, slots=True)
class Tcp:
    """A network address."""

    host: str
    port: int  # 0: any free one

    def __str__(self) -> str:
        """Return it as the settings write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A socket file that only its owner may use."""

    path: Path

    def __str__(self) -> str:
        """Return its path."""
        return str(self.path)


class WebServer:
    """One app on one address, from `start` to `close`."""

    def __init__(
        self,
        app: ASGIApp,
        at: Tcp | UnixSocket,
        journal: Journal,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self._at = at
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._config = Config(
            Guard(app, journal, request_seconds),
            http="h11",
            loop="none",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
        )
        self._config.load()

    @property
    def port(self) -> int:
        """Return the port that was opened."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listen. Raises ListenError."""
        loop = asyncio.get_running_loop()
        try:
            match self._at:
                case Tcp(host=host, port=port):
                    self._server = await loop.create_server(
                        self._connection, host, port, backlog=_BACKLOG
                    )
                case UnixSocket(path=path):
                    self._server = await loop.create_unix_server(
                        self._connection, sock=_bind(path), backlog=_BACKLOG
                    )
        except OSError as error:
            raise ListenError(_explain(self._at, error)) from error

    async def close(self) -> None:
        """Listen no more, let replies that are being made end, then hang up."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(set(self._state.tasks), timeout=_CLOSE_SECONDS)
        for task in set(self._state.tasks):
            task.cancel()
        for connection in list(self._state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        if isinstance(self._at, UnixSocket):
            self._at.path.unlink(missing_ok=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._server.wait_closed()
        self._server = None

    def _connection(self) -> asyncio.Protocol:
        return Connection(config=self._config, server_state=self._state, app_state={})


def _bind(path: Path) -> socket.socket:
    """Return a socket bound to `path` with mode 0600; one that nobody listens on is replaced."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            with suppress(ConnectionRefusedError, FileNotFoundError):
                probe.connect(str(path))
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(listening.fileno(), 0o600)  # on Linux the file gets the mode of the socket
        listening.bind(str(path))
        path.chmod(0o600)  # elsewhere only now
    except BaseException:
        listening.close()
        raise
    return listening


def _explain(at: Tcp | UnixSocket, error: OSError) -> str:
    """Return what is wrong and what to do, in words."""
    why = error.strerror or str(error)
    match at, error.errno:
        case UnixSocket(), errno.EADDRINUSE:
            why = "another relay runs with this state_dir"
            fix = "stop it, or give this one a state_dir of its own"
        case UnixSocket(), _:
            fix = "give state_dir a folder that this user may write to, with a path below 90 bytes"
        case _, errno.EADDRINUSE:
            why = "another program listens there"
            fix = "stop it, or set another http.address"
        case _, errno.EACCES:
            fix = "set http.address to a port above 1023"
        case _:
            fix = "set http.address to an address of this machine"
    return f"cannot listen on {at}: {why}; {fix}"

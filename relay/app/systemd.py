"""The two halves of systemd's protocol for daemons: sd_notify(3) and sd_listen_fds(3)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

_FIRST_FD = 3


class Notifier:
    """Tells the service manager how the relay is; does nothing without one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._usec = environ.get("WATCHDOG_USEC", "")
        pid = environ.get("WATCHDOG_PID", "")
        self._is_watched = self._usec.isdigit() and pid in ("", str(os.getpid()))

    @property
    def watchdog_seconds(self) -> float | None:
        """Return how often to say that all is well: half of what is asked for. None: not at all."""
        return int(self._usec) / 2e6 if self._is_watched and self._address else None

    def ready(self, status: str) -> None:
        """Say that mail can be handed in."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Say that the settings are being read; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that no more mail is taken."""
        self._send("STOPPING=1\nSTATUS=sending what is under way")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(text.encode(), address)


def inherited_sockets(environ: Mapping[str, str]) -> dict[str, socket.socket]:
    """Return the listening sockets that were handed over, by `address:port` as the settings say."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = environ.get("LISTEN_FDS", "0")
    found: dict[str, socket.socket] = {}
    for fd in range(_FIRST_FD, _FIRST_FD + (int(count) if count.isdigit() else 0)):
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            host, port = sock.getsockname()[:2]
            found[f"[{host}]:{port}" if ":" in host else f"{host}:{port}"] = sock
        else:
            sock.close()
    return found

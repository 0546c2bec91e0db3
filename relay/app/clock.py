"""The only clock, and the numbers that depend on it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from relay.mail.message import message_id

_RANDOM_BITS = 20


def utc_now() -> datetime:
    """Return the time, aware, UTC."""
    return datetime.now(UTC)


def steady() -> timedelta:
    """Return the time since the machine was started, asleep or not; nobody sets this clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return timedelta(seconds=time.clock_gettime(clock))


def boot(environ: Mapping[str, str]) -> str:
    """Return what `steady` counts from, "" if that cannot be known.

    It is the boot, and the time namespace if this process has one. A service that is not let into
    /proc/sys is told the boot by its unit.
    """
    namespace = Path("/proc/self/ns/time")  # not there before Linux 5.6, which had but one
    try:
        number = environ.get("RELAY_BOOT_ID") or Path("/proc/sys/kernel/random/boot_id").read_text()
        own = namespace.readlink() if namespace.is_symlink() else ""
    except OSError:
        return ""
    return f"{number.strip().replace('-', '')} {own}"


class Ids:
    """Queue ids: none twice in a run, and practically none twice in two runs."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._last = 0

    def __call__(self) -> int:
        """Return a new one, larger than all before it."""
        number = message_id(self._clock(), secrets.randbits(_RANDOM_BITS))
        self._last = max(number, self._last + 1)
        return self._last

"""What a tree of processes costs, read from /proc."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)
_PPID, _TIMES = 1, slice(11, 15)  # fields of `stat` after the name: utime stime cutime cstime
_LOOK_EVERY_SECONDS = 0.1


def tree(root: int) -> list[int]:
    """Return the ids of a process and all that it started, directly or not."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))):
            children.setdefault(int(fields[_PPID]), []).append(int(folder.name))
    found = [root]
    for pid in found:  # grows while it is read
        found += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """Return the CPU time of a tree, user and system, that of ended children included.

    Exact to a tick for each process that lives, as long as parents wait for their children.
    """
    ticks = sum(sum(map(int, fields[_TIMES])) for pid in tree(root) if (fields := _stat(pid)))
    return ticks / _TICKS


def pss_bytes(root: int) -> int:
    """Return the memory of a tree, each shared page divided among those that share it."""
    total = 0
    for pid in tree(root):
        try:
            rollup = (_PROC / str(pid) / "smaps_rollup").read_text()
        except OSError:
            continue  # it ended
        match = _PSS.search(rollup)
        total += int(match.group(1)) * 1024 if match else 0
    return total


def wait_until_idle(root: int, quiet_seconds: float, limit_seconds: float) -> None:
    """Return when a tree used next to no CPU for a while, or when it never ends."""
    end = time.monotonic() + limit_seconds
    before, since = cpu_seconds(root), time.monotonic()
    while time.monotonic() < min(end, since + quiet_seconds):
        time.sleep(_LOOK_EVERY_SECONDS)
        now = cpu_seconds(root)
        if now > before + 1 / _TICKS:
            before, since = now, time.monotonic()


def _stat(pid: int) -> list[str]:
    """Return the fields after the name, which may hold anything; nothing if it ended."""
    try:
        return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []

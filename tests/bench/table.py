"""What was measured, as tables."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.load import Work


@dataclass(frozen=True, slots=True)
class Measured:
    """One work done once by one system."""

    seconds: float  # from the first connection until the sink has all
    cpu_seconds: float
    waits: tuple[float, ...]  # seconds, one for each message

    @property
    def messages_per_second(self) -> float:
        """Return how fast the mail went through."""
        return len(self.waits) / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Return the CPU time of one message."""
        return self.cpu_seconds * 1000 / len(self.waits)

    def wait_ms(self, share: float) -> float:
        """Return how long that share of the messages took at most."""
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


_FIGURES: tuple[tuple[str, Callable[[Measured], float]], ...] = (
    ("messages/s until the sink has all", lambda m: m.messages_per_second),
    ("CPU ms a message", lambda m: m.cpu_ms),
    ("application waits, p50 ms", lambda m: m.wait_ms(0.50)),
    ("application waits, p99 ms", lambda m: m.wait_ms(0.99)),
)

Rounds = Mapping[str, Sequence[Measured]]  # by system, one for each round


def machine() -> str:
    """Return what it ran on."""
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return f"{os.cpu_count()} CPUs, {release}, Python {platform.python_version()}"


def of_work(work: Work, rounds: Rounds, bare_per_second: float) -> list[str]:
    """Return the table of one work, a figure a line, as Markdown."""
    size = f"{work.size_bytes // 1000} KB"
    how = "one by one, a connection each" if work.connection_each else f"{work.sessions} sessions"
    lines = [
        f"{work.count} x {size}, {how} (generator and sink alone: {bare_per_second:.0f}/s)",
        "",
        *_header("", *rounds, *(["relay / Postfix"] if len(rounds) > 1 else [])),
    ]
    for title, figure in _FIGURES:
        values = {name: [figure(each) for each in all_of] for name, all_of in rounds.items()}
        cells = [_spread(each) for each in values.values()]
        if len(values) > 1:
            ours, theirs = values.values()
            cells.append(_spread([a / b for a, b in zip(ours, theirs, strict=True)]))
        lines.append(_row(title, *cells))
    return [*lines, ""]


def of_memory(idle_pss_bytes: Mapping[str, int]) -> list[str]:
    """Return the table of the memory before any mail came."""
    cells = [f"{size / 1e6:.1f}" for size in idle_pss_bytes.values()]
    return [*_header("", *idle_pss_bytes), _row("idle PSS, MB", *cells), ""]


def _spread(values: list[float]) -> str:
    """Return the median, and from where to where it went."""
    middle = _number(median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({_number(min(values))}-{_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _header(*cells: str) -> list[str]:
    return [_row(*cells), _row("-" * 33, *("-" * 22 + ":" for _ in cells[1:]))]


def _row(title: str, *cells: str) -> str:
    return f"| {title:<33} | " + " | ".join(f"{cell:>23}" for cell in cells) + " |"

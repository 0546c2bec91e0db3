"""The one place that hears of everything."""

from __future__ import annotations

from collections.abc import Callable

from relay.observe.events import Event


class Journal:
    """Hands each event to the log and to the metrics, in this order; no listener may raise."""

    def __init__(self, *hearers: Callable[[Event], None]) -> None:
        self._hearers = hearers

    def record(self, event: Event) -> None:
        """Tell of `event`."""
        for hear in self._hearers:
            hear(event)

"""Which channels are open: the one place that knows, for the way in and for the way out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.policy.health import Health, Open, Paused, Stopped
from relay.policy.judgement import Category
from relay.policy.limits import Limit
from relay.policy.route import PATIENCE

_FOR_EVER = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Throttle:
    """A limit without room."""

    limit: Limit
    until: datetime
    has_reserve: bool = False  # what is essential still goes


class Board:
    """The state of every channel, as of the last thing that happened to it."""

    def __init__(self, health: Mapping[str, Health]) -> None:
        """Start with what is remembered of earlier runs."""
        self._health = dict(health)
        self._throttles: dict[str, Throttle] = {}
        self._unchecked = {name for name, state in health.items() if _is_sign_in(state)}

    def set_channels(self, channels: Iterable[str]) -> None:
        """Say which channels there are; a new one is open, one that is gone is forgotten."""
        self._health = {name: self._health.get(name, Open()) for name in channels}
        self._throttles.clear()

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the names of all channels."""
        return tuple(self._health)

    def health(self, channel: str) -> Health:
        """Return how a channel is; open for one that is gone."""
        return self._health.get(channel, Open())

    def set_health(self, channel: str, health: Health) -> None:
        """Note how a channel is now; nothing for one that is gone."""
        if channel in self._health:
            self._health[channel] = health
            if _is_sign_in(health):
                self._unchecked.add(channel)

    def take_check(self, channel: str, now: datetime) -> bool:
        """Return, once, whether senders are to be asked for: a refused sign-in may be mended.

        That is before the probe, which some sender's mail would be.
        """
        match self.health(channel):
            case Stopped():
                return False
            case Paused(until=until) if until > now:
                return False
        is_due = channel in self._unchecked
        self._unchecked.discard(channel)
        return is_due

    def hurry(self, now: datetime, channels: Iterable[str] | None = None) -> None:
        """Let paused channels, all or some, be probed from `now` on."""
        for name in tuple(self._health) if channels is None else channels:
            health = self.health(name)
            if isinstance(health, Paused):
                self._health[name] = replace(health, since=min(health.since, now), until=now)

    def is_paused(self, channel: str) -> bool:
        """Return whether a fault or a person keeps it from sending freely."""
        return not isinstance(self.health(channel), Open)

    def throttle(self, channel: str, throttle: Throttle | None) -> None:
        """Note that a limit has no room, or has again."""
        if throttle is None:
            self._throttles.pop(channel, None)
        else:
            self._throttles[channel] = throttle

    def throttled(self, channel: str, now: datetime) -> Throttle | None:
        """Return the limit that a channel is waiting for."""
        throttle = self._throttles.get(channel)
        return throttle if throttle is not None and throttle.until > now else None

    def closed(
        self, now: datetime, is_essential: bool, patience: timedelta = PATIENCE
    ) -> dict[str, datetime]:
        """Return what mail with a choice should avoid, and until when.

        That is what is paused or stopped, and what is throttled for longer than `patience`; not for
        essential mail as long as there is room in the reserve.
        """
        closed: dict[str, datetime] = {}
        for name, health in self._health.items():
            match health:
                case Paused(until=until) if until > now:
                    closed[name] = until
                case Stopped():
                    closed[name] = now + _FOR_EVER
                case _:
                    throttle = self._throttles.get(name)
                    if throttle is None or (is_essential and throttle.has_reserve):
                        continue
                    if throttle.until > now + patience:
                        closed[name] = throttle.until
        return closed


def _is_sign_in(health: Health) -> bool:
    return isinstance(health, Paused) and health.category == Category.AUTH

"""How fast connections may be opened: turns in a rolling window, kept in memory."""

from __future__ import annotations

from collections import deque

Rate = tuple[int, float]
"""At most so many in any span of so many seconds."""


class Pace:
    """Gives turns, at most `maximum` in any span of `seconds`; reads no clock."""

    def __init__(self, maximum: int, seconds: float) -> None:
        self._seconds = seconds
        self._turns: deque[float] = deque(maxlen=maximum)

    @property
    def rate(self) -> Rate:
        """Return what it keeps to."""
        return self._turns.maxlen or 0, self._seconds

    def take(self, now: float) -> float:
        """Take the next turn; return when it is, `now` or later."""
        turns = self._turns
        at = now if len(turns) < (turns.maxlen or 0) else max(now, turns[0] + self._seconds)
        turns.append(at)
        return at

    def opened(self, turn: float, now: float) -> None:
        """Date a turn at the moment at which its connection was there, or was not to be had.

        The server counts it somewhere in between.
        """
        turns = list(self._turns)
        if turn in turns:
            turns.remove(turn)
            self._turns = deque(sorted([*turns, max(turn, now)]), self._turns.maxlen)

    def use_up(self, until: float) -> None:
        """Begin as if all turns had been taken at `until`."""
        self._turns.extend([until] * (self._turns.maxlen or 0))


class Paces:
    """Those of all channels; they outlive a change of the settings.

    What an earlier run did is not known, nor what a channel did without a pace or with another: so
    a new pace begins used up as of the last moment at which connections may have been opened.
    """

    def __init__(self, used_until: float) -> None:
        """`used_until` is the last moment at which an earlier run may have opened one."""
        self._used_until = used_until
        self._paces: dict[str, Pace | None] = {}

    def of(self, channel: str, rate: Rate | None, now: float) -> Pace | None:
        """Return the pace of a channel that is about to be used at `rate`; None for any."""
        known = self._paces.get(channel)
        if known is None or known.rate != rate:
            used_until = now if channel in self._paces else self._used_until
            known = None if rate is None else Pace(*rate)
            if known is not None:
                known.use_up(used_until)
            self._paces[channel] = known
        return known

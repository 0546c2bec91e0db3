"""How fast connections may be opened: turns in a rolling window, kept in memory."""

from __future__ import annotations

from collections import deque


class Pace:
    """Gives turns, at most `maximum` in any span of `seconds`; reads no clock."""

    def __init__(self, maximum: int, seconds: float) -> None:
        self._seconds = seconds
        self._turns: deque[float] = deque(maxlen=maximum)

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

"""Exact rolling windows: how much a channel may send, and when there is room again.

A window of length `per` ending at any moment never holds more than `maximum`. Counts are kept in
slices of a thousandth of the window, each dated at the last charge in it, so that the error is
one-sided (a charge may leave the window late by at most `per`/1000, never early) and memory is
bounded whatever the limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

_SLICES = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Unit(StrEnum):
    """What a limit counts."""

    MESSAGES = "messages"  # transactions with at least one recipient
    RECIPIENTS = "recipients"  # every RCPT, each time


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `maximum` of `unit` in any span of `per`."""

    unit: Unit
    maximum: int  # >= 1
    per: timedelta  # >= 1 ms

    @property
    def name(self) -> str:
        """Return how people see it: `500 recipients per 24h`."""
        unit = self.unit.removesuffix("s") if self.maximum == 1 else self.unit
        return f"{self.maximum} {unit} per {self.span}"

    @property
    def span(self) -> str:
        """Return the length of the window in the notation of the settings."""
        seconds = self.per.total_seconds()
        for size, letter in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
            if seconds >= size and seconds % size == 0:
                # a day is written 24h: "1d" reads as a calendar day
                return "24h" if seconds == 86400 else f"{int(seconds // size)}{letter}"
        return f"{int(seconds * 1000)}ms"


@dataclass(frozen=True, slots=True)
class Charge:
    """What one transaction costs."""

    at: datetime
    messages: int
    recipients: int

    def of(self, unit: Unit) -> int:
        """Return how much of `unit` it is."""
        return self.messages if unit is Unit.MESSAGES else self.recipients


@dataclass(frozen=True, slots=True)
class Usage:
    """One window as it stands."""

    limit: Limit
    used: int
    room_at: datetime | None  # when the next one fits, None for now


@dataclass(frozen=True, slots=True)
class Pass:
    """There is room for this many recipients, in one transaction."""

    recipients: int


@dataclass(frozen=True, slots=True)
class Wait:
    """There is none before `until`, because of `limit`."""

    until: datetime
    limit: Limit


class _Window:
    """The running count of one limit, in slices; the caller's `now` never runs back in it."""

    __slots__ = ("limit", "per_ms", "slice_ms", "slices", "used")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.per_ms = max(1, limit.per // _MILLISECOND)
        self.slice_ms = max(1, self.per_ms // _SLICES)
        self.slices: deque[list[int]] = deque()  # [number of the slice, last charge ms, count]
        self.used = 0

    def forget(self, now_ms: int) -> None:
        """Drop what has left the window that ends at `now_ms`."""
        slices = self.slices
        gone = now_ms - self.per_ms
        while slices and slices[0][1] <= gone:
            self.used -= slices.popleft()[2]

    def add(self, at_ms: int, count: int) -> None:
        """Count `count` at `at_ms`, not before the last one counted."""
        slices = self.slices
        number = at_ms // self.slice_ms
        if slices and slices[-1][0] >= number:
            last = slices[-1]
            last[1] = max(last[1], at_ms)
            last[2] += count
        else:
            slices.append([number, at_ms, count])
        self.used += count

    def remove(self, at_ms: int, count: int) -> None:
        """Give `count` back to the slice in which `at_ms` was counted, if it is still there."""
        number = at_ms // self.slice_ms
        for entry in reversed(self.slices):
            if entry[0] <= number:
                if entry[0] == number:
                    back = min(count, entry[2])
                    entry[2] -= back
                    self.used -= back
                return

    def room_at(self, now_ms: int, wanted: int) -> int:
        """Return the moment (ms) from which `wanted` fits, which is `now_ms` if it does now."""
        free = self.limit.maximum - self.used
        if free >= wanted:
            return now_ms
        for _, last_ms, count in self.slices:
            free += count
            if free >= wanted:
                return last_ms + self.per_ms
        return now_ms + self.per_ms


class Ledger:
    """All windows of one channel: state that changes only by its methods, and reads no clock."""

    __slots__ = ("_last_ms", "_windows")

    def __init__(self, limits: Sequence[Limit], charges: Iterable[Charge], now: datetime) -> None:
        """Count `charges` (ordered by time); those dated after `now` are counted at `now`.

        A clock that was stepped back would otherwise lock the window for as long as the step.
        """
        self._windows = tuple(_Window(limit) for limit in limits)
        self._last_ms = 0
        now_ms = to_ms(now)
        for charge in charges:
            at = min(to_ms(charge.at), now_ms)
            for window in self._windows:
                if at > now_ms - window.per_ms:
                    window.add(at, charge.of(window.limit.unit))
            self._last_ms = max(self._last_ms, at)

    @property
    def longest(self) -> timedelta:
        """Return the length of the longest window, zero without limits."""
        return max((window.limit.per for window in self._windows), default=timedelta())

    def admit(self, recipients: int, now: datetime) -> Pass | Wait:
        """Return how many of `recipients` (>= 1) may go in one transaction now, or when one may."""
        now_ms = self._advance(now)
        room = recipients
        until, blocking = now_ms, None
        for window in self._windows:
            free_at = window.room_at(now_ms, 1)
            if free_at > now_ms:
                if free_at > until:
                    until, blocking = free_at, window.limit
            elif window.limit.unit is Unit.RECIPIENTS:
                room = min(room, window.limit.maximum - window.used)
        if blocking is not None:
            return Wait(from_ms(until), blocking)
        return Pass(room)

    def charge(self, charge: Charge) -> None:
        """Count a transaction that is about to be made."""
        at = max(self._advance(charge.at), to_ms_up(charge.at))
        for window in self._windows:
            window.add(at, charge.of(window.limit.unit))

    def refund(self, charge: Charge) -> None:
        """Give back what the provider has not counted, dated as it was charged."""
        at = to_ms_up(charge.at)
        for window in self._windows:
            window.remove(at, charge.of(window.limit.unit))

    def usage(self, now: datetime) -> tuple[Usage, ...]:
        """Return how each window stands."""
        now_ms = self._advance(now)
        rows = []
        for window in self._windows:
            at = window.room_at(now_ms, 1)
            rows.append(Usage(window.limit, window.used, from_ms(at) if at > now_ms else None))
        return tuple(rows)

    def _advance(self, now: datetime) -> int:
        """Forget what has left the windows; `now` never runs back."""
        now_ms = max(to_ms(now), self._last_ms)
        self._last_ms = now_ms
        for window in self._windows:
            window.forget(now_ms)
        return now_ms


def to_ms(at: datetime) -> int:
    """Return milliseconds since 1970, as the queue stores times."""
    return (at - _EPOCH) // _MILLISECOND


def to_ms_up(at: datetime) -> int:
    """Return the same rounded up: a charge is never dated before it was made."""
    return -((_EPOCH - at) // _MILLISECOND)


def from_ms(ms: int) -> datetime:
    """Return the aware UTC time of `ms` since 1970."""
    return _EPOCH + timedelta(milliseconds=ms)

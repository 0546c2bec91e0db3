"""How providers count, by the letter: every moment in a list, nothing merged, nothing rounded.

Written without the relay's own way of counting, which it is held against; of that it only takes
the words in which a limit is stated.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from relay.policy.limits import Limit, Unit, Window

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_ROUNDING = 1e-6  # of a token


def at(ms: float) -> datetime:
    """Return the time of so many milliseconds since 1970."""
    return _EPOCH + ms * _MS


@dataclass(frozen=True, slots=True)
class Mail:
    """What a provider sees of a transaction."""

    addresses: tuple[str, ...]
    size_bytes: int
    is_new: bool = True  # else more recipients of one that was counted

    def amount(self, unit: Unit) -> int:
        """Return how much of a unit it is, for all but distinct recipients."""
        match unit:
            case Unit.MESSAGES:
                return int(self.is_new)
            case Unit.BYTES:
                return self.size_bytes
            case _:
                return len(self.addresses)


class Counter(Protocol):
    """A provider's own count of one limit. Times are milliseconds, and never run back."""

    def room(self, now: float, mail: Mail) -> bool:
        """Return whether a transaction is allowed."""

    def count(self, now: float, mail: Mail) -> None:
        """Count it."""

    def next_room(self, now: float) -> float:
        """Return when there may be more, after there was none at `now`."""


@dataclass(slots=True)
class _Rolling:
    limit: Limit
    moments: list[float] = field(default_factory=list)
    sums: list[int] = field(default_factory=lambda: [0])  # up to each moment

    def room(self, now: float, mail: Mail) -> bool:
        gone = bisect_right(self.moments, now - self.limit.per / _MS)
        used = self.sums[-1] - self.sums[gone]
        return used + mail.amount(self.limit.unit) <= self.limit.maximum

    def count(self, now: float, mail: Mail) -> None:
        self.moments.append(now)
        self.sums.append(self.sums[-1] + mail.amount(self.limit.unit))

    def next_room(self, now: float) -> float:
        per = self.limit.per / _MS
        return self.moments[bisect_right(self.moments, now - per)] + per


@dataclass(slots=True)
class _Distinct:
    limit: Limit
    last: dict[str, float] = field(default_factory=dict)

    def room(self, now: float, mail: Mail) -> bool:
        gone = now - self.limit.per / _MS
        known = {who for who, moment in self.last.items() if moment > gone}
        return len(known | set(mail.addresses)) <= self.limit.maximum

    def count(self, now: float, mail: Mail) -> None:
        self.last.update(dict.fromkeys(mail.addresses, now))

    def next_room(self, now: float) -> float:
        per = self.limit.per / _MS
        return min(moment for moment in self.last.values() if moment > now - per) + per


@dataclass(slots=True)
class _Calendar:
    limit: Limit
    period: object = None
    total: int = 0

    def room(self, now: float, mail: Mail) -> bool:
        if (period := self._period(now)) != self.period:
            self.period, self.total = period, 0
        return self.total + mail.amount(self.limit.unit) <= self.limit.maximum

    def count(self, now: float, mail: Mail) -> None:
        self.total += mail.amount(self.limit.unit)

    def next_room(self, now: float) -> float:
        minute, period = 60_000 - now % 60_000, self._period(now)
        later = now + minute
        while self._period(later) == period:
            later += 60_000
        return later

    def _period(self, now: float) -> object:
        """Return what the wall over there shows: month, number of the days, or part of a day."""
        local = at(now).astimezone(ZoneInfo(self.limit.timezone))
        if self.limit.is_month:
            return local.year, local.month
        if self.limit.per >= timedelta(days=1):
            return (local.date().toordinal() - 1) // self.limit.per.days
        of_day = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second)
        return local.date(), of_day // self.limit.per


@dataclass(slots=True)
class _Reset:
    limit: Limit
    began: float = float("-inf")
    total: int = 0

    def room(self, now: float, mail: Mail) -> bool:
        amount = mail.amount(self.limit.unit)
        return self._is_over(now) or self.total + amount <= self.limit.maximum

    def count(self, now: float, mail: Mail) -> None:
        if self._is_over(now):
            self.began, self.total = now, 0
        self.total += mail.amount(self.limit.unit)

    def next_room(self, now: float) -> float:
        return self.began + self.limit.per / _MS

    def _is_over(self, now: float) -> bool:
        return now >= self.began + self.limit.per / _MS


@dataclass(slots=True)
class _Bucket:
    limit: Limit
    level: float
    moment: float | None = None

    def room(self, now: float, mail: Mail) -> bool:
        passed = (now - (now if self.moment is None else self.moment)) * _MS
        refill = passed / self.limit.per * self.limit.refill
        self.level, self.moment = min(self.limit.maximum, self.level + refill), now
        return self.level + _ROUNDING >= mail.amount(self.limit.unit)

    def count(self, now: float, mail: Mail) -> None:
        self.level -= mail.amount(self.limit.unit)

    def next_room(self, now: float) -> float:
        return now + self.limit.per / _MS / self.limit.refill + 1


def _counter(limit: Limit) -> Counter:
    if limit.unit is Unit.DISTINCT_RECIPIENTS:
        return _Distinct(limit)
    match limit.window:
        case Window.ROLLING:
            return _Rolling(limit)
        case Window.CALENDAR:
            return _Calendar(limit)
        case Window.TOKEN_BUCKET:
            return _Bucket(limit, limit.maximum)
        case Window.RESET_ON_FIRST_SEND_AFTER:
            return _Reset(limit)


@dataclass(slots=True)
class Books:
    """All limits of one account, as its provider keeps them."""

    limits: tuple[Limit, ...]
    counters: tuple[Counter, ...]
    recipients: int = 0
    last_at: float = 0.0  # when one was counted
    over: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, limits: Sequence[Limit]) -> Books:
        """Return books in which nothing is counted yet."""
        return cls(tuple(limits), tuple(map(_counter, limits)))

    def full(self, now: float, mail: Mail) -> Limit | None:
        """Return the first limit that does not allow a transaction, None if all do."""
        for limit, one in zip(self.limits, self.counters, strict=True):
            if not one.room(now, mail):
                return limit
        return None

    def take(self, now: float, mail: Mail) -> None:
        """Count a transaction, and note where it is over a limit."""
        for limit, one in zip(self.limits, self.counters, strict=True):
            if not one.room(now, mail):
                self.over.append(f"{limit.name} at {at(now)}")
            one.count(now, mail)
        self.recipients += len(mail.addresses)
        self.last_at = now

    def next_room(self, now: float, mail: Mail) -> float:
        """Return when a transaction may be allowed that is not now."""
        return max(one.next_room(now) for one in self.counters if not one.room(now, mail))


def usable(limits: Sequence[Limit], *, is_essential: bool) -> list[Limit]:
    """Return what mail may use of limits: all, or what their reserves leave."""
    return [
        replace(limit, maximum=limit.maximum - (0 if is_essential else limit.reserve), reserve=0)
        for limit in limits
    ]


def exact(limits: Sequence[Limit], mails: Sequence[Mail], begin: float, until: float) -> Books:
    """Return the books after each was sent at the first moment that is allowed, up to `until`."""
    books, now = Books.of(limits), begin
    for mail in mails:
        while books.full(now, mail):
            now = books.next_room(now, mail)
            if now > until:
                return books
        books.take(now, mail)
    return books

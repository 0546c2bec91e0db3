"""How each kind of window is counted: state that changes only by its methods, and reads no clock.

Every error is one-sided: never over, at most a thousandth of the window late. What is being sent
counts until it is settled and is dated at its end, as nobody can see at which moment in between
the provider counted it. Counts are kept in slices, so that memory is bounded whatever the limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import timedelta
from typing import Protocol

from relay.policy.limits import Charge, Limit, Unit, Window
from relay.policy.periods import period

_SLICES = 1000
_MILLISECOND = timedelta(milliseconds=1)
_ROUNDING = 1e-6  # of a token
_LONGEST_GUARD_MS = 30_000  # a clock of the provider that goes wrong by as much does no harm


class Count(Protocol):
    """One limit as it stands. `now_ms` never runs back; amounts are of its unit."""

    limit: Limit

    def forget(self, now_ms: int) -> None:
        """Drop what no longer counts."""

    def began(self) -> Began | None:
        """Return when it began, if it begins with a send and that is known."""

    def used(self) -> int:
        """Return how much of the maximum is taken."""

    def fits(self, charge: Charge, room: int) -> int:
        """Return how many of a charge's recipients go into `room`, 0 if the charge does not."""

    def when(self, now_ms: int, wanted: int, usable: int) -> int:
        """Return when `wanted` more fit into `usable`, each sent as soon as it may be."""

    def begins_anew(self, now_ms: int) -> int | None:
        """Return when everything no longer counts, None where it goes bit by bit."""

    def depart(self, charge: Charge, at_ms: int) -> None:
        """Count a transaction that is about to be made."""

    def land(self, charge: Charge, kept: Charge, at_ms: int, *, is_certain: bool) -> None:
        """Count `kept` of a charge that departed, at the end of its transaction.

        It is certain that the provider counted it, or it may have.
        """

    def add(self, charge: Charge, at_ms: int) -> None:
        """Count a charge of the past, not before the last one counted."""


Began = tuple[int, int]
"""Between which moments (ms) a window began that begins with a send."""


def make_count(limit: Limit, *, is_full: bool = True, began: Began | None = None) -> Count:
    """Return an empty window, as it began if that is known.

    A bucket is without tokens where it is not known to be full.
    """
    if limit.window is Window.TOKEN_BUCKET:
        return _Bucket(limit, limit.maximum if is_full else 0)
    edge = _Edge(limit, began)
    return (
        _Distinct(limit, edge) if limit.unit is Unit.DISTINCT_RECIPIENTS else _Slices(limit, edge)
    )


class _Edge:
    """Up to when what was counted no longer counts, for windows that are not buckets.

    Where all of it goes at once, what was sent within a guard before that moment stays, and
    nothing goes until a guard after it: the provider's clock need not be ours. A window that begins
    with a send has an earliest and a latest moment for that; where it is not known, or as long as
    no send was counted for certain, it is kept as a rolling one, which is never more than is
    allowed.
    """

    __slots__ = ("_earliest_ms", "_latest_ms", "guard_ms", "limit", "per_ms")

    def __init__(self, limit: Limit, began: Began | None) -> None:
        self.limit = limit
        self.per_ms = max(1, limit.per // _MILLISECOND)
        self.guard_ms = min(self.per_ms // _SLICES, _LONGEST_GUARD_MS)
        self._earliest_ms = began[0] if began else None
        self._latest_ms = began[1] if began else None

    def gone(self, now_ms: int) -> int:
        """Return the last moment that no longer counts."""
        if self.limit.window is Window.CALENDAR:
            return period(self.limit, now_ms - self.guard_ms)[0] - self.guard_ms - 1
        if self._earliest_ms is None or self._latest_ms is None:
            return now_ms - self.per_ms
        if not self._is_over(now_ms):
            return 0
        return max(self._earliest_ms + self.per_ms - self.guard_ms - 1, now_ms - self.per_ms)

    def departed(self, at_ms: int, is_empty: bool) -> None:
        """Note a send that perhaps begins a window."""
        if self.limit.window is Window.RESET_ON_FIRST_SEND_AFTER:
            if is_empty:
                self._earliest_ms, self._latest_ms = at_ms, None
            elif self._is_over(at_ms):
                self._earliest_ms = self._latest_ms = None

    def landed(self, at_ms: int) -> None:
        """Note the end of one that was counted for certain."""
        if self._earliest_ms is not None and self._latest_ms is None:
            self._latest_ms = at_ms

    def began(self) -> Began | None:
        """Return between which moments it began, None if that is not known."""
        if self._earliest_ms is None or self._latest_ms is None:
            return None
        return self._earliest_ms, self._latest_ms

    def is_before(self, at_ms: int) -> bool:
        """Return whether something was counted before this window began: it was empty then."""
        return self._earliest_ms is not None and at_ms < self._earliest_ms

    def all_at_once(self, now_ms: int) -> int | None:
        """Return when everything no longer counts, None where each send goes on its own."""
        if self.limit.window is Window.CALENDAR:
            return period(self.limit, now_ms - self.guard_ms)[1] + self.guard_ms
        if self._latest_ms is None or self._is_over(now_ms):
            return None
        return self._latest_ms + self.per_ms + self.guard_ms

    def _is_over(self, now_ms: int) -> bool:
        latest = self._latest_ms
        return latest is not None and now_ms >= latest + self.per_ms + self.guard_ms


def _turn(
    edge: _Edge, now_ms: int, wanted: int, used: int, usable: int, leaving: Iterable[Leaving]
) -> int:
    """Return when there is room for `wanted`, which take their places as they become free.

    What is used beyond `usable`, where a limit was lowered, has to leave first.
    """
    behind = wanted - max(0, usable - used) - 1
    if (at_once := edge.all_at_once(now_ms)) is not None:
        return at_once + behind // usable * edge.per_ms
    cycles, left = divmod(behind, usable)
    left += max(0, used - usable)
    for last_ms, count in leaving:
        left -= count
        if left < 0:
            return max(last_ms + (cycles + 1) * edge.per_ms, now_ms + 1)
    return now_ms + (cycles + 1) * edge.per_ms


Leaving = tuple[int, int]
"""When it was counted, and how much."""


class _Slices:
    """Messages, recipients or bytes, in slices of a thousandth, each dated at its last charge."""

    __slots__ = ("edge", "flying", "landed", "limit", "slice_ms", "slices")

    def __init__(self, limit: Limit, edge: _Edge) -> None:
        self.limit = limit
        self.edge = edge
        self.slice_ms = max(1, self.edge.per_ms // _SLICES)
        self.slices: deque[list[int]] = deque()  # [number of the slice, last charge ms, count]
        self.landed = 0
        self.flying = 0

    def forget(self, now_ms: int) -> None:
        slices = self.slices
        if not slices:
            return
        gone = self.edge.gone(now_ms)
        while slices and slices[0][1] <= gone:
            self.landed -= slices.popleft()[2]

    def used(self) -> int:
        return self.landed + self.flying

    def fits(self, charge: Charge, room: int) -> int:
        if self.limit.unit is Unit.RECIPIENTS:
            return max(0, min(charge.recipients, room))
        return charge.recipients if charge.of(self.limit.unit) <= room else 0

    def when(self, now_ms: int, wanted: int, usable: int) -> int:
        used = self.used()
        if wanted <= usable - used:
            return now_ms
        leaving = ((last_ms, count) for _, last_ms, count in self.slices)
        return _turn(self.edge, now_ms, wanted, used, usable, leaving)

    def begins_anew(self, now_ms: int) -> int | None:
        return self.edge.all_at_once(now_ms)

    def began(self) -> Began | None:
        return self.edge.began()

    def depart(self, charge: Charge, at_ms: int) -> None:
        self.edge.departed(at_ms, not self.slices and not self.flying)
        self.flying += charge.of(self.limit.unit)

    def land(self, charge: Charge, kept: Charge, at_ms: int, *, is_certain: bool) -> None:
        self.flying -= charge.of(self.limit.unit)
        if is_certain and kept.of(self.limit.unit):
            self.edge.landed(at_ms)
        self.add(kept, at_ms)

    def add(self, charge: Charge, at_ms: int) -> None:
        count = charge.of(self.limit.unit)
        if not count or self.edge.is_before(at_ms):
            return
        slices, number = self.slices, at_ms // self.slice_ms
        if slices and slices[-1][0] >= number:
            last = slices[-1]
            last[1] = max(last[1], at_ms)
            last[2] += count
        else:
            slices.append([number, at_ms, count])
        self.landed += count


class _Distinct:
    """Addresses, each counted once, as of its last transaction.

    There are more than the maximum only where the clock was set back while nobody looked, so that
    all are kept that may count. Then even a known one waits: it may be new to the provider.
    """

    __slots__ = ("edge", "flying", "landed", "limit")

    def __init__(self, limit: Limit, edge: _Edge) -> None:
        self.limit = limit
        self.edge = edge
        self.landed: dict[int, int] = {}  # address to its last time, in order of it
        self.flying: dict[int, int] = {}  # address to how many transactions

    def forget(self, now_ms: int) -> None:
        landed = self.landed
        if not landed:
            return
        gone = self.edge.gone(now_ms)
        while landed:
            address = next(iter(landed))
            if landed[address] > gone:
                return
            del landed[address]

    def used(self) -> int:
        flying = self.flying
        return len(self.landed) + sum(address not in self.landed for address in flying)

    def fits(self, charge: Charge, room: int) -> int:
        if self.used() > self.limit.maximum:
            return 0
        new = set[int]()
        for number, address in enumerate(charge.addresses):
            if self._is_new(address):
                new.add(address)
                if len(new) > room:
                    return number
        return len(charge.addresses)

    def when(self, now_ms: int, wanted: int, usable: int) -> int:
        flying, used = self.flying, self.used()
        if wanted <= usable - used:
            return now_ms
        leaving = ((at_ms, int(who not in flying)) for who, at_ms in self.landed.items())
        return _turn(self.edge, now_ms, wanted, used, usable, leaving)

    def begins_anew(self, now_ms: int) -> int | None:
        return self.edge.all_at_once(now_ms)

    def began(self) -> Began | None:
        return self.edge.began()

    def depart(self, charge: Charge, at_ms: int) -> None:
        self.edge.departed(at_ms, not self.landed and not self.flying)
        for address in charge.addresses:
            self.flying[address] = self.flying.get(address, 0) + 1

    def land(self, charge: Charge, kept: Charge, at_ms: int, *, is_certain: bool) -> None:
        for address in charge.addresses:
            left = self.flying.get(address, 1) - 1
            if left:
                self.flying[address] = left
            else:
                self.flying.pop(address, None)
        if is_certain and kept.addresses:
            self.edge.landed(at_ms)
        self.add(kept, at_ms)

    def add(self, charge: Charge, at_ms: int) -> None:
        if self.edge.is_before(at_ms):
            return
        for address in charge.addresses:
            self.landed[address] = max(at_ms, self.landed.pop(address, 0))

    def _is_new(self, address: int) -> bool:
        return address not in self.landed and address not in self.flying


class _Bucket:
    """Tokens that come back evenly. What is being sent keeps its place: it is not refilled."""

    __slots__ = ("at_ms", "flying", "level", "limit", "rate")

    def __init__(self, limit: Limit, level: int) -> None:
        self.limit = limit
        self.rate = limit.refill / max(1, limit.per // _MILLISECOND)  # in a ms
        self.level = float(level)
        self.flying = 0
        self.at_ms = 0  # of the level

    def forget(self, now_ms: int) -> None:
        if not self.at_ms:
            self.at_ms = now_ms
        if now_ms > self.at_ms:
            level = self.level + (now_ms - self.at_ms) * self.rate
            self.level = min(level, float(self.limit.maximum - self.flying))
            self.at_ms = now_ms

    def used(self) -> int:
        return self.limit.maximum - int(self.level + _ROUNDING)

    def fits(self, charge: Charge, room: int) -> int:
        if self.limit.unit is Unit.RECIPIENTS:
            return max(0, min(charge.recipients, room))
        return charge.recipients if charge.of(self.limit.unit) <= room else 0

    def when(self, now_ms: int, wanted: int, usable: int) -> int:
        missing = wanted - (self.level - (self.limit.maximum - usable))
        if missing <= _ROUNDING:
            return now_ms
        return now_ms + int(missing / self.rate) + 1

    def begins_anew(self, now_ms: int) -> int | None:  # noqa: ARG002 -- as the others are asked
        return None

    def began(self) -> Began | None:
        return None

    def depart(self, charge: Charge, at_ms: int) -> None:
        self.forget(at_ms)
        count = charge.of(self.limit.unit)
        self.level -= count
        self.flying += count

    def land(
        self,
        charge: Charge,
        kept: Charge,
        at_ms: int,
        *,
        is_certain: bool,  # noqa: ARG002 -- as the others are asked
    ) -> None:
        self.forget(at_ms)
        count = charge.of(self.limit.unit)
        self.flying -= count
        self.level += count - kept.of(self.limit.unit)

    def add(self, charge: Charge, at_ms: int) -> None:
        self.forget(at_ms)
        self.level -= charge.of(self.limit.unit)

"""All limits of one channel: whether a transaction may be made now, and if not, when.

A charge departs before its transaction, so that a crash never forgets it, and lands at the end of
it with what the provider has counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.policy.limits import (
    Charge,
    FirstSend,
    Lesson,
    Limit,
    Pass,
    Unit,
    Usage,
    Wait,
    Window,
    from_ms,
    to_ms,
    to_ms_up,
)
from relay.policy.windows import Count, make_count

HISTORY = timedelta(days=32)
"""How long charges are kept at least: limits that are added later count what was sent before."""

_MILLISECOND = timedelta(milliseconds=1)
_STEP = timedelta(seconds=2)  # back: the clock was set, and it is more than its usual trembling


@dataclass(frozen=True, slots=True)
class Flight:
    """A transaction that was begun, and has to have ended before `until`."""

    charge: Charge
    until: datetime


class Ledger:
    """The windows of one channel: state that changes only by its methods, and reads no clock."""

    __slots__ = ("_began", "_beginning", "_counts", "_flights", "_last_ms", "_lessons")

    def __init__(
        self,
        limits: Sequence[Limit],
        charges: Iterable[Charge],
        now: datetime,
        flights: Iterable[Flight] = (),
        lessons: Iterable[Lesson] = (),
        first_sends: Iterable[FirstSend] = (),
    ) -> None:
        """Count `charges` (ordered by time, up to `now`) and what is under way.

        `first_sends` is what an earlier ledger knew of windows that begin with one. A charge
        either has addresses and nothing else, or no addresses.
        """
        charges = tuple(charges)
        oldest = charges[0].at if charges else now
        self._began = {
            first.limit: (to_ms(first.earliest), to_ms(first.latest)) for first in first_sends
        }
        self._counts: tuple[Count, ...] = tuple(
            make_count(
                limit,
                is_full=not _is_level_unknown(limit, oldest, now),
                began=self._began.get(limit.name) if _begins_with_a_send(limit) else None,
            )
            for limit in limits
        )
        self._beginning = tuple(each for each in self._counts if _begins_with_a_send(each.limit))
        self._flights: dict[int, tuple[Charge, int]] = {}  # by time of departure
        self._lessons = {lesson.limit: lesson for lesson in lessons}
        self._last_ms = to_ms(now)
        for charge in charges:
            at_ms = min(to_ms_up(charge.at), self._last_ms)
            for count in self._counts:
                count.add(charge, at_ms)
        for flight in flights:
            self.depart(flight.charge, flight.until)
        self._advance(now)

    @property
    def wants_addresses(self) -> bool:
        """Return whether charges need digests of their recipients."""
        return any(count.limit.unit is Unit.DISTINCT_RECIPIENTS for count in self._counts)

    def is_behind(self, now: datetime) -> bool:
        """Return whether the clock was stepped back: fill another ledger from what was charged."""
        return to_ms(now + _STEP) < self._last_ms

    def admit(self, wish: Charge, now: datetime, *, is_essential: bool = False) -> Pass | Wait:
        """Return how many of a wish's recipients (>= 1) may go now, or when the first may."""
        if not self._counts:
            return Pass(wish.recipients)
        now_ms = self._advance(now)
        recipients = wish.recipients
        until, blocking = now_ms, None
        for count in self._counts:
            limit = count.limit
            least = wish.size_bytes if limit.unit is Unit.BYTES else 1
            usable = limit.usable(is_essential=is_essential, wanted=least)
            allowed = self._allowed(limit, usable, now_ms) if self._lessons else usable
            fit = count.fits(wish, allowed - count.used())
            if fit > 0:
                recipients = min(recipients, fit)
                continue
            free_at = max(self._when(count, now_ms, least, usable), now_ms + 1)
            if free_at > until:
                until, blocking = free_at, limit
        if blocking is not None:
            return Wait(from_ms(until), blocking)
        return Pass(recipients)

    def depart(self, charge: Charge, until: datetime) -> None:
        """Count a transaction that is about to be made and has ended before `until`."""
        if not self._counts:
            return
        at_ms = to_ms_up(charge.at)
        for count in self._counts:
            count.depart(charge, at_ms)
        if at_ms in self._flights:
            others, _ = self._flights[at_ms]
            charge = _sum(others, charge)
        self._flights[at_ms] = charge, to_ms(until)

    def land(
        self, charge: Charge, kept: Charge, ended_at: datetime, *, is_certain: bool = True
    ) -> None:
        """Count `kept` of a charge, all or a part of it, at the end of its transaction.

        It is certain that the provider counted it, or it may have. One that is not under way has
        been counted as a whole before.
        """
        departed_ms, at_ms = to_ms_up(charge.at), to_ms_up(ended_at)
        if departed_ms in self._flights:
            others, until_ms = self._flights[departed_ms]
            rest = _difference(others, charge)
            if rest.recipients:
                self._flights[departed_ms] = rest, until_ms
            else:
                del self._flights[departed_ms]
            for count in self._counts:
                count.land(charge, kept, at_ms, is_certain=is_certain)

    def new_first_sends(self) -> Iterator[FirstSend]:
        """Yield what has become known of windows since this was asked last."""
        for count in self._beginning:
            name, began = count.limit.name, count.began()
            if began is not None and began != self._began.get(name):
                self._began[name] = began
                yield FirstSend(name, from_ms(began[0]), from_ms(began[1]))

    def usage(self, now: datetime) -> tuple[Usage, ...]:
        """Return how each window stands."""
        now_ms = self._advance(now)
        rows = []
        for count in self._counts:
            at_ms = self._when(count, now_ms, 1, count.limit.maximum)
            room_at = from_ms(at_ms) if at_ms > now_ms else None
            lesson = self._lessons.get(count.limit.name)
            rows.append(Usage(count.limit, count.used(), room_at, lesson))
        return tuple(rows)

    def turn(self, ahead: Charge, essential: Charge | None, now: datetime) -> Wait | None:
        """Return when the one after `ahead` goes, and which limit decides it; None for now.

        `essential` is the part of `ahead` that may use the reserve, None if all of it may, and the
        one after it too.
        """
        now_ms = self._advance(now)
        at_ms, decides = now_ms, None
        for count in self._counts:
            limit = count.limit
            amount = ahead.of(limit.unit)
            if essential is not None:
                left = max(0, min(limit.reserve, limit.maximum - count.used()))
                amount -= min(essential.of(limit.unit), left)
            usable = limit.usable(is_essential=essential is None)
            goes_ms = self._when(count, now_ms, amount + 1, usable)
            if goes_ms > at_ms:
                at_ms, decides = goes_ms, limit
        return None if decides is None else Wait(from_ms(at_ms), decides)

    def learn(self, refused: Charge, window: timedelta | None, now: datetime) -> Lesson | None:
        """Note that the provider refuses more, as it said; None without limits.

        It means the limit of that window, else the longest that is not longer, else the longest;
        of several, the fullest. Until the provider begins anew, or for one window, no more is sent
        than it has counted.
        """
        now_ms = self._advance(now)
        if not self._counts:
            return None
        count = max(self._counts, key=lambda count: _suspicion(count, window))
        limit = count.limit
        counted = max(0, count.used() - (refused.of(limit.unit)))
        anew_ms = count.begins_anew(now_ms)
        until_ms = anew_ms or now_ms + limit.per // _MILLISECOND
        lesson = Lesson(limit.name, counted, now, from_ms(until_ms), is_reset=anew_ms is not None)
        self._lessons[limit.name] = lesson
        return lesson

    def _allowed(self, limit: Limit, usable: int, now_ms: int) -> int:
        """Return how much of `usable` is left by what was learned.

        What was refused at less than half of the limit was used up by others, and says little of
        what there will be.
        """
        lesson = self._lessons.get(limit.name)
        if lesson is None or to_ms(lesson.until) <= now_ms or lesson.counted * 2 < limit.maximum:
            return usable
        return min(usable, lesson.counted)

    def _when(self, count: Count, now_ms: int, wanted: int, usable: int) -> int:
        at_ms = count.when(now_ms, wanted, usable)
        allowed = self._allowed(count.limit, usable, now_ms)
        if allowed == usable:
            return at_ms
        until_ms = to_ms(self._lessons[count.limit.name].until)
        return max(at_ms, min(count.when(now_ms, wanted, allowed), until_ms))

    def _advance(self, now: datetime) -> int:
        """Forget what has left the windows; `now` never runs back."""
        now_ms = max(to_ms(now), self._last_ms)
        self._last_ms = now_ms
        if self._flights:
            self._land_lost(now_ms)
        for count in self._counts:
            count.forget(now_ms)
        return now_ms

    def _land_lost(self, now_ms: int) -> None:
        """Count what was never settled, and cannot be under way any more."""
        lost = [at_ms for at_ms, (_, until_ms) in self._flights.items() if until_ms <= now_ms]
        for at_ms in lost:
            charge, until_ms = self._flights.pop(at_ms)
            for count in self._counts:
                count.land(charge, charge, until_ms, is_certain=False)


def reach(limit: Limit) -> timedelta:
    """Return how far back charges count; a bucket's level comes from all that is kept."""
    if limit.window is Window.TOKEN_BUCKET:
        return max(HISTORY, 2 * _refilled_in(limit))
    return limit.per * 2 if limit.window is Window.CALENDAR else limit.per


def _begins_with_a_send(limit: Limit) -> bool:
    return limit.window is Window.RESET_ON_FIRST_SEND_AFTER


def _suspicion(count: Count, window: timedelta | None) -> tuple[bool, bool, timedelta, float]:
    """Return how much a limit is meant by a provider that speaks of a window."""
    limit = count.limit
    fits = window is None or limit.per <= window
    per = limit.per if fits else -limit.per
    return limit.per == window, fits, per, count.used() / limit.maximum


def _is_level_unknown(limit: Limit, oldest: datetime, now: datetime) -> bool:
    """Return whether a bucket may not have been full when what is known of it begins."""
    if limit.window is not Window.TOKEN_BUCKET:
        return False
    return oldest < now - reach(limit) + _refilled_in(limit)


def _refilled_in(limit: Limit) -> timedelta:
    return limit.per * (limit.maximum / limit.refill)


def _sum(one: Charge, other: Charge) -> Charge:
    return replace(
        one,
        messages=one.messages + other.messages,
        recipients=one.recipients + other.recipients,
        size_bytes=one.size_bytes + other.size_bytes,
        addresses=one.addresses + other.addresses,
    )


def _difference(one: Charge, other: Charge) -> Charge:
    left = list(one.addresses)
    for address in other.addresses:
        if address in left:
            left.remove(address)
    return replace(
        one,
        messages=one.messages - other.messages,
        recipients=one.recipients - other.recipients,
        size_bytes=one.size_bytes - other.size_bytes,
        addresses=tuple(left),
    )

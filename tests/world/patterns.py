"""Random weeks: what an account may send, who hands in what and when, and what goes wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

from world.provider import FAULTS
from world.words import PROVIDERS

from relay.policy.kinds import Kind
from relay.policy.limits import Limit, Unit, Window, reserve_of
from relay.providers.detect import Providers
from relay.providers.published import span_of, tiers_of

SPANS = (
    timedelta(seconds=1), timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=10),
    timedelta(hours=1), timedelta(hours=6), timedelta(days=1), timedelta(days=7),
)  # fmt: skip
_RESERVES = (Fraction(0), Fraction(1, 10), Fraction(1, 10), Fraction(1, 2))
_HOUR, _DAY = 3600.0, 86400.0
_ALL = Providers().all


def random_limits(chance: random.Random, smallest: int = 1) -> tuple[Limit, ...]:
    """Return one to four limits of any kind, perhaps with a reserve."""
    return tuple(_random_limit(chance, smallest) for _ in range(chance.randint(1, 4)))


def _random_limit(chance: random.Random, smallest: int) -> Limit:
    unit, per = chance.choice(list(Unit)), chance.choice(SPANS)
    window = chance.choice(list(Window))
    maximum = max(smallest, chance.choice((1, 2, 5, 20, 50, 100, 300)))
    if unit is Unit.DISTINCT_RECIPIENTS:
        window = Window.ROLLING
    if unit is Unit.BYTES:
        maximum = max(2, maximum) * 1000
    limit = Limit(unit, maximum, per, reserve=reserve_of(maximum, chance.choice(_RESERVES)))
    match window:
        case Window.CALENDAR:
            per = chance.choice((*SPANS[2:5], SPANS[6], SPANS[7]))
            zone = chance.choice(("Europe/Berlin", "UTC", "Asia/Kolkata"))
            return replace(limit, per=per, window=window, timezone=zone)
        case Window.TOKEN_BUCKET:
            refill = max(1, maximum // chance.choice((1, 3, 10)))
            return replace(limit, window=window, refill=refill)
        case _:
            return replace(limit, window=window)


@dataclass(frozen=True, slots=True)
class Account:
    """With whom it is, and what it may send."""

    provider: str  # id
    tier: str | None  # of what the provider publishes; None: nothing is chosen
    limits: tuple[Limit, ...]  # as the provider keeps them
    is_published: bool  # relay knows them from its own data, and keeps a tenth away


def random_account(chance: random.Random) -> Account:
    """Return an account of some provider, in a published tier or with limits of any kind."""
    name = chance.choice(PROVIDERS)
    tiers = tiers_of(_ALL[name])
    tier = chance.choice(tiers) if tiers else None
    limits = tuple(_published(chance, _ALL[name], tier))
    if limits and chance.random() < 0.5:
        return Account(name, tier, limits, is_published=True)
    return Account(name, None, random_limits(chance, 5), is_published=False)


def _published(
    chance: random.Random, provider: dict[str, Any], tier: str | None
) -> Iterator[Limit]:
    """Yield the limits of a tier, by the letter; kinds of window that nobody knows by chance."""
    rows = provider.get("limits", {}).get("rates", ())
    of_tier = {_kind(row) for row in rows if row.get("tier") == tier}
    for row in rows:
        in_tier = row.get("tier") == tier or ("tier" not in row and _kind(row) not in of_tier)
        if row.get("max") is None or not in_tier:
            continue
        unit = {
            "messages": Unit.MESSAGES, "transactions": Unit.MESSAGES, "recipients": Unit.RECIPIENTS,
            "external_messages": Unit.MESSAGES, "external_recipients": Unit.RECIPIENTS,
            "unique_recipients": Unit.DISTINCT_RECIPIENTS,
        }.get(row["what"])  # fmt: skip
        if unit is None:
            continue
        limit = Limit(unit, int(row["max"]), span_of(row["per"]))
        window = row["window"]
        if unit is Unit.DISTINCT_RECIPIENTS or window == "rolling":
            yield limit
        elif window == "unknown":
            yield replace(limit, window=chance.choice((Window.ROLLING, Window.CALENDAR)))
        else:
            yield replace(limit, window=Window(window), refill=limit.maximum)


def _kind(row: dict[str, Any]) -> tuple[str, str, str]:
    """Return what limits share that differ in their tier alone."""
    return row["what"], row["per"], row["scope"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that an application hands in."""

    kind: Kind
    application: str
    forward_paths: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Break:
    """Something goes wrong at a provider."""

    channel: str
    fault: str


@dataclass(frozen=True, slots=True)
class Mend:
    """Nothing is wrong there any more."""

    channel: str


@dataclass(frozen=True, slots=True)
class Restart:
    """The relay is stopped or killed, and begun again."""

    is_kill: bool
    down_seconds: float
    step_seconds: float  # by which the clock is set meanwhile: only back


@dataclass(frozen=True, slots=True)
class Step:
    """The clock on the wall is set while the relay runs."""

    seconds: float


Happening = Arrival | Break | Mend | Restart | Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """What happens in some hours or weeks."""

    seed: int
    account: Account
    seconds: float  # until nothing new happens
    happenings: tuple[tuple[float, Happening], ...]  # by time
    counts_at: str
    share: float  # of the limits that others leave
    trembling: float
    dot_seconds: tuple[float, float]
    connections: int
    is_native_reliable: bool
    only_direct: bool  # essential mail goes by native first

    @property
    def is_quick(self) -> bool:
        """Return whether it is limits and faults that mail waits for, not other mail."""
        return self.dot_seconds[1] <= 1

    @property
    def is_stepped(self) -> bool:
        """Return whether a clock is set while the relay runs."""
        return any(isinstance(each, Step) for _, each in self.happenings)


def random_pattern(seed: int, most: int = 400) -> Pattern:
    """Return what happens for a seed: up to so many recipients, and some more."""
    chance = random.Random(seed)
    account = random_account(chance)
    longest = max(limit.per.total_seconds() for limit in account.limits)
    seconds = min(max(longest * chance.uniform(1, 3), 2 * _HOUR), 21 * _DAY)
    native = chance.random() < 0.7
    can_step = all(limit.window is not Window.CALENDAR for limit in account.limits)
    if steps := can_step and seconds <= 2 * _DAY and chance.random() < 0.4:
        seconds = min(seconds, _DAY)
    happenings = [
        *_arrivals(chance, seconds, most),
        *_faults(chance, seconds, "direct"),
        *(() if native else _faults(chance, seconds, "native")),
        *_restarts(chance, seconds, can_step=can_step),
        *(_steps(chance, seconds) if steps else ()),
    ]
    return Pattern(
        seed=seed,
        account=account,
        seconds=seconds,
        happenings=tuple(sorted(happenings, key=lambda item: item[0])),
        counts_at=chance.choice(("dot", "rcpt")),
        share=chance.choice((1.0, 1.0, 0.8, 0.3)),
        trembling=chance.choice((0.0, 0.0, 0.01, 0.1)),
        dot_seconds=chance.choice(((0.01, 0.2), (0.01, 0.2), (0.5, 30.0))),
        connections=chance.choice((1, 3, 5)),
        is_native_reliable=native,
        only_direct=chance.random() < 0.2,
    )


def _arrivals(
    chance: random.Random, seconds: float, most: int
) -> Iterator[tuple[float, Happening]]:
    """Yield mail of three applications: evenly, in bursts, and newsletters to many."""
    written = 0
    while written < most:
        begins = chance.uniform(0, seconds)
        match chance.randrange(8):
            case 0:  # a newsletter, to all at once
                number = chance.choice((30, 200, 600))
                paths = tuple(f"reader{index}@example.net" for index in range(number))
                group = [Arrival(Kind.MARKETING, "blog", paths, _size(chance))]
            case 1 | 2:  # the bills of a day, or letters one by one to everybody
                kind = chance.choice((Kind.INVOICE, Kind.MARKETING, Kind.DIRECT))
                group = [_letter(chance, kind) for _ in range(chance.choice((10, 50)))]
            case _:
                kinds = (Kind.INVOICE, Kind.DIRECT, Kind.MARKETING)
                group = [_letter(chance, chance.choice(kinds)) for _ in range(4)]
        gap = chance.choice((0.0, 0.5, seconds / 50))
        for index, arrival in enumerate(group):
            yield min(begins + index * gap, seconds), arrival
            written += len(arrival.forward_paths)


def _letter(chance: random.Random, kind: Kind) -> Arrival:
    number = chance.choice((1, 1, 1, 1, 2, 5))
    who = chance.choices(("customer", "grey", "nobody"), (95, 3, 2))[0]
    paths = {f"{who}{chance.randrange(400)}@example.net" for _ in range(number)}
    application = chance.choice(("shop", "crm", "blog"))
    return Arrival(kind, application, tuple(sorted(paths)), _size(chance))


def _size(chance: random.Random) -> int:
    return chance.choice((0, 0, 500, 2000))


def _faults(
    chance: random.Random, seconds: float, channel: str
) -> Iterator[tuple[float, Happening]]:
    ends = 0.0
    for _ in range(chance.choice((0, 1, 3))):
        begins = ends + chance.uniform(0, seconds / 3)
        ends = begins + chance.choice((30, 600, 2 * _HOUR, _DAY))
        if ends < seconds:
            yield begins, Break(channel, chance.choice(FAULTS))
            yield ends, Mend(channel)


def _restarts(
    chance: random.Random, seconds: float, *, can_step: bool
) -> Iterator[tuple[float, Happening]]:
    for _ in range(chance.choice((0, 0, 2, 5))):
        back = chance.choice((0, 0, -_HOUR, -_DAY)) if can_step else 0
        down = chance.choice((0.0, 1.0, 60.0, _HOUR))
        yield chance.uniform(0, seconds), Restart(chance.random() < 0.6, down, back)


def _steps(chance: random.Random, seconds: float) -> Iterator[tuple[float, Happening]]:
    for _ in range(chance.choice((1, 3))):
        by = chance.choice((-3 * _DAY, -_HOUR, -40.0, 40.0, _HOUR, 3 * _DAY))
        yield chance.uniform(0, seconds), Step(by)

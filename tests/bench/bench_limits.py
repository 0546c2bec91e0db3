"""Measures the limits: `python -m tests.bench.bench_limits [--patterns N] [--weeks N]`.

What asking them costs, how much of them is used, whether any is ever exceeded and how long what
matters waits: in the queue alone, and in a whole relay that sends to providers for weeks.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from relay.policy.ledger import Ledger
from relay.policy.limits import Charge, Limit, Pass, Unit

sys.path.insert(0, str(Path(__file__).parents[1]))
from world import backlog, claims, story

_DAY = timedelta(days=1)
_BEGIN = datetime(2026, 11, 21, tzinfo=UTC)
_WINDOWS = (1, 5, 20)
_SENDS = 1_000_000


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--patterns", type=int, default=10_000)
    parser.add_argument("--used-patterns", type=int, default=500)
    parser.add_argument("--weeks", type=int, default=300)
    parser.add_argument("--used-weeks", type=int, default=60)
    parser.add_argument("--cost", action="store_true", help="say what asking costs, no more")
    asked = parser.parse_args()
    _cost()
    if asked.cost:
        return
    print("\nthe queue alone")
    _used([claims.utilisation(seed)[0] for seed in range(asked.used_patterns)])
    _over(asked.patterns)
    print("\na whole relay, sending by SMTP to providers of its own")
    _used([backlog.used(seed) for seed in range(asked.used_weeks)])
    _weeks(asked.weeks)


def _cost() -> None:
    """Print what one send costs, as a day of a million goes on."""
    print(f"microseconds for admit, depart and land, {_SENDS} sends inside a day")
    print("windows  first 10 %  last 10 %   full: asked in vain")
    for number in _WINDOWS:
        limits = [Limit(Unit.MESSAGES, 2 * _SENDS, _DAY / (1 + index)) for index in range(number)]
        costs = _day(Ledger(limits, (), _BEGIN))
        in_vain = _in_vain(limits)
        print(f"{number:7}  {costs[0]:10.2f}  {costs[-1]:9.2f}   {in_vain:.2f}")


def _day(ledger: Ledger) -> Sequence[float]:
    """Return the cost of a send in each tenth of the day."""
    costs, part = [], _SENDS // 10
    for tenth in range(10):
        charges = [
            Charge(_BEGIN + _DAY * ((tenth * part + index) / _SENDS), 1, 1) for index in range(part)
        ]
        began = time.process_time()
        for charge in charges:
            assert isinstance(ledger.admit(charge, charge.at), Pass)
            ledger.depart(charge, charge.at + _DAY)
            ledger.land(charge, charge, charge.at)
        costs.append((time.process_time() - began) / part * 1e6)
    return costs


def _in_vain(limits: Sequence[Limit]) -> float:
    """Return the cost of asking windows that are full."""
    full = [Limit(limit.unit, 1000, limit.per) for limit in limits]
    ledger = Ledger(
        full, [Charge(_BEGIN + _DAY / 24 * n / 1000, 1, 1) for n in range(1000)], _BEGIN
    )
    began, asked = time.process_time(), 10_000
    for index in range(asked):
        at = _BEGIN + timedelta(hours=1, microseconds=index)
        ledger.admit(Charge(at, 1, 1), at)
    return (time.process_time() - began) / asked * 1e6


def _used(shares: Sequence[float]) -> None:
    print(
        f"used of what exact books would, {len(shares)} patterns with backlog: "
        f"least {min(shares):.4f}, mean {sum(shares) / len(shares):.4f}"
    )


def _over(patterns: int) -> None:
    sends = over = measured = 0
    latest = timedelta()
    for seed in range(patterns):
        world = claims.run(seed)
        sends, over = sends + world.books.recipients, over + len(world.books.over)
        measured, latest = measured + world.measured, max(latest, world.latest)
    print(f"{patterns} patterns, {sends} recipients: {over} over a limit")
    print(
        f"{measured} essential recipients with another channel: "
        f"the longest waited {latest.total_seconds():.3f} s"
    )


def _weeks(patterns: int) -> None:
    """Print what came of the patterns, and which of them to look at."""
    began = time.monotonic()
    results = [story.run(seed) for seed in range(patterns)]
    spent = time.monotonic() - began
    days, broken = sum(one.days for one in results), sum(one.broken for one in results)
    print(f"{patterns} patterns, {days:.0f} days in {spent:.0f} s, {broken} faults and restarts")
    print(
        f"recipients: {sum(one.recipients for one in results)} handed in, "
        f"{sum(one.sent for one in results)} sent, {sum(one.waiting for one in results)} waiting; "
        f"{sum(one.refused for one in results)} refusals by quotas that others had used up"
    )
    print(
        f"over a limit {sum(len(one.over) for one in results)}, "
        f"lost {sum(len(one.lost) for one in results)}, "
        f"failed for no fault of their own {sum(len(one.failed) for one in results)}, "
        f"twice beyond the possible duplicates {sum(one.twice for one in results)}"
    )
    latest = max((one.latest for one in results), default=0.0)
    print(
        f"{sum(one.measured for one in results)} essential recipients with another channel: "
        f"the longest waited {latest:.1f} s, its own tries apart; "
        f"{sum(one.is_late for one in results)} patterns with one later than patience and a try"
    )
    wrong = [
        one.seed for one in results
        if one.over or one.lost or one.failed or one.twice or one.is_late
    ]  # fmt: skip
    if wrong:
        print(f"to look at: seeds {wrong}")


if __name__ == "__main__":
    main()

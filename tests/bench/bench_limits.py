"""Measures the limits: `python -m tests.bench.bench_limits [--patterns N]`.

Whether any is ever exceeded, how much of them is used, and what asking them costs.
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
import provider_world

_DAY = timedelta(days=1)
_BEGIN = datetime(2026, 11, 21, tzinfo=UTC)
_WINDOWS = (1, 5, 20)
_SENDS = 1_000_000


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--patterns", type=int, default=10_000)
    parser.add_argument("--used-patterns", type=int, default=500)
    asked = parser.parse_args()
    _cost()
    _used(asked.used_patterns)
    _over(asked.patterns)


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


def _used(patterns: int) -> None:
    shares = [provider_world.utilisation(seed)[0] for seed in range(patterns)]
    print(
        f"used of what exact books would, {patterns} patterns with backlog: "
        f"least {min(shares):.4f}, mean {sum(shares) / len(shares):.4f}"
    )


def _over(patterns: int) -> None:
    worlds = sends = over = 0
    for seed in range(patterns):
        provider = provider_world.run(seed).provider
        worlds, sends, over = worlds + 1, sends + provider.recipients, over + len(provider.over)
    print(f"{worlds} patterns, {sends} recipients: {over} over a limit")


if __name__ == "__main__":
    main()

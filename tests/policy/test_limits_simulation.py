"""Random limits and arrivals, restarts, kills, refusals, clocks that are set: never over a limit.

And what matters never waits longer than its patience while another channel is open. The fast part
of `python -m tests.bench.bench_limits`.
"""

from __future__ import annotations

import pytest
from world import claims

from relay.policy.route import PATIENCE


@pytest.mark.parametrize("tens", range(6))
def test_no_limit_is_ever_exceeded_and_what_matters_is_in_time(tens):
    for seed in range(tens * 10, tens * 10 + 10):
        world = claims.run(seed, most=150)
        assert world.books.over == []
        assert world.latest <= PATIENCE


@pytest.mark.parametrize("seed", range(1000, 1008))
def test_what_may_be_sent_is_sent(seed):
    share, world = claims.utilisation(seed, most=100)
    assert share >= 0.99
    assert world.books.over == []

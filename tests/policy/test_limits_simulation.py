"""Random limits and arrivals, restarts, kills, refusals, clocks that are set: never over a limit.

The fast part of `python -m tests.bench.bench_limits`.
"""

from __future__ import annotations

import provider_world
import pytest


@pytest.mark.parametrize("tens", range(6))
def test_no_limit_is_ever_exceeded(tens):
    for seed in range(tens * 10, tens * 10 + 10):
        assert provider_world.run(seed, most=150).provider.over == []


def test_a_refusal_of_one_copy_does_not_forget_another_to_the_same_address():
    assert provider_world.run(102).provider.over == []


@pytest.mark.parametrize("seed", range(1000, 1008))
def test_what_may_be_sent_is_sent(seed):
    share, world = provider_world.utilisation(seed, most=100)
    assert share >= 0.99
    assert world.provider.over == []

"""Weeks with providers that count for themselves, in seconds: see tests/world.

The fast part of `python -m tests.bench.bench_limits`.
"""

from __future__ import annotations

import pytest
from world import backlog, story

SEEDS = (6, 13, 14, 31, 45, 55, 82, 102)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_over_a_limit_nothing_is_lost_and_what_matters_is_in_time(seed):
    result = story.run(seed)
    assert (result.over, result.lost, result.failed, result.twice) == ([], [], [], 0)
    assert not result.is_late
    assert result.sent


def test_a_seed_takes_the_same_course_twice():
    assert story.run(31) == story.run(31)


@pytest.mark.parametrize("seed", [2, 4, 7, 15, 25])
def test_what_may_be_sent_is_sent(seed):
    assert backlog.used(seed) >= 0.99

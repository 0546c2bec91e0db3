"""A channel pauses for its own faults, longer each time, and as long as it is told to."""

from __future__ import annotations

from datetime import timedelta

import pytest
from making import HOUR, MINUTE, NOON, SECOND, judgement

from relay.policy.health import Open, Paused, Stopped, after_fault
from relay.policy.judgement import Retry, Scope

STOPPED = Stopped(by="a person", since=NOON)


def waits(retry: Retry, count: int, **more: timedelta) -> list[timedelta]:
    """Return how long each of `count` failures in a row pauses the channel."""
    health, found = Open(), []
    for _ in range(count):
        health = after_fault(health, judgement(retry, Scope.ACCOUNT, **more), "no", NOON)
        found.append(health.until - NOON)
    return found


@pytest.mark.parametrize(
    ("retry", "more", "expected"),
    [
        (Retry.BACKOFF, {}, [5 * SECOND, 15 * SECOND, 30 * SECOND, MINUTE, 5 * MINUTE]),
        (Retry.BACKOFF, {"retry_after": MINUTE}, [MINUTE, MINUTE, MINUTE, MINUTE, 5 * MINUTE]),
        (Retry.FIX_FIRST, {}, [5 * MINUTE, 15 * MINUTE, HOUR, HOUR, HOUR]),
        (Retry.WAIT_WINDOW, {}, [HOUR] * 5),
        (Retry.WAIT_WINDOW, {"window": MINUTE}, [MINUTE] * 5),
        (Retry.WAIT_WINDOW, {"window": 24 * HOUR}, [HOUR] * 5),
        (Retry.WAIT_WINDOW, {"retry_after": 92 * SECOND}, [92 * SECOND] * 5),
    ],
)
def test_pauses_longer_each_time(retry, more, expected):
    assert waits(retry, 5, **more) == expected


@pytest.mark.parametrize(
    ("retry_after", "expected"), [(None, NOON + 9 * HOUR), (MINUTE, NOON + MINUTE)]
)
def test_a_quota_pauses_until_it_is_reset_unless_the_reply_says_when(retry_after, expected):
    quota = judgement(Retry.WAIT_WINDOW, Scope.ACCOUNT, retry_after=retry_after)
    assert after_fault(Open(), quota, "no", NOON, NOON + 9 * HOUR).until == expected


def test_remembers_since_when_and_how_often():
    first = after_fault(Open(), judgement(Retry.FIX_FIRST, Scope.ACCOUNT), "535 no", NOON)
    second = after_fault(first, judgement(Retry.FIX_FIRST, Scope.ACCOUNT), "535 no", NOON + HOUR)
    assert isinstance(second, Paused)
    assert (second.since, second.failures, second.reply) == (NOON, 2, "535 no")


def test_what_a_person_stopped_stays_stopped():
    assert after_fault(STOPPED, judgement(), "no", NOON) == STOPPED

"""When it is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relay.policy.retry import Schedule, next_attempt_at

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SCHEDULE = Schedule(
    waits=(MINUTE, 5 * MINUTE),
    give_up_after=60 * MINUTE,
    in_doubt_wait=30 * MINUTE,
    delay_notice_after=None,
)


@pytest.mark.parametrize(
    ("attempts", "elapsed", "expected"),
    [
        pytest.param(1, 0, 1, id="the first wait"),
        pytest.param(2, 1, 6, id="the second wait"),
        pytest.param(3, 6, 11, id="the last one repeats"),
        pytest.param(1000, 54, 59, id="and repeats"),
        pytest.param(12, 55, None, id="it would be due at the end: given up"),
        pytest.param(2, 59, None, id="or after it"),
        pytest.param(1, 59, 60, id="it was not tried as often as there are waits"),
    ],
)
def test_waits_grow_until_the_relay_gives_up(
    attempts: int, elapsed: int, expected: int | None
) -> None:
    due = next_attempt_at(SCHEDULE, attempts, NOON, NOON + elapsed * MINUTE)
    assert due == (None if expected is None else NOON + expected * MINUTE)

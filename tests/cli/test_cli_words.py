"""Times, sizes and numbers in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relay.cli.words import clock, count, due, percent, size, span, when

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.4, "a moment"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (90, "1 minute 30 seconds"),
        (179, "2 minutes 59 seconds"),
        (725, "12 minutes"),
        (3600, "1 hour"),
        (5400, "1 hour 30 minutes"),
        (7 * 3600 + 59 * 60, "7 hours"),
        (26 * 3600, "1 day 2 hours"),
        (400 * 86400, "400 days"),
    ],
)
def test_a_span_is_said_in_its_largest_units(seconds: float, expected: str) -> None:
    assert span(timedelta(seconds=seconds)) == expected


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(0, "now"), (12, "in 12 minutes"), (-12, "12 minutes ago")],
)
def test_a_moment_is_said_from_now(minutes: int, expected: str) -> None:
    assert when(NOON + timedelta(minutes=minutes), NOON) == expected


def test_a_clock_shows_the_date_of_another_day() -> None:
    assert clock(NOON, NOON) == NOON.astimezone().strftime("%H:%M")
    assert clock(NOON + timedelta(days=2), NOON) == (
        NOON + timedelta(days=2)
    ).astimezone().strftime("%Y-%m-%d %H:%M")


def test_what_is_late_comes_now() -> None:
    assert due(NOON - timedelta(hours=1), NOON) == "now"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (2048, "2.0 KiB"),
        (300_000, "293 KiB"),
        (50 << 20, "50 MiB"),
        (3 << 30, "3.0 GiB"),
    ],
)
def test_a_size_is_rounded(number: int, expected: str) -> None:
    assert size(number) == expected


@pytest.mark.parametrize(
    ("share", "expected"), [(0, "0%"), (0.455, "46%"), (0.994, "99%"), (0.999, "99%"), (1, "100%")]
)
def test_only_what_is_certain_is_so_by_a_hundred_percent(share: float, expected: str) -> None:
    assert percent(share) == expected


def test_one_is_not_many() -> None:
    assert (count(1, "message"), count(0, "message")) == ("1 message", "0 messages")

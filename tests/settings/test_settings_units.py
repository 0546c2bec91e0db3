"""Durations and sizes as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.settings.units import (
    LARGEST,
    LONGEST,
    format_duration,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("0s", timedelta()),
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("24h", timedelta(days=1)),
        ("5d", timedelta(days=5)),
        ("007d", timedelta(days=7)),
        ("3650d", LONGEST),
    ],
)
def test_a_duration_has_a_number_and_a_unit(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "5 m",
        "5M",
        "1.5h",
        "-5m",
        "5min",
        "1h30m",
        "٥m",
        "5m\n",
        "3651d",
        "9" * 40 + "d",
    ],
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (timedelta(), "0s"),
        (timedelta(milliseconds=1500), "1500ms"),
        (timedelta(seconds=90), "90s"),
        (timedelta(minutes=60), "1h"),
        (timedelta(hours=36), "36h"),
        (timedelta(hours=48), "2d"),
    ],
)
def test_a_duration_is_written_in_its_largest_unit(span: timedelta, expected: str) -> None:
    assert format_duration(span) == expected


@given(st.integers(0, LONGEST // timedelta(milliseconds=1)))
def test_what_is_written_can_be_read(milliseconds: int) -> None:
    span = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(span)) == span


@given(st.integers(0, 87_600), st.sampled_from(["ms", "s", "m", "h"]))
def test_what_is_read_means_the_same_when_written(number: int, unit: str) -> None:
    span = parse_duration(f"{number}{unit}")
    assert parse_duration(format_duration(span)) == span


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0B", 0),
        ("1023B", 1023),
        ("64KiB", 65536),
        ("64kiB", 65536),
        ("50MiB", 52_428_800),
        ("50 MiB", 52_428_800),
        ("1GiB", 1024**3),
        ("10kB", 10_000),
        ("10KB", 10_000),
        ("10MB", 10_000_000),
        ("2GB", 2_000_000_000),
        ("1024GiB", LARGEST),
    ],
)
def test_a_size_has_a_number_and_a_unit(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    "text", ["", "50", "50M", "50mib", "1.5MB", "-1B", "MiB", "50MiB\n", "1025GiB", "١B", "5b"]
)
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)

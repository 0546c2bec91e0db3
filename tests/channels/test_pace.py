"""Turns for opening connections."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.channels.pace import Pace, Paces


def test_the_next_turn_is_when_the_first_has_left_the_span():
    pace = Pace(2, 60)
    assert [pace.take(100), pace.take(110), pace.take(120), pace.take(121)] == [100, 110, 160, 170]


def test_a_connection_that_took_long_is_dated_at_its_end():
    pace = Pace(1, 60)
    pace.opened(pace.take(100), 105)
    assert pace.take(106) == 165


@given(st.integers(1, 5), st.lists(st.floats(0, 30), max_size=40))
def test_no_span_holds_more_than_the_maximum(maximum, waits):
    pace, now, turns = Pace(maximum, 60), 0.0, []
    for wait in waits:
        now += wait
        turns.append(pace.take(now))
        assert turns[-1] >= now
        assert sum(turn > turns[-1] - 60 + 1e-6 for turn in turns) <= maximum  # of a float


def turns(pace: Pace | None, now: float, number: int) -> list[float]:
    assert pace is not None
    return [pace.take(now) for _ in range(number)]


def test_after_a_start_all_turns_count_as_taken_when_the_last_run_ended():
    assert turns(Paces(used_until=90).of("direct", (2, 60), 100), 100, 3) == [150, 150, 210]
    assert turns(Paces(used_until=40).of("direct", (2, 60), 100), 100, 2) == [100, 100]


def test_a_pace_goes_on_when_the_settings_change_elsewhere():
    paces = Paces(used_until=0)
    pace = paces.of("direct", (2, 60), 100)
    assert turns(pace, 100, 1) == [100]
    assert paces.of("direct", (2, 60), 110) is pace
    assert paces.of("native", (2, 60), 110) is not pace


def test_what_was_done_at_another_pace_or_none_counts_as_all_of_it():
    paces = Paces(used_until=0)
    paces.of("direct", (2, 60), 100)
    assert turns(paces.of("direct", (3, 60), 110), 110, 1) == [170]
    assert paces.of("direct", None, 120) is None
    assert turns(paces.of("direct", (2, 60), 130), 130, 1) == [190]

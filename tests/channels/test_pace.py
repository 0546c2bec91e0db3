"""Turns for opening connections."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.channels.pace import Pace


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

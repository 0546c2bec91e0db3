"""Which channels mail should avoid, by what it is."""

from __future__ import annotations

import pytest
from making import DAY, MINUTE, NOON, SECOND

from relay.delivery.board import Board, Throttle
from relay.policy.health import Open, Stopped
from relay.policy.limits import Limit, Unit

LIMIT = Limit(Unit.RECIPIENTS, 500, DAY, reserve=50)
LATER = NOON + 5 * MINUTE


@pytest.mark.parametrize(
    ("throttle", "essential", "ordinary"),
    [
        pytest.param(None, {}, {}, id="open"),
        pytest.param(Throttle(LIMIT, NOON + SECOND), {}, {}, id="within patience"),
        pytest.param(Throttle(LIMIT, LATER), {"direct": LATER}, {"direct": LATER}, id="used up"),
        pytest.param(Throttle(LIMIT, LATER, True), {}, {"direct": LATER}, id="but for the reserve"),
    ],
)
def test_a_throttled_channel_is_closed_to_those_it_has_no_room_for(throttle, essential, ordinary):
    board = Board({"direct": Open()})
    board.throttle("direct", throttle)
    assert board.closed(NOON, is_essential=True) == essential
    assert board.closed(NOON, is_essential=False) == ordinary


def test_a_stopped_channel_is_closed_to_all():
    board = Board({"direct": Stopped(by="a person", since=NOON)})
    assert list(board.closed(NOON, is_essential=True)) == ["direct"]

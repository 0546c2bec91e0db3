"""Windows: never more than the maximum in any span, and room again as soon as there is."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import DAY, HOUR, MINUTE, NOON, SECOND

from relay.policy.ledger import Ledger
from relay.policy.limits import Charge, Limit, Pass, Unit, Wait

HOURLY = Limit(Unit.MESSAGES, 3, HOUR)
RECIPIENTS = Limit(Unit.RECIPIENTS, 10, DAY)
ONE = Charge(NOON, 1, 1)
NOTHING = Charge(NOON, 0, 0)


def ledger(*charges: tuple[timedelta, int, int], limits: tuple[Limit, ...] = (HOURLY,)) -> Ledger:
    return Ledger(limits, [Charge(NOON + at, m, r) for at, m, r in charges], NOON)


@pytest.mark.parametrize(
    ("charges", "limits", "wanted", "expected"),
    [
        pytest.param([], (HOURLY,), 5, Pass(5), id="empty"),
        pytest.param([(-MINUTE, 2, 2)], (HOURLY,), 5, Pass(5), id="room for one transaction"),
        pytest.param(
            [(-MINUTE, 3, 3)], (HOURLY,), 1, Wait(NOON + HOUR - MINUTE, HOURLY), id="full"
        ),
        pytest.param(
            [(-HOUR + SECOND, 1, 1), (-MINUTE, 2, 2)],
            (HOURLY,),
            1,
            Wait(NOON + SECOND, HOURLY),
            id="the oldest leaves first",
        ),
        pytest.param([(-HOUR, 3, 3)], (HOURLY,), 1, Pass(1), id="exactly one window ago is out"),
        pytest.param([(-MINUTE, 1, 7)], (RECIPIENTS,), 5, Pass(3), id="part of the recipients"),
        pytest.param(
            [(-MINUTE, 1, 10)],
            (RECIPIENTS,),
            5,
            Wait(NOON + DAY - MINUTE, RECIPIENTS),
            id="no recipient left",
        ),
        pytest.param(
            [(-MINUTE, 3, 10)],
            (HOURLY, RECIPIENTS),
            1,
            Wait(NOON + DAY - MINUTE, RECIPIENTS),
            id="the longest wait counts",
        ),
        pytest.param([], (), 1000, Pass(1000), id="no limits"),
    ],
)
def test_admits_what_fits(charges, limits, wanted, expected):
    assert ledger(*charges, limits=limits).admit(Charge(NOON, 1, wanted), NOON) == expected


def test_a_refund_makes_room_at_once():
    book = ledger((-MINUTE, 2, 2))
    book.depart(ONE, NOON + HOUR)
    assert isinstance(book.admit(ONE, NOON), Wait)
    book.land(ONE, NOTHING, NOON)
    assert book.admit(ONE, NOON) == Pass(1)


def test_a_clock_that_is_stepped_back_neither_opens_nor_locks_the_window():
    book = ledger((timedelta(), 3, 3))
    assert isinstance(book.admit(ONE, NOON - DAY), Wait)
    after_restart = Ledger((HOURLY,), [Charge(NOON + DAY, 3, 3)], NOON)
    answer = after_restart.admit(ONE, NOON)
    assert answer == Wait(NOON + HOUR, HOURLY)


def test_usage_says_when_there_is_room():
    (usage,) = ledger((-MINUTE, 3, 3)).usage(NOON)
    assert (usage.used, usage.room_at) == (3, NOON + HOUR - MINUTE)
    (usage,) = ledger((-MINUTE, 2, 2)).usage(NOON)
    assert (usage.used, usage.room_at) == (2, None)


@pytest.mark.parametrize(
    ("limit", "name"),
    [
        (Limit(Unit.RECIPIENTS, 500, DAY), "500 recipients per 24h"),
        (Limit(Unit.MESSAGES, 1, SECOND), "1 message per 1s"),
        (Limit(Unit.MESSAGES, 30, MINUTE), "30 messages per 1m"),
        (Limit(Unit.MESSAGES, 9, 30 * DAY), "9 messages per 30d"),
        (Limit(Unit.MESSAGES, 9, timedelta(milliseconds=250)), "9 messages per 250ms"),
    ],
)
def test_a_limit_has_a_name_as_in_the_settings(limit, name):
    assert limit.name == name


@given(st.integers(0, 2**32), st.sampled_from([SECOND, MINUTE, HOUR, DAY]), st.integers(1, 40))
def test_no_span_ever_holds_more_than_the_maximum_and_backlog_uses_it(seed, per, maximum):
    """Greedy sending with a backlog: the exact log of sends is the judge, not the ledger."""
    chance = random.Random(seed)
    limit = Limit(Unit.MESSAGES, maximum, per)
    book, now, log = Ledger((limit,), (), NOON), NOON, []
    while len(log) < 200:
        answer = book.admit(ONE, now)
        if isinstance(answer, Wait):
            assert answer.until > now
            now = answer.until if chance.random() < 0.9 else now + per / 7
            continue
        charge = Charge(now, 1, 1)
        book.depart(charge, now + HOUR)
        book.land(charge, charge, now)
        log.append(now)
        assert sum(at > now - per for at in log) <= maximum
        now += timedelta(milliseconds=chance.randrange(1 + per // timedelta(milliseconds=1) // 20))
    spent = (log[-1] - log[0]) / per
    if maximum >= 1 and spent > 3:
        assert len(log) >= 0.9 * maximum * (spent - 1) * 0.5

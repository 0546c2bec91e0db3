"""Each kind of window: what it counts, and when that no longer counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from making import DAY, HOUR, MINUTE, NOON, SECOND

from relay.policy.ledger import Flight, Ledger, reach
from relay.policy.limits import Charge, Limit, Pass, Unit, Wait, Window, from_ms, reserve_of, to_ms
from relay.policy.periods import divides_the_calendar, period

BERLIN = "Europe/Berlin"
MONTH = timedelta(days=31)


def calendar(per: timedelta, *, maximum: int = 3, is_month: bool = False) -> Limit:
    return Limit(
        Unit.MESSAGES, maximum, per, window=Window.CALENDAR, timezone=BERLIN, is_month=is_month
    )


def bucket(maximum: int, refill: int, per: timedelta) -> Limit:
    return Limit(Unit.RECIPIENTS, maximum, per, window=Window.TOKEN_BUCKET, refill=refill)


def send(
    book: Ledger, at: datetime, recipients: int = 1, *addresses: int, size_bytes: int = 100
) -> None:
    """Send at once, whether there is room or not."""
    charge = Charge(at, 1, len(addresses) or recipients, size_bytes, addresses)
    book.depart(charge, at + HOUR)
    book.land(charge, charge, at)


def until(book: Ledger, at: datetime, *, wish: Charge | None = None, **more: bool) -> datetime:
    """Return when the next one may go."""
    answer = book.admit(wish or Charge(at, 1, 1), at, **more)
    return answer.until if isinstance(answer, Wait) else at


@pytest.mark.parametrize(
    ("per", "at", "begin", "end"),
    [
        pytest.param(DAY, "2026-11-21T23:30Z", "2026-11-21T23:00Z", "2026-11-22T23:00Z", id="day"),
        pytest.param(DAY, "2026-03-29T12:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z", id="23 h"),
        pytest.param(DAY, "2026-10-25T12:00Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z", id="25 h"),
        pytest.param(
            HOUR, "2026-11-21T12:59Z", "2026-11-21T12:00Z", "2026-11-21T13:00Z", id="hour"
        ),
        pytest.param(
            HOUR, "2026-10-25T00:30Z", "2026-10-25T00:00Z", "2026-10-25T02:00Z", id="comes twice"
        ),
        pytest.param(
            HOUR, "2026-10-25T01:30Z", "2026-10-25T00:00Z", "2026-10-25T02:00Z", id="again"
        ),
        pytest.param(
            HOUR, "2026-03-29T00:30Z", "2026-03-29T00:00Z", "2026-03-29T01:00Z", id="before a gap"
        ),
        pytest.param(
            HOUR, "2026-03-29T01:10Z", "2026-03-29T01:00Z", "2026-03-29T02:00Z", id="after a gap"
        ),
        pytest.param(
            7 * DAY, "2026-11-21T12:00Z", "2026-11-15T23:00Z", "2026-11-22T23:00Z", id="from Monday"
        ),
        pytest.param(
            MONTH, "2026-02-28T22:59Z", "2026-01-31T23:00Z", "2026-02-28T23:00Z", id="month"
        ),
        pytest.param(
            MONTH, "2026-12-31T22:59Z", "2026-11-30T23:00Z", "2026-12-31T23:00Z", id="last month"
        ),
    ],
)
def test_a_calendar_period_is_that_of_the_clock_there(per, at, begin, end):
    limit = calendar(per, is_month=per == MONTH)
    found = period(limit, to_ms(datetime.fromisoformat(at)))
    assert [from_ms(ms).astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ") for ms in found] == [begin, end]


@pytest.mark.parametrize(
    ("per", "expected"),
    [(HOUR, True), (7 * HOUR, False), (DAY, True), (36 * HOUR, False), (7 * DAY, True)],
)
def test_periods_begin_at_the_same_time_each_day(per, expected):
    assert divides_the_calendar(per) == expected


def test_a_calendar_day_begins_anew_at_midnight_and_half_a_minute():
    book = Ledger([calendar(DAY)], (), NOON)
    for minutes in range(3):
        send(book, NOON + minutes * MINUTE)
    midnight = datetime(2026, 11, 21, 23, 0, tzinfo=UTC)
    assert until(book, NOON + HOUR) == midnight + 30 * SECOND
    assert until(book, midnight + 29 * SECOND) == midnight + 30 * SECOND
    assert book.admit(Charge(NOON, 1, 1), midnight + 30 * SECOND) == Pass(1)


def test_what_went_just_before_midnight_counts_for_both_days():
    """The provider's clock may be ahead of ours."""
    midnight = datetime(2026, 11, 21, 23, 0, tzinfo=UTC)
    book = Ledger([calendar(DAY, maximum=1)], (), midnight - HOUR)
    send(book, midnight - SECOND)
    assert until(book, midnight + MINUTE) == midnight + DAY + 30 * SECOND


def test_a_bucket_gives_back_evenly_up_to_its_maximum():
    book = Ledger([bucket(50, 1, 30 * MINUTE)], (), NOON)
    assert book.admit(Charge(NOON, 1, 60), NOON) == Pass(50)
    send(book, NOON, 50)
    assert abs(until(book, NOON) - (NOON + 30 * MINUTE)) <= timedelta(milliseconds=2)
    assert book.admit(Charge(NOON, 1, 60), NOON + 95 * MINUTE) == Pass(3)
    assert book.admit(Charge(NOON, 1, 60), NOON + 3 * DAY) == Pass(50)


def test_what_is_being_sent_keeps_its_place_in_a_bucket():
    book = Ledger([bucket(10, 1, MINUTE)], (), NOON)
    charge = Charge(NOON, 1, 10)
    book.depart(charge, NOON + 2 * HOUR)
    assert isinstance(book.admit(Charge(NOON, 1, 1), NOON + HOUR), Wait)
    book.land(charge, charge, NOON + HOUR)
    assert book.admit(Charge(NOON, 1, 10), NOON + HOUR + 3 * MINUTE) == Pass(3)


def test_a_bucket_that_was_never_idle_is_not_taken_for_full_after_a_restart():
    limit = bucket(50, 1, 30 * MINUTE)
    busy = [Charge(NOON - reach(limit) + n * 30 * MINUTE, 1, 1) for n in range(1, 32 * 48)]
    assert isinstance(Ledger([limit], busy, NOON).admit(Charge(NOON, 1, 3), NOON), Pass | Wait)
    assert Ledger([limit], busy, NOON).usage(NOON)[0].used >= 49
    assert Ledger([limit], busy[-10:], NOON).usage(NOON)[0].used <= 1


def test_a_window_from_the_first_send_begins_anew_with_the_first_send_after_it():
    limit = Limit(Unit.MESSAGES, 3, HOUR, window=Window.RESET_ON_FIRST_SEND_AFTER)
    book = Ledger([limit], (), NOON)
    for minutes in (0, 50, 59):
        send(book, NOON + minutes * MINUTE)
    reset = NOON + HOUR + timedelta(milliseconds=3600)
    assert until(book, NOON + 59 * MINUTE) == reset
    for minutes in (90, 91, 92):
        assert book.admit(Charge(NOON, 1, 1), NOON + minutes * MINUTE) == Pass(1)
        send(book, NOON + minutes * MINUTE)
    assert until(book, NOON + 93 * MINUTE) == NOON + 150 * MINUTE + timedelta(milliseconds=3600)


def test_a_window_whose_first_send_is_not_known_is_kept_as_a_rolling_one():
    limit = Limit(Unit.MESSAGES, 2, HOUR, window=Window.RESET_ON_FIRST_SEND_AFTER)
    charges = [Charge(NOON - 50 * MINUTE, 1, 1), Charge(NOON - 10 * MINUTE, 1, 1)]
    book = Ledger([limit], charges, NOON)
    assert until(book, NOON) == NOON + 10 * MINUTE
    send(book, NOON + 10 * MINUTE)
    assert until(book, NOON + 11 * MINUTE) == NOON + 50 * MINUTE


def test_a_window_does_not_begin_with_a_send_that_perhaps_was_not_counted():
    """In doubt, or cut off: the provider's own may begin with the next one."""
    limit = Limit(Unit.MESSAGES, 2, HOUR, window=Window.RESET_ON_FIRST_SEND_AFTER)
    book = Ledger([limit], (), NOON)
    doubtful = Charge(NOON, 1, 1)
    book.depart(doubtful, NOON + HOUR)
    book.land(doubtful, doubtful, NOON, is_certain=False)
    send(book, NOON + 50 * MINUTE)
    assert until(book, NOON + 51 * MINUTE) == NOON + 110 * MINUTE + timedelta(milliseconds=3600)


def test_a_limit_that_was_lowered_has_room_when_enough_has_left():
    charges = [Charge(NOON - (10 - n) * HOUR, 1, 10) for n in range(10)]
    book = Ledger([Limit(Unit.RECIPIENTS, 20, DAY)], charges, NOON)
    assert until(book, NOON) == NOON + DAY - 2 * HOUR


def test_where_more_addresses_may_count_than_the_maximum_even_a_known_one_waits():
    limit = Limit(Unit.DISTINCT_RECIPIENTS, 1, DAY)
    known = [Charge(NOON, 0, 0, addresses=(who,)) for who in (1, 2)]
    book = Ledger([limit], known, NOON)
    assert until(book, NOON, wish=Charge(NOON, 1, 1, addresses=(1,))) == NOON + DAY


def test_distinct_recipients_count_once_as_of_their_last_mail():
    limit = Limit(Unit.DISTINCT_RECIPIENTS, 2, DAY)
    book = Ledger([limit], (), NOON)
    send(book, NOON, 0, 1)
    send(book, NOON + HOUR, 0, 2)
    at = NOON + 2 * HOUR
    assert book.admit(Charge(at, 1, 2, addresses=(1, 2)), at) == Pass(2)
    assert book.admit(Charge(at, 1, 3, addresses=(2, 1, 3)), at) == Pass(2)
    assert until(book, at, wish=Charge(at, 1, 1, addresses=(3,))) == NOON + DAY
    send(book, at, 0, 1)
    assert until(book, at, wish=Charge(at, 1, 1, addresses=(3,))) == NOON + HOUR + DAY
    assert book.usage(at)[0].used == 2


def test_bytes_are_those_of_each_transaction():
    book = Ledger([Limit(Unit.BYTES, 10_000, DAY)], (), NOON)
    send(book, NOON, size_bytes=7000)
    assert book.admit(Charge(NOON, 1, 5, 3000), NOON) == Pass(5)
    assert until(book, NOON, wish=Charge(NOON, 1, 5, 3001)) == NOON + DAY


@pytest.mark.parametrize(
    ("maximum", "share", "expected"),
    [(500, 10, 50), (9, 10, 0), (10, 10, 1), (1, 90, 0), (2, 90, 1), (500, 0, 0)],
)
def test_a_reserve_is_rounded_down(maximum, share, expected):
    assert reserve_of(maximum, Fraction(share, 100)) == expected


def test_the_reserve_is_for_what_matters():
    book = Ledger([Limit(Unit.RECIPIENTS, 10, DAY, reserve=2)], (), NOON)
    assert book.admit(Charge(NOON, 1, 10), NOON) == Pass(8)
    assert book.admit(Charge(NOON, 1, 10), NOON, is_essential=True) == Pass(10)
    send(book, NOON, 8)
    assert until(book, NOON) == NOON + DAY
    assert book.admit(Charge(NOON, 1, 10), NOON, is_essential=True) == Pass(2)


def test_a_message_larger_than_what_the_reserve_leaves_is_not_kept_for_ever():
    book = Ledger([Limit(Unit.BYTES, 10_000, DAY, reserve=1000)], (), NOON)
    assert book.admit(Charge(NOON, 1, 1, 9500), NOON) == Pass(1)


def test_what_is_being_sent_counts_until_it_is_settled_and_from_its_end():
    book = Ledger([Limit(Unit.MESSAGES, 1, SECOND)], (), NOON)
    charge = Charge(NOON, 1, 1)
    book.depart(charge, NOON + HOUR)
    assert isinstance(book.admit(charge, NOON + 5 * SECOND), Wait)
    book.land(charge, charge, NOON + 5 * SECOND)
    assert until(book, NOON + 5 * SECOND) == NOON + 6 * SECOND


def test_what_is_never_settled_is_dated_at_the_end_of_its_lease():
    book = Ledger(
        [Limit(Unit.MESSAGES, 1, MINUTE)], (), NOON, [Flight(Charge(NOON, 1, 1), NOON + HOUR)]
    )
    assert isinstance(book.admit(Charge(NOON, 1, 1), NOON + HOUR + SECOND), Wait)
    assert book.admit(Charge(NOON, 1, 1), NOON + HOUR + MINUTE) == Pass(1)


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        pytest.param(0, None, id="room now"),
        pytest.param(2, NOON + HOUR - 30 * MINUTE, id="when the first has left"),
        pytest.param(4, NOON + HOUR, id="in its turn"),
        pytest.param(5, NOON + HOUR, id="the last of this window"),
        pytest.param(7, NOON + 2 * HOUR - 30 * MINUTE, id="a window later"),
    ],
)
def test_a_turn_is_known_from_what_is_ahead(ahead, expected):
    book = Ledger([Limit(Unit.MESSAGES, 4, HOUR)], [Charge(NOON - 30 * MINUTE, 2, 2)], NOON)
    turn = book.turn(Charge(NOON, ahead, ahead), None, NOON)
    assert (None if turn is None else turn.until) == expected


HOURLY, DAILY = Limit(Unit.MESSAGES, 10, HOUR), Limit(Unit.MESSAGES, 100, DAY)


@pytest.mark.parametrize(
    ("window", "named"),
    [
        pytest.param(HOUR, HOURLY, id="as it says"),
        pytest.param(6 * HOUR, HOURLY, id="the longest that fits"),
        pytest.param(MINUTE, HOURLY, id="the shortest, when all are longer"),
        pytest.param(None, DAILY, id="the longest, when it says nothing"),
    ],
)
def test_an_over_quota_reply_means_the_limit_that_it_names(window, named):
    lesson = Ledger([HOURLY, DAILY], (), NOON).learn(Charge(NOON, 1, 1), window, NOON)
    assert lesson.limit == named.name


def test_no_more_is_sent_than_the_provider_has_counted_until_a_window_has_passed():
    book = Ledger([DAILY], [Charge(NOON - 2 * HOUR, 80, 80)], NOON)
    refused = Charge(NOON, 1, 1)
    book.depart(refused, NOON + HOUR)
    lesson = book.learn(refused, DAY, NOON)
    book.land(refused, Charge(NOON, 0, 0), NOON)
    assert (lesson.counted, lesson.until, lesson.is_reset) == (80, NOON + DAY, False)
    assert until(book, NOON) == NOON + 22 * HOUR
    at = NOON + 22 * HOUR
    assert book.admit(Charge(at, 1, 1), at) == Pass(1)
    for _ in range(80):
        send(book, at)
    assert until(book, at) == NOON + DAY
    assert book.admit(Charge(at, 1, 1), NOON + DAY) == Pass(1)
    assert book.usage(at)[0].lesson == lesson


def test_what_others_used_up_says_little():
    book = Ledger([DAILY], [Charge(NOON - 2 * HOUR, 30, 30)], NOON)
    assert book.learn(Charge(NOON, 1, 1), DAY, NOON).counted == 29
    assert book.admit(Charge(NOON, 1, 1), NOON) == Pass(1)


def test_a_calendar_day_that_is_used_up_begins_anew_at_midnight():
    lesson = Ledger([calendar(DAY)], (), NOON).learn(Charge(NOON, 1, 1), DAY, NOON)
    midnight = datetime(2026, 11, 21, 23, 0, tzinfo=UTC)
    assert (lesson.until, lesson.is_reset) == (midnight + 30 * SECOND, True)


def test_without_limits_nothing_is_learned():
    assert Ledger((), (), NOON).learn(Charge(NOON, 1, 1), DAY, NOON) is None


@pytest.mark.parametrize(
    ("limit", "name"),
    [
        (calendar(DAY), "3 messages per 24h (calendar, Europe/Berlin)"),
        (calendar(MONTH, is_month=True), "3 messages per 1mo (calendar, Europe/Berlin)"),
        (bucket(50, 1, 30 * MINUTE), "50 recipients, refilled by 1 recipient per 30m"),
        (Limit(Unit.DISTINCT_RECIPIENTS, 300, DAY), "300 distinct recipients per 24h"),
        (Limit(Unit.BYTES, 2 * 1000**3, DAY), "2GB per 24h"),
        (Limit(Unit.BYTES, 1025, DAY), "1025B per 24h"),
        (
            Limit(Unit.MESSAGES, 1, HOUR, window=Window.RESET_ON_FIRST_SEND_AFTER),
            "1 message per 1h (from the first)",
        ),
    ],
)
def test_each_kind_has_its_name(limit, name):
    assert limit.name == name

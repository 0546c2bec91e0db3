"""Calendar periods of a time zone: the hour, day, week or month in which a moment lies."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from relay.policy.limits import Limit, from_ms, to_ms

_DAY = timedelta(days=1)


def divides_the_calendar(per: timedelta) -> bool:
    """Return whether periods of this length begin at the same times every day, or are days."""
    return per % _DAY == timedelta() if per >= _DAY else _DAY % per == timedelta()


def period(limit: Limit, at_ms: int) -> tuple[int, int]:
    """Return beginning and end (ms) of the calendar period that holds `at_ms`.

    Days are as long as the clock there makes them (23 to 25 hours). Where it is turned back, the
    hour that comes twice is one period: longer, so that it never lets too much through.
    """
    zone = ZoneInfo(limit.timezone)
    local = from_ms(at_ms).astimezone(zone)
    if limit.is_month:
        first = local.date().replace(day=1)
        return _midnight(first, zone), _midnight((first + 31 * _DAY).replace(day=1), zone)
    if limit.per >= _DAY:
        days = limit.per // _DAY
        ordinal = (local.date().toordinal() - 1) // days * days + 1  # day 1 was a Monday
        first = date.fromordinal(ordinal)
        return _midnight(first, zone), _midnight(first + days * _DAY, zone)
    midnight = datetime.combine(local.date(), time())
    number = (local.replace(tzinfo=None, fold=0) - midnight) // limit.per
    begin, end = (_instant(midnight + k * limit.per, zone) for k in (number, number + 1))
    while end <= at_ms:  # where the clock was turned back
        number += 1
        end = _instant(midnight + (number + 1) * limit.per, zone)
    return begin, end


def _midnight(day: date, zone: ZoneInfo) -> int:
    return _instant(datetime.combine(day, time()), zone)


def _instant(wall: datetime, zone: ZoneInfo) -> int:
    return to_ms(wall.replace(tzinfo=zone).astimezone(UTC))

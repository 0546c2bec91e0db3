"""Times, sizes and numbers as people say them."""

from __future__ import annotations

from datetime import datetime, timedelta

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_SIZES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def count(number: int, noun: str) -> str:
    """Return `1 recipient`, `2 recipients`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def span(length: timedelta) -> str:
    """Return a length of time in its largest unit, and in the next one while that says something.

    Rounded down; `a moment` below a second.
    """
    seconds = int(length.total_seconds())
    for index, (size, noun) in enumerate(_UNITS):
        number, rest = divmod(seconds, size)
        if number == 0:
            continue
        words = count(number, noun)
        if number < 3 and index + 1 < len(_UNITS):
            next_size, next_noun = _UNITS[index + 1]
            if rest // next_size:
                words = f"{words} {count(rest // next_size, next_noun)}"
        return words
    return "a moment"


def when(at: datetime, now: datetime) -> str:
    """Return `in 12 minutes`, `now` or `12 minutes ago`."""
    if abs(at - now) < timedelta(seconds=1):
        return "now"
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"


def due(at: datetime, now: datetime) -> str:
    """Return when something that is to come comes; what is late comes now."""
    return when(max(at, now), now)


def moment(at: datetime) -> str:
    """Return a point in time on the clock of this machine."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock(at: datetime, now: datetime) -> str:
    """Return a point in time as the clock shows it, with the date unless it is today's."""
    local = at.astimezone()
    return local.strftime("%H:%M" if local.date() == now.astimezone().date() else "%Y-%m-%d %H:%M")


def size(number: int) -> str:
    """Return a number of bytes, rounded."""
    for factor, unit in _SIZES:
        if number >= factor:
            value = number / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return count(number, "byte")


def percent(share: float) -> str:
    """Return a share of one; never `100%` for what is not certain."""
    return f"{min(int(share * 100 + 0.5), 99) if share < 1 else 100}%"


def parse_time(text: str) -> datetime:
    """Return a time as the control socket writes it."""
    return datetime.fromisoformat(text)

"""What a channel may send: limits as the owner or a provider states them, and what counts.

How a limit is kept is in `windows`; how a channel's limits answer together is in `ledger`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fractions import Fraction

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SIZES = (
    (1024**3, "GiB"), (1000**3, "GB"), (1024**2, "MiB"), (1000**2, "MB"), (1024, "KiB"),
    (1000, "kB"),
)  # fmt: skip


class Unit(StrEnum):
    """What a limit counts."""

    MESSAGES = "messages"  # transactions with at least one recipient
    RECIPIENTS = "recipients"  # every RCPT, each time
    DISTINCT_RECIPIENTS = "distinct_recipients"  # each address once in a window
    BYTES = "bytes"  # of content, once a transaction


class Window(StrEnum):
    """When what was counted no longer counts."""

    ROLLING = "rolling"  # each on its own, `per` later
    CALENDAR = "calendar"  # all at once, at the end of the hour, day, week or month over there
    TOKEN_BUCKET = "token_bucket"  # noqa: S105 -- `refill` every `per`, evenly, up to the maximum
    RESET_ON_FIRST_SEND_AFTER = "reset_on_first_send_after"  # all at once, `per` after the first


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `maximum` of `unit` in a window."""

    unit: Unit
    maximum: int  # >= 1
    per: timedelta  # >= 1 ms; 31 days where `is_month`
    window: Window = Window.ROLLING
    timezone: str = "UTC"  # of a calendar
    is_month: bool = False  # calendar months
    refill: int = 0  # tokens that come back in `per`
    reserve: int = 0  # of the maximum, for essential kinds alone; less than it

    @property
    def name(self) -> str:
        """Return how people see it: `500 recipients per 24h`."""
        what = f"{_amount(self.unit, self.maximum)} per {self.span}"
        match self.window:
            case Window.CALENDAR:
                return f"{what} (calendar, {self.timezone})"
            case Window.TOKEN_BUCKET:
                refill = _amount(self.unit, self.refill)
                return f"{_amount(self.unit, self.maximum)}, refilled by {refill} per {self.span}"
            case Window.RESET_ON_FIRST_SEND_AFTER:
                return f"{what} (from the first)"
            case _:
                return what

    @property
    def span(self) -> str:
        """Return the length of the window in the notation of the settings."""
        if self.is_month:
            return "1mo"
        seconds = self.per.total_seconds()
        for size, letter in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
            if seconds >= size and seconds % size == 0:
                # a day is written 24h: "1d" reads as a calendar day
                return "24h" if seconds == 86400 else f"{int(seconds // size)}{letter}"
        return f"{int(seconds * 1000)}ms"

    def usable(self, *, is_essential: bool, wanted: int = 1) -> int:
        """Return how much of the maximum this mail may see used.

        One that is larger than what the reserve leaves could never go otherwise.
        """
        return self.maximum if is_essential else max(self.maximum - self.reserve, wanted)


def reserve_of(maximum: int, share: Fraction) -> int:
    """Return what a share of a window comes to: rounded down, so that small ones have none."""
    return min(int(maximum * share), maximum - 1)


@dataclass(frozen=True, slots=True)
class Charge:
    """What one transaction costs."""

    at: datetime
    messages: int
    recipients: int
    size_bytes: int = 0
    addresses: tuple[int, ...] = ()  # digests, where distinct recipients are counted

    def of(self, unit: Unit) -> int:
        """Return how much of `unit` it is; distinct recipients depend on those before."""
        match unit:
            case Unit.MESSAGES:
                return self.messages
            case Unit.BYTES:
                return self.size_bytes
            case _:
                return self.recipients


@dataclass(frozen=True, slots=True)
class Lesson:
    """The provider said that a limit is used up, when this much of it had been counted."""

    limit: str  # its name
    counted: int
    at: datetime
    until: datetime  # no more than was counted is sent before, if that was half of it or more
    is_reset: bool = False  # the provider begins to count anew then


@dataclass(frozen=True, slots=True)
class FirstSend:
    """A window that begins with a send began between two moments: its send began and ended then."""

    limit: str  # its name
    earliest: datetime
    latest: datetime


@dataclass(frozen=True, slots=True)
class Usage:
    """One window as it stands."""

    limit: Limit
    used: int
    room_at: datetime | None  # when the next essential one fits, None for now
    lesson: Lesson | None = None  # the last one


@dataclass(frozen=True, slots=True)
class Pass:
    """There is room for this many recipients, in one transaction."""

    recipients: int


@dataclass(frozen=True, slots=True)
class Wait:
    """There is none before `until`, because of `limit`."""

    until: datetime
    limit: Limit


def to_ms(at: datetime) -> int:
    """Return milliseconds since 1970, as the queue stores times."""
    return (at - _EPOCH) // _MILLISECOND


def to_ms_up(at: datetime) -> int:
    """Return the same rounded up: a charge is never dated before it was made."""
    return -((_EPOCH - at) // _MILLISECOND)


def from_ms(ms: int) -> datetime:
    """Return the aware UTC time of `ms` since 1970."""
    return _EPOCH + timedelta(milliseconds=ms)


def _amount(unit: Unit, number: int) -> str:
    if unit is Unit.BYTES:
        for size, letters in _SIZES:
            if number % size == 0:
                return f"{number // size}{letters}"
        return f"{number}B"
    words = unit.replace("_", " ")
    return f"{number} {words.removesuffix('s') if number == 1 else words}"

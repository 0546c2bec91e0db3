"""The single values of a settings file, each with what is expected of it in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from ipaddress import ip_network
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, PlainValidator
from pydantic_core import PydanticCustomError

from relay.inspect.lexica import split_weight
from relay.listener.options import Network
from relay.policy.phrases import HEADINGS, OWN_WEIGHT, Concept
from relay.settings.address import Endpoint, parse_endpoint
from relay.settings.units import parse_duration, parse_size

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?\.?")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_FIELD = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322 §3.6.8
_MAILBOX = re.compile(r"[^\s<>@\x00-\x1f\x7f]+@[^\s<>@\x00-\x1f\x7f]+")
_REFUSAL = re.compile(r"[ -~]{1,400}")
_URL = re.compile(r"https://[!-~]{1,1000}|http://(?:127\.0\.0\.1|localhost)(?::[0-9]+)?/[!-~]*")
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RATE = re.compile(r"([0-9]{1,10}) per ([0-9]+[a-z]+)")
_PERCENT = re.compile(r"([0-9]{1,2})%")
_HEADROOM = re.compile(r"([1-9][0-9]?|100) ?%")
_STEM = r"[^\s*=,]*[^\W_]{2}[^\s*=,]*"
_WORD = rf"(?:\*?{_STEM}\*?|(?!\.\.\.)[^\s*=,]+)"  # a star stands at an end, of two letters or more
_PHRASE = re.compile(rf"{_WORD}(?: +(?:\.\.\. +)?{_WORD})*")
_CREDENTIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,254}")


def expected(what: str) -> PydanticCustomError:
    """Return the error that says what should stand there."""
    return PydanticCustomError("expected", "{what}", {"what": what})


def leaf(what: str, parse: Callable[[Any], Any]) -> PlainValidator:
    """Return a validator that says `what` was expected when `parse` raises ValueError."""

    def validate(value: Any) -> Any:
        try:
            return parse(value)
        except ValueError:
            raise expected(what) from None

    return PlainValidator(validate)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _like(pattern: re.Pattern[str]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if not pattern.fullmatch(_text(value)):
            raise ValueError
        return str(value)

    return parse


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        return value

    return parse


def _path(value: Any) -> str:
    if not _text(value).startswith("/") or "\0" in value:
        raise ValueError
    return str(value)


def _host(value: Any) -> str:
    try:
        return str(parse_endpoint(f"[{value}]:1").ip)
    except ValueError:
        return _like(_HOST)(value)


def _endpoint(value: Any) -> tuple[str, Endpoint]:
    return _text(value), parse_endpoint(value)


def _duration(value: Any) -> timedelta:
    return parse_duration(_text(value))


def _wait(value: Any) -> timedelta:
    span = _duration(value)
    if not span:
        raise ValueError
    return span


def _per(value: Any) -> timedelta | Literal["1mo"]:
    return "1mo" if value == "1mo" else _wait(value)


def _rate(value: Any) -> tuple[int, timedelta]:
    match = _RATE.fullmatch(_text(value))
    if match is None:
        raise ValueError
    return _whole(1, 10**9)(int(match[1])), _wait(match[2])


def _share(value: Any) -> Fraction:
    match = _PERCENT.fullmatch(_text(value))
    if match is None or int(match[1]) > 90:
        raise ValueError
    return Fraction(int(match[1]), 100)


def _timezone(value: Any) -> str:
    try:
        ZoneInfo(_text(value))
    except (OSError, ZoneInfoNotFoundError):
        raise ValueError from None
    return str(value)


def _headroom(value: Any) -> int:
    match = _HEADROOM.fullmatch(_text(value))
    if match is None:
        raise ValueError
    return int(match[1])


def _size(value: Any) -> int:
    return parse_size(_text(value))


def _max_size(value: Any) -> int:
    size = _size(value)
    if size < 1024:
        raise ValueError
    return size


def _network(value: Any) -> Network:
    return ip_network(_text(value))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _hold(value: Any) -> str | None:
    if value is True:
        return "held by a rule"
    return None if value is None or value is False else _text(value)


def _phrase(value: Any) -> tuple[str, float]:
    text, weight = split_weight(_text(value).strip())
    if len(text) > 100 or not _PHRASE.fullmatch(text) or not any(map(str.isalnum, text)):
        raise ValueError
    weight = OWN_WEIGHT if weight is None else weight
    if not 0 < weight <= 10:
        raise ValueError
    return text, weight


def _heading(value: Any) -> Concept:
    if value not in HEADINGS:
        raise ValueError
    return HEADINGS[value]


def _by_commas(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


def _as_list(value: Any) -> Any:
    return value if value is None or isinstance(value, list) else [value]


_SPAN = "a duration such as 90s, 5m, 24h or 5d"

Text = Annotated[str, leaf("a text", _text)]
Flag = Annotated[bool, leaf("true or false", _flag)]
Count = Annotated[int, leaf("a whole number from 1", _whole(1, 10**9))]
Port = Annotated[int, leaf("1-65535", _whole(1, 65535))]
Connections = Annotated[int, leaf("1-10000", _whole(1, 10_000))]
Recipients = Annotated[int, leaf("100-100000 (RFC 5321 §4.5.3.1.8)", _whole(100, 100_000))]
Hops = Annotated[int, leaf("10-1000", _whole(10, 1000))]
Duration = Annotated[timedelta, leaf(f"{_SPAN}, or 0s", _duration)]
Wait = Annotated[timedelta, leaf(f"{_SPAN}, more than 0s", _wait)]
Per = Annotated[timedelta | str, leaf(f"{_SPAN}, more than 0s, or 1mo", _per)]
Rate = Annotated[tuple[int, timedelta], leaf("a rate such as 1 per 30m", _rate)]
Share = Annotated[Fraction, leaf("0% to 90%", _share)]
TimeZone = Annotated[str, leaf("a time zone such as Europe/Berlin or UTC", _timezone)]
Headroom = Annotated[int, leaf("a percentage such as 90%, 1% to 100%", _headroom)]
Size = Annotated[int, leaf("a size such as 64KiB, 50MiB or 10MB", _size)]
MaxSize = Annotated[int, leaf("a size such as 50MiB, at least 1KiB", _max_size)]
FilePath = Annotated[str, leaf("an absolute path", _path)]
Host = Annotated[str, leaf("a host name or an IP address, without port", _host)]
HostName = Annotated[str, leaf("a host name", _like(_HOST))]
Address = Annotated[
    tuple[str, Endpoint],
    leaf("an IP address and a port such as 127.0.0.1:2525 or [::1]:2525", _endpoint),
]
NetworkBlock = Annotated[
    Network, leaf("a network such as 192.168.0.0/16 or fd00::/8, or an IP address", _network)
]
Mailbox = Annotated[str, leaf("an address such as ann@example.com", _like(_MAILBOX))]
Url = Annotated[str, leaf("an address that begins with https://", _like(_URL))]
Sender = Annotated[
    str, leaf("an address such as ann@example.com, or *@example.com", _like(_MAILBOX))
]
FieldName = Annotated[str, leaf("the name of a header field, such as X-App", _like(_FIELD))]
RefusalText = Annotated[str, leaf("a text in ASCII of at most 400 characters", _like(_REFUSAL))]
OwnPhrase = Annotated[
    tuple[str, float],
    leaf("a phrase such as Akonto, *rechnung, zahlung ... erhalten or beleg =0.5", _phrase),
]
Heading = Annotated[
    Concept, leaf("a kind but sms, or a heading of the lexicon such as trap or view", _heading)
]
Language = Annotated[str, leaf("a language such as de, or any", _text)]
Hold = Annotated[str | None, leaf("true, or a text that says why", _hold)]
EnvName = Annotated[str, leaf("the name of an environment variable", _like(_ENV))]
CredentialName = Annotated[str, leaf("the name of a credential", _like(_CREDENTIAL))]
ChannelName = Annotated[
    str, leaf("a name of a-z, 0-9, - and _, 32 characters at most", _like(_NAME))
]

Commas = BeforeValidator(_by_commas)
"""A text with commas may stand where a list is expected."""
OneOrMore = BeforeValidator(_as_list)
"""One value may stand where a list is expected."""

"""Durations and sizes as people write them."""

from __future__ import annotations

import re
from datetime import timedelta

_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_BYTES = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
_DURATION = re.compile(r"([0-9]{1,15})(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,15}) ?([kKMG]i?B|B)")
LONGEST = timedelta(days=3650)
LARGEST = 1024**4


def parse_duration(text: str) -> timedelta:
    """Return the span that `90s`, `5m`, `24h`, `5d` or `500ms` means; raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration")
    milliseconds = int(match[1]) * _MILLISECONDS[match[2]]
    if milliseconds > LONGEST // timedelta(milliseconds=1):
        raise ValueError(f"{text!r} is no duration")
    return timedelta(milliseconds=milliseconds)


def format_duration(span: timedelta) -> str:
    """Return a span of whole milliseconds in its largest unit that divides it."""
    milliseconds = span // timedelta(milliseconds=1)
    for unit in ("d", "h", "m", "s"):
        if milliseconds % _MILLISECONDS[unit] == 0:
            return f"{milliseconds // _MILLISECONDS[unit]}{unit}" if milliseconds else "0s"
    return f"{milliseconds}ms"


def parse_size(text: str) -> int:
    """Return the bytes that `50MiB`, `64KiB` or `10MB` means; raises ValueError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no size")
    unit = match[2] if match[2] in _BYTES else {"KB": "kB", "kiB": "KiB"}[match[2]]
    size = int(match[1]) * _BYTES[unit]
    if size > LARGEST:
        raise ValueError(f"{text!r} is no size")
    return size

"""What is said of each event: a level, a name and fields; and how that is written on one line."""

from __future__ import annotations

import json
import logging
import re
from datetime import datetime
from typing import assert_never

from relay.observe.events import (
    Accepted,
    Attempted,
    ChannelPaused,
    ChannelResumed,
    ChannelThrottled,
    Crashed,
    Event,
    InspectionFailed,
    LimitLearned,
    ListenerOpened,
    OwnerActed,
    Refused,
    Reported,
    Result,
    SenderRefused,
    SettingsLoaded,
    Started,
    Stopped,
    StoreTrouble,
    Swept,
)

MAX_VALUE = 8192  # characters of one value; the rest is cut off

Value = str | int | float | datetime | tuple[str, ...] | None
Line = tuple[int, str, tuple[tuple[str, Value], ...]]
"""Level (of `logging`), name of the event, and its fields in order."""

_INFO, _WARNING, _ERROR = logging.INFO, logging.WARNING, logging.ERROR
_WORDS = {logging.DEBUG: "debug", _INFO: "info", _WARNING: "warning", _ERROR: "error"}
_NEEDS_A_LOOK = frozenset({Result.FAILED, Result.IN_DOUBT, Result.HELD})

_BARE = re.compile(r"[!#-<>-\[\]-~]{1,256}")  # printable ASCII but space, quote, = and backslash
_HOSTILE = re.compile(
    '["\\\\\x00-\x1f\x7f-\x9f'
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible, bidirectional
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)

_OfMail = Accepted | Attempted | Refused | Reported | InspectionFailed | OwnerActed | Swept
_OfChannel = ChannelPaused | ChannelResumed | ChannelThrottled | LimitLearned | SenderRefused
_OfHouse = Started | Stopped | ListenerOpened | SettingsLoaded | StoreTrouble | Crashed


def describe(event: Event) -> Line:
    """Return what the log says of `event`: ids and addresses, never content or secrets."""
    match event:
        case (
            Accepted()
            | Attempted()
            | Refused()
            | Reported()
            | InspectionFailed()
            | OwnerActed()
            | Swept()
        ):
            return _of_mail(event)
        case (
            ChannelPaused()
            | ChannelResumed()
            | ChannelThrottled()
            | LimitLearned()
            | SenderRefused()
        ):
            return _of_channel(event)
        case (
            Started() | Stopped() | ListenerOpened() | SettingsLoaded() | StoreTrouble() | Crashed()
        ):
            return _of_house(event)
        case _:
            assert_never(event)


def _of_mail(event: _OfMail) -> Line:
    match event:
        case Accepted():
            return _accepted(event)
        case Attempted():
            return _attempted(event)
        case Refused():
            fields = (
                ("listener", event.listener),
                ("client", event.client),
                ("reason", event.reason),
                ("detail", event.detail),
            )
            return _WARNING, "refused", fields
        case Reported(about=about, action=action, recipients=count):
            ids = (("id", event.queue_id), ("about", about))
            return _INFO, "reported", (*ids, ("action", action), ("recipients", count))
        case InspectionFailed(queue_id=queue_id, detail=detail):
            return _WARNING, "inspection_failed", (("id", queue_id), ("detail", detail))
        case OwnerActed(action=action, recipients=count):
            return _INFO, "owner_acted", (("action", action), ("recipients", count))
        case Swept(expired=expired, purged=purged, notices=notices):
            counts = (("expired", expired), ("purged", purged), ("notices", notices))
            return _INFO, "swept", counts
        case _:
            assert_never(event)


def _accepted(event: Accepted) -> Line:
    fields = (
        ("id", event.queue_id),
        ("listener", event.listener),
        ("client", event.client),
        ("application", event.application),
        ("from", "<>" if event.reverse_path is None else event.reverse_path),
        ("recipients", event.recipients),
        ("size_bytes", event.size_bytes),
        ("kind", event.kind),
        ("certainty", event.certainty),
        ("channels", event.channels),
        ("seconds", event.seconds),
    )
    return _INFO, "accepted", fields


def _attempted(event: Attempted) -> Line:
    fields = (
        ("id", event.queue_id),
        ("result", event.result),
        ("channel", event.channel),
        ("upstream", event.upstream),
        ("kind", event.kind),
        ("to", event.forward_path),
        ("reply", event.reply),
        ("entry", event.entry),
        ("attempts", event.attempts),
        ("due_at", event.due_at),
        ("seconds", event.seconds),
    )
    return _WARNING if event.result in _NEEDS_A_LOOK else _INFO, "attempted", fields


def _of_channel(event: _OfChannel) -> Line:
    match event:
        case ChannelPaused():
            fields = (
                ("channel", event.channel),
                ("category", event.category),
                ("until", event.until),
                ("cause", event.cause),
                ("fix", event.fix),
                ("reply", event.reply),
            )
            return _ERROR, "channel_paused", fields
        case ChannelResumed(channel=channel, why=why):
            return _INFO, "channel_resumed", (("channel", channel), ("why", why))
        case ChannelThrottled(channel=channel, limit=limit, until=until):
            what = (("channel", channel), ("limit", limit), ("until", until))
            return _INFO, "channel_throttled", what
        case LimitLearned(channel=channel, limit=limit, counted=counted, until=until):
            learned = (("channel", channel), ("limit", limit), ("counted", counted))
            return _WARNING, "limit_learned", (*learned, ("until", until))
        case SenderRefused(
            channel=channel, reverse_path=sender, reply=reply, moved=moved, held=held
        ):
            counts = (("moved", moved), ("held", held))
            named = (("channel", channel), ("from", sender), ("reply", reply))
            return _WARNING, "sender_refused", (*named, *counts)
        case _:
            assert_never(event)


def _of_house(event: _OfHouse) -> Line:
    match event:
        case Started():
            fields = (
                ("version", event.version),
                ("settings", event.settings),
                ("rehearsal", event.rehearsal),
                ("recovered", event.recovered),
            )
            return _INFO, "started", fields
        case Stopped(drained=drained):
            return _INFO if drained else _WARNING, "stopped", (("drained", drained),)
        case ListenerOpened(address=address, tls=tls, auth=auth):
            return _INFO, "listener_opened", (("address", address), ("tls", tls), ("auth", auth))
        case SettingsLoaded(path=path, ok=ok, detail=detail):
            what = (("path", path), ("ok", ok), ("detail", detail))
            return _INFO if ok else _ERROR, "settings_loaded", what
        case StoreTrouble(detail=detail):
            return _ERROR, "store_trouble", (("detail", detail),)
        case Crashed(where=where, detail=detail):
            return _ERROR, "crashed", (("where", where), ("detail", detail))
        case _:
            assert_never(event)


def as_text(line: Line) -> str:
    """Return `level event key=value …`; nothing in a value can end the line or forge a key."""
    level, name, fields = line
    words = [_WORDS.get(level, "error"), name]
    for key, value in fields:
        if isinstance(value, str):
            words.append(f"{key}={value if _BARE.fullmatch(value) else quote(value)}")
        elif type(value) is float:
            words.append(f"{key}={value:.4f}")
        else:
            words.append(f"{key}={_plain(value)}")
    return " ".join(words)


def as_json(line: Line) -> str:
    """Return one JSON object in ASCII, which escapes whatever could end the line."""
    level, name, fields = line
    row: dict[str, object] = {"level": _WORDS.get(level, "error"), "event": name}
    for key, value in fields:
        match value:
            case str():
                row[key] = value[:MAX_VALUE]
            case datetime():
                row[key] = iso(value)
            case _:
                row[key] = value
    return json.dumps(row, separators=(",", ":"), allow_nan=False)


def quote(value: str) -> str:
    r"""Return `value` in quotation marks, with `\"`, `\\` and what cannot be seen as `\xNN`."""
    if len(value) > MAX_VALUE:
        value = value[:MAX_VALUE] + "…"
    return f'"{_HOSTILE.sub(_escape, value)}"'


def iso(at: datetime) -> str:
    """Return a UTC time as ISO 8601 with milliseconds and `Z`."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    number = ord(char)
    if char in '"\\':
        return "\\" + char
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _plain(value: int | float | datetime | tuple[str, ...] | None) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return iso(value)
        case tuple():
            text = ",".join(value)
            return text if _BARE.fullmatch(text) else quote(text)
        case _:
            return str(value)

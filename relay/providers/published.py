"""What a provider lets an account send, as far as it is published, in limits that can be kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from relay.policy.limits import Limit, Unit, Window
from relay.policy.periods import divides_the_calendar

HEADROOM = 90  # percent: others send by the same account, and providers count differently
_UNITS = {
    "messages": Unit.MESSAGES,
    "transactions": Unit.MESSAGES,
    "external_messages": Unit.MESSAGES,
    "requests": Unit.MESSAGES,
    # Each address counts each time: never less than what the provider counts.
    "recipients": Unit.RECIPIENTS,
    "unique_recipients": Unit.RECIPIENTS,
    "external_recipients": Unit.RECIPIENTS,
    "new_recipients": Unit.RECIPIENTS,
}
_SPANS = {
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "month": timedelta(days=31),
}
_PER = re.compile(r"(\d+)(s|min|h|d|month)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What is known of the account that a channel uses."""

    provider: str  # id
    name: str
    tier: str | None  # that was chosen; None: the lowest
    tiers: tuple[str, ...]  # that may be chosen
    headroom: int  # percent of what is published that `limits` use
    limits: tuple[Limit, ...]  # calendar where its time zone is known, else rolling: never over
    confidence: str  # low, medium or high: the lowest of the limits'; "" without any
    max_recipients: int | None  # of one transaction
    max_content_bytes: int | None
    connections: int | None
    messages_per_connection: int | None


def published(
    provider: Mapping[str, Any], tier: str | None = None, headroom: int = HEADROOM
) -> Published:
    """Return what holds for an account in `tier`, as `all` of `Providers` has the provider.

    A tier that was not chosen is the lowest: of limits that differ in their tier alone, the least.
    """
    limits = provider.get("limits", {})
    rows = [row for row in limits.get("rates", ()) if row["what"] in _UNITS]
    chosen = [row for group in _groups(rows) for row in _in_tier(group, tier)]
    least: dict[Limit, int] = {}  # of limits that differ in their maximum alone
    for row in chosen:
        limit = _limit(row)
        maximum = max(1, row["max"] * headroom // 100)
        least[limit] = min(maximum, least.get(limit, maximum))
    return Published(
        provider=provider["id"],
        name=provider["name"],
        tier=tier,
        tiers=tiers_of(provider),
        headroom=headroom,
        limits=tuple(replace(limit, maximum=maximum) for limit, maximum in least.items()),
        confidence=_least_sure(chosen),
        max_recipients=_value(limits, "recipients_per_message"),
        max_content_bytes=_value(limits, "message_bytes"),
        connections=_value(limits, "concurrent_connections"),
        messages_per_connection=_value(limits, "messages_per_connection"),
    )


def tiers_of(provider: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tiers that an owner may choose from."""
    rows = provider.get("limits", {}).get("rates", ())
    return tuple(dict.fromkeys(row["tier"] for row in rows if "tier" in row))


def span_of(text: str, window: str = "rolling") -> timedelta:
    """Return the rolling span in which a window, `24h`, is surely kept; raises ValueError.

    The longest month has 31 days, and the longest day of a calendar 25 hours.
    """
    match = _PER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no window")
    span = int(match[1]) * _SPANS[match[2]]
    is_day = match[2] == "d" and window == "calendar"
    return span + timedelta(hours=1) if is_day else span


def _limit(row: Mapping[str, Any]) -> Limit:
    """Return what keeps a published rate, with a maximum of 1.

    A calendar is one where it is known when it begins anew: all of it may then go at once. Else it
    may be anywhere, and a rolling window is never over another of the same length.
    """
    unit, per, zone = _UNITS[row["what"]], span_of(row["per"]), row.get("timezone")
    is_month = row["per"] == "1month"
    if zone is not None and (is_month or divides_the_calendar(per)) and _is_known(zone):
        return Limit(unit, 1, per, window=Window.CALENDAR, timezone=zone, is_month=is_month)
    return Limit(unit, 1, span_of(row["per"], row["window"]))


def _is_known(zone: str) -> bool:
    """Return whether this machine knows a time zone; a small image of a system may not."""
    try:
        ZoneInfo(zone)
    except ZoneInfoNotFoundError:
        return False
    return True


def _groups(rows: Iterable[Mapping[str, Any]]) -> Iterable[list[Mapping[str, Any]]]:
    """Return the rows, those that differ in their tier alone together."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["what"], row["per"], row["scope"]), []).append(row)
    return groups.values()


def _in_tier(group: list[Mapping[str, Any]], tier: str | None) -> Iterator[Mapping[str, Any]]:
    """Yield the row that holds, if there is one with a number.

    A chosen tier that this group does not know falls back to the row for all, then to the least.
    """
    named = [row for row in group if tier is not None and row.get("tier") == tier]
    if named:
        candidates = named
    else:
        everybody = [row for row in group if "tier" not in row]
        candidates = everybody if tier is not None and everybody else group
        candidates = [row for row in candidates if not row.get("only_chosen")]
    numbered = [row for row in candidates if row.get("max") is not None]
    if numbered:
        yield min(numbered, key=lambda row: int(row["max"]))


def _least_sure(rows: Iterable[Mapping[str, Any]]) -> str:
    order = ("low", "medium", "high")
    return min((row.get("confidence", "low") for row in rows), key=order.index, default="")


def _value(limits: Mapping[str, Any], key: str) -> int | None:
    """Return one number per message or connection, None if it is not known."""
    value = (limits.get(key) or {}).get("value")
    return value if isinstance(value, int) else None

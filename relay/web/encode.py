"""Values as JSON: dataclasses by their fields, times as ISO 8601 with Z, enumerations by value."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from relay.policy.accounting import Accounting
from relay.policy.health import Open, Paused, Stopped
from relay.policy.limits import Limit

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


def encode(value: object) -> Json:
    """Return `value` as what `json.dumps` takes. Raises TypeError for what has no place there."""
    match value:
        case None | bool() | int() | float():
            return value
        case Enum():
            return encode(value.value)
        case str():
            return value
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Limit():
            return {**_fields(value), "name": value.name}
        case Accounting():
            return {**_fields(value), "difference": value.difference}
        case Open() | Paused() | Stopped():
            return {"state": type(value).__name__.lower(), **_fields(value)}
        case tuple() | list():
            return [encode(each) for each in value]
        case dict():
            return {str(encode(key)): encode(each) for key, each in value.items()}
        case _ if is_dataclass(value):
            return _fields(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no place in JSON")


def _fields(value: object) -> dict[str, Json]:
    """Return each field of a dataclass; a span of time in seconds, with the unit in its name."""
    row: dict[str, Json] = {}
    for field in fields(value):  # type: ignore[arg-type]  # the callers know that it is one
        each = getattr(value, field.name)
        if isinstance(each, timedelta):
            row[f"{field.name}_seconds"] = each.total_seconds()
        else:
            row[field.name] = encode(each)
    return row

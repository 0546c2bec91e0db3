"""How values become JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import pytest

from relay.policy.accounting import Accounting, State
from relay.policy.health import Open, Stopped
from relay.policy.kinds import Kind, Reason
from relay.policy.limits import Limit, Unit
from relay.web.encode import encode

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wait:
    wait: timedelta
    then: tuple[Kind, ...]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param(True, True, id="truth"),
        pytest.param(0.5, 0.5, id="number"),
        pytest.param(Kind.INVOICE, "invoice", id="enumeration"),
        pytest.param(NOON, "2026-03-01T12:00:00Z", id="time"),
        pytest.param(
            NOON.astimezone(timezone(timedelta(hours=1))), "2026-03-01T12:00:00Z", id="other zone"
        ),
        pytest.param(NOON + timedelta(microseconds=5), "2026-03-01T12:00:00.000005Z", id="exact"),
        pytest.param((1, ("a",)), [1, ["a"]], id="tuples"),
        pytest.param(Reason("Subject", "x"), {"where": "Subject", "what": "x"}, id="dataclass"),
        pytest.param(
            Wait(timedelta(minutes=1), (Kind.SMS,)),
            {"wait_seconds": 60.0, "then": ["sms"]},
            id="span",
        ),
        pytest.param(
            Limit(Unit.MESSAGES, 1, timedelta(seconds=1)),
            {
                "unit": "messages",
                "maximum": 1,
                "per_seconds": 1.0,
                "window": "rolling",
                "timezone": "UTC",
                "is_month": False,
                "refill": 0,
                "reserve": 0,
                "name": "1 message per 1s",
            },
            id="limit",
        ),
        pytest.param(
            Accounting(3, {State.SENT: 2}),
            {"accepted": 3, "states": {"sent": 2}, "difference": 1},
            id="accounting",
        ),
        pytest.param(Open(), {"state": "open", "run": None}, id="open"),
        pytest.param(
            Stopped(by="me", since=NOON),
            {"state": "stopped", "by": "me", "since": "2026-03-01T12:00:00Z"},
            id="stopped",
        ),
    ],
)
def test_values_are_encoded(value: object, expected: object) -> None:
    assert encode(value) == expected


@pytest.mark.parametrize("value", [b"bytes", object(), len, {1, 2}])
def test_what_has_no_place_in_json_is_a_mistake(value: object) -> None:
    with pytest.raises(TypeError):
        encode(value)

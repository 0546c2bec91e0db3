"""What providers publish, as limits that can be kept."""

from __future__ import annotations

import pytest

from relay.providers.detect import Providers
from relay.providers.published import published, span_of, tiers_of
from tests.making import DAY, HOUR, MINUTE

PROVIDERS = Providers().all
WINDOWS = {"rolling", "calendar", "token_bucket", "reset_on_first_send_after", "unknown"}
SCOPES = {"mailbox", "domain", "account", "account_region", "organisation", "ip", "connection"}
WHATS = {
    *("messages", "transactions", "recipients", "unique_recipients", "external_recipients"),
    *("new_recipients", "external_messages", "internal_messages", "failure_percent", "requests"),
    "connections_pop",
}


def limits(provider: str, tier: str | None = None, headroom: int = 100) -> list[str]:
    return sorted(limit.name for limit in published(PROVIDERS[provider], tier, headroom).limits)


@pytest.mark.parametrize(
    ("provider", "tier", "expected"),
    [
        pytest.param("gmail", None, ["500 messages per 24h"], id="one tier"),
        pytest.param(
            "google-workspace",
            None,
            ["3000 recipients per 24h", "500 messages per 24h"],
            id="nothing chosen: the lowest",
        ),
        pytest.param(
            "google-workspace",
            "paid",
            ["2000 messages per 24h", "3000 recipients per 24h"],
            id="chosen; of what counts recipients the least holds for all",
        ),
        pytest.param(
            "microsoft365",
            None,
            ["30 messages per 1m", "5000 recipients per 24h"],
            id="a tier for one kind of address is not taken unasked-for",
        ),
        pytest.param("zoho", None, ["50 messages per 1h"], id="the floor of what varies"),
        pytest.param("godaddy", None, ["250 recipients per 24h"], id="the row for all"),
        pytest.param(
            "emailit",
            None,
            ["2 messages per 1s", "5000 messages per 24h (calendar, UTC)"],
            id="a calendar that is known to begin anew at midnight over there",
        ),
        pytest.param(
            "rackspace",
            None,
            ["10000 recipients per 24h (calendar, America/New_York)"],
            id="the same elsewhere",
        ),
        pytest.param(
            "postmark", "free", ["100 messages per 31d"], id="a month of nobody knows where"
        ),
        pytest.param("resend", None, None, id="months"),
        pytest.param("ovh", None, [], id="a limit without a number is not known"),
        pytest.param("fastmail", None, [], id="nothing is known"),
    ],
)
def test_of_a_provider_what_can_be_kept_is_kept(provider, tier, expected):
    if expected is None:
        assert "3000 recipients per 31d" in limits(provider, tier)
    else:
        assert limits(provider, tier) == expected


@pytest.mark.parametrize(
    ("headroom", "expected"),
    [(90, "450 messages per 24h"), (100, "500 messages per 24h"), (1, "5 messages per 24h")],
)
def test_some_is_left_for_others(headroom, expected):
    assert limits("gmail", headroom=headroom) == [expected]


def test_never_nothing_is_left():
    assert "1 recipient per 1s" in limits("ses", headroom=10)


def test_what_holds_for_messages_and_connections():
    gmail, microsoft = published(PROVIDERS["gmail"]), published(PROVIDERS["microsoft365"])
    assert (gmail.max_recipients, gmail.max_content_bytes) == (100, 26214400)
    assert (microsoft.connections, gmail.connections) == (3, None)
    assert published(PROVIDERS["infomaniak"]).max_recipients is None
    assert gmail.confidence == "medium"


@pytest.mark.parametrize(
    ("text", "window", "expected"),
    [
        ("1min", "rolling", MINUTE),
        ("24h", "calendar", DAY),
        ("1d", "unknown", DAY),
        ("1d", "calendar", 25 * HOUR),
        ("1month", "calendar", 31 * DAY),
    ],
)
def test_a_rolling_span_keeps_every_window(text, window, expected):
    assert span_of(text, window) == expected


@pytest.mark.parametrize(
    ("per", "zone", "expected"),
    [
        ("1d", "Europe/Berlin", "9 messages per 24h (calendar, Europe/Berlin)"),
        ("1month", "UTC", "9 messages per 1mo (calendar, UTC)"),
        ("1h", "UTC", "9 messages per 1h (calendar, UTC)"),
        ("7h", "UTC", "9 messages per 7h"),  # begins nowhere in particular
        ("1d", None, "9 messages per 25h"),  # the longest day
        ("1d", "Nowhere/Land", "9 messages per 25h"),
    ],
)
def test_a_calendar_is_one_where_it_is_known_when_it_begins_anew(per, zone, expected):
    row = {"what": "messages", "max": 9, "per": per, "window": "calendar", "scope": "mailbox"}
    if zone is not None:
        row["timezone"] = zone
    provider = {"id": "a", "name": "A", "limits": {"rates": [row]}}
    assert [limit.name for limit in published(provider, headroom=100).limits] == [expected]


def test_what_is_no_window_is_refused():
    with pytest.raises(ValueError, match="is no window"):
        span_of("fortnight")


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_the_data_means_what_its_head_says(name):
    """The schema: what a person who mends the file is held to."""
    provider = PROVIDERS[name]
    assert set(provider["auth"]) <= {
        *("methods", "mechanisms", "app_password", "username", "enable_first", "note"),
    }
    assert provider["auth"]["methods"] or provider["status"] == "no_smtp"
    for row in provider.get("limits", {}).get("rates", ()):
        assert set(row) <= {
            *("what", "max", "per", "window", "scope", "tier", "confidence", "note", "formula"),
            *("timezone", "refill", "block_extends_on_attempt", "only_chosen"),
        }
        assert row["what"] in WHATS
        assert row["window"] in WINDOWS
        assert row["scope"] in SCOPES
        assert row.get("confidence") in {"low", "medium", "high"}
        assert row.get("max") is None or (type(row["max"]) is int and row["max"] > 0)
        assert span_of(row["per"], row["window"])
        assert ("timezone" in row) <= (row["window"] == "calendar")
        assert ("refill" in row) == (row["window"] == "token_bucket")
    for tier in (None, *tiers_of(provider)):
        assert all(limit.maximum >= 1 for limit in published(provider, tier).limits)

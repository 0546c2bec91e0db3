"""Which provider an account is with."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from relay.providers.detect import Providers

PROVIDERS = Providers()


@pytest.mark.parametrize(
    ("host", "username", "expected"),
    [
        ("smtp.gmail.com", None, "gmail"),
        ("SMTP.Gmail.com.", None, "gmail"),
        ("smtp.gmail.com", "me@gmail.com", "gmail"),
        ("smtp.gmail.com", "me@example.com", "google-workspace"),
        ("smtp-relay.gmail.com", None, "google-workspace-relay"),
        ("smtp.office365.com", None, "microsoft365"),
        ("smtp.office365.com", "me@hotmail.com", "outlook.com"),
        ("example-com.mail.protection.outlook.com", None, "microsoft365"),
        ("email-smtp.eu-west-1.amazonaws.com", None, "ses"),
        ("email-smtp.eu.west.amazonaws.com", None, None),
        ("smtp.mail.yahoo.com", "me@yahoo.co.uk", "yahoo"),
        ("mail.example.com", None, None),
        ("127.0.0.1", None, None),
        ("", None, None),
    ],
)
def test_knows_the_provider_by_its_server(host, username, expected):
    assert PROVIDERS.by_host(host, username) == expected


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("gmail.com", "gmail"),
        ("GMX.de", "gmx-net"),
        ("web.de", "web.de"),
        ("sub.fastmail.com", "fastmail"),
        ("notgmail.com", None),
        ("example.com", None),
        ("com", None),
    ],
)
def test_knows_the_provider_by_an_address(domain, expected):
    assert PROVIDERS.by_domain(domain) == expected


def test_the_data_is_complete():
    providers = PROVIDERS.all
    assert len(providers) == 84
    for name, provider in providers.items():
        assert provider["status"] in {"active", "migrating", "no_smtp"}, name
        assert provider["smtp"] or provider["status"] == "no_smtp", name
        for server in provider["smtp"]:
            assert server["security"] in {"implicit", "starttls", "none"}, name
            assert 0 < server["port"] < 65536, name
        assert set(provider) <= {
            *("id", "name", "also", "kind", "status", "domains", "mx_suffixes", "smtp", "auth"),
            *("limits", "on_exceed", "from_rule", "help"),
        }, name
        for rate in provider.get("limits", {}).get("rates", ()):
            assert {"what", "per", "window", "scope"} <= set(rate), name


def test_nothing_is_read_before_it_is_asked_for():
    begun = time.process_time()
    Providers()
    assert time.process_time() - begun < 0.001


def test_no_file_of_data_names_a_secret():
    folder = Path(__file__).parent.parent.parent / "relay" / "providers"
    for path in folder.glob("*.yaml"):
        assert "client_secret" not in path.read_text()

"""What an address tells of its account."""

from __future__ import annotations

import pytest

from relay.channels.options import Security
from relay.connect.account import Account, account_of
from relay.providers.detect import Providers

PROVIDERS = Providers()
IMPLICIT, STARTTLS, NONE = Security.IMPLICIT, Security.STARTTLS, Security.NONE


def told(account: Account) -> list[str]:
    return [str(each) for each in account.endpoints]


@pytest.mark.parametrize(
    ("address", "exchangers", "provider", "endpoints", "usernames"),
    [
        pytest.param(
            "me@gmail.com",
            (),
            "gmail",
            ["smtp.gmail.com:465 (implicit)", "smtp.gmail.com:587 (starttls)"],
            ("me@gmail.com", "me"),
            id="by its domain",
        ),
        pytest.param(
            "me@example.com",
            ("aspmx.l.google.com", "alt1.aspmx.l.google.com"),
            "google-workspace",
            ["smtp.gmail.com:465 (implicit)", "smtp.gmail.com:587 (starttls)"],
            ("me@example.com", "me"),
            id="by its mail exchangers, which a service for consumers shares",
        ),
        pytest.param(
            "me@example.com",
            ("example-com.mail.protection.outlook.com",),
            "microsoft365",
            [
                "smtp.office365.com:587 (starttls)",
                "smtp-legacy.office365.com:587 (starttls)",
                "smtp.office365.com:25 (starttls)",
            ],
            ("me@example.com", "me"),
            id="port 25 is the last choice",
        ),
        pytest.param(
            "me@example.com",
            ("mx.example.com",),
            None,
            [
                "smtp.example.com:465 (implicit)",
                "smtp.example.com:587 (starttls)",
                "mail.example.com:465 (implicit)",
                "mail.example.com:587 (starttls)",
            ],
            ("me@example.com", "me"),
            id="unknown: the usual names",
        ),
    ],
)
def test_an_address_is_enough(address, exchangers, provider, endpoints, usernames):
    account = account_of(address, PROVIDERS, exchangers=exchangers)
    assert account.provider == provider
    assert told(account) == endpoints
    assert account.usernames == usernames


@pytest.mark.parametrize(
    ("given", "endpoints"),
    [
        ({"host": "smtp.gmail.com", "port": 587}, ["smtp.gmail.com:587 (starttls)"]),
        ({"host": "mx.here"}, ["mx.here:465 (implicit)", "mx.here:587 (starttls)"]),
        ({"host": "mx.here", "port": 465}, ["mx.here:465 (implicit)"]),
        ({"host": "mx.here", "port": 2587}, ["mx.here:2587 (starttls)"]),
        ({"host": "::1", "port": 25, "security": NONE}, ["[::1]:25 (none)"]),
        ({"security": STARTTLS}, ["smtp.gmail.com:587 (starttls)"]),
        (
            {"host": "email-smtp.eu-west-1.amazonaws.com"},
            [
                "email-smtp.eu-west-1.amazonaws.com:465 (implicit)",
                "email-smtp.eu-west-1.amazonaws.com:587 (starttls)",
            ],
        ),
    ],
)
def test_what_the_owner_says_comes_first(given, endpoints):
    assert told(account_of("me@gmail.com", PROVIDERS, **given)) == endpoints


def test_a_user_name_is_what_the_provider_wants():
    sendgrid = account_of("me@example.com", PROVIDERS, host="smtp.sendgrid.net")
    assert sendgrid.usernames == ("apikey",)
    mailgun = account_of("me@example.com", PROVIDERS, host="smtp.mailgun.org")
    assert mailgun.usernames[0] == "postmaster@example.com"
    ses = account_of("me@example.com", PROVIDERS, host="email-smtp.eu-west-1.amazonaws.com")
    assert ses.usernames == ()  # it has to be asked for


def test_hints_say_what_the_provider_wants_first():
    gmail = account_of("me@gmail.com", PROVIDERS)
    assert any("2-Step Verification" in hint for hint in gmail.hints)
    assert any("app password" in hint for hint in gmail.hints)
    tuta = account_of("me@tuta.com", PROVIDERS)
    assert tuta.endpoints == ()
    assert "has no server" in tuta.hints[0]


def test_every_provider_gives_an_account():
    for name, provider in PROVIDERS.all.items():
        for domain in provider.get("domains", ())[:2]:
            account = account_of(f"me@{domain}", PROVIDERS)
            assert account.provider is not None, name
            assert all("{" not in each.host for each in account.endpoints), name


def test_the_providers_name_that_the_owner_says_comes_before_the_domain():
    account = account_of("me@example.com", PROVIDERS, provider="fastmail")
    assert account.provider == "fastmail"
    assert told(account)[0].startswith("smtp.fastmail.com:")

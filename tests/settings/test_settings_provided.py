"""What is known of providers, and what was connected, in the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.channels.options import Security, UnconnectedOptions
from relay.connect.kept import Kept, write
from relay.settings.loader import load
from relay.settings.mistakes import SettingsError
from relay.settings.values import ChannelSettings, Settings
from tests.making import NOON


def settings_of(folder: Path, channels: str) -> Settings:
    path = folder / "relay.yaml"
    path.write_text(f"state_dir: {folder}\nchannels:\n{channels}")
    return load(path, {})


def direct(folder: Path, host: str, more: str = "", smtp: str = "") -> ChannelSettings:
    channel = f"  direct: {{smtp: {{host: {host}{smtp}}}{more}}}\n"
    return settings_of(folder, channel).channels["direct"]


def names(channel: ChannelSettings) -> list[str]:
    return [limit.name for limit in channel.limits]


@pytest.mark.parametrize(
    ("host", "more", "expected"),
    [
        ("smtp.gmail.com", "", ["450 messages per 24h"]),
        ("smtp.gmail.com", ", headroom: 100%", ["500 messages per 24h"]),
        ("smtp.gmail.com", ", limits: [{messages: 600, per: 1h}]", ["600 messages per 1h"]),
        ("smtp.gmail.com", ", limits: []", []),
        ("mail.example.com", "", []),
        ("mail.example.com", ", provider: gmail", ["450 messages per 24h"]),
        (
            "smtp.gmail.com",
            ", provider: google-workspace, tier: paid",
            ["1800 messages per 24h", "2700 recipients per 24h"],
        ),
        ("smtp.fastmail.com", "", []),
    ],
)
def test_limits_are_the_providers_unless_the_owner_gave_some(tmp_path, host, more, expected):
    assert names(direct(tmp_path, host, more)) == expected


def test_connections_and_sizes_are_what_the_provider_takes(tmp_path):
    channel = direct(tmp_path, "smtp.office365.com")
    assert channel.connections == channel.options.connections == 3
    assert channel.options.max_content_bytes == 36700160
    assert direct(tmp_path, "smtp.office365.com", ", connections: 9").connections == 9
    assert direct(tmp_path, "smtp.office365.com", ", max_recipients: 900").max_recipients == 900
    assert direct(tmp_path, "smtp.office365.com").max_recipients == 100


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (", provider: google", "did you mean gmail or google-workspace or google-workspace-relay?"),
        (", provider: nobody", "unknown provider 'nobody': relay/providers has the list"),
        (", provider: gmail, tier: gold", "unknown tier 'gold' of gmail: it has none"),
        (", provider: ses, tier: sandbx", "unknown tier 'sandbx' of ses: did you mean sandbox?"),
        (", tier: paid", "tier: expected a provider beside it, got none that is known"),
        (", headroom: 0%", "headroom: expected a percentage such as 90%, 1% to 100%, got '0%'"),
        (", headroom: 90", "headroom: expected a percentage such as 90%, 1% to 100%, got 90"),
    ],
)
def test_what_is_not_known_is_a_mistake(tmp_path, more, expected):
    with pytest.raises(SettingsError) as caught:
        direct(tmp_path, "mail.example.com", more)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("smtp.gmail.com", "smtp.gmail.com", "both use Gmail"),
        ("smtp.gmail.com, port: 465", "gmail-smtp-in.l.google.com", None),
        ("mail.example.com", "mail.example.com", "both use the server mail.example.com"),
        ("mail.example.com", "smtp.example.com", None),
        ("localhost, port: 25", "localhost, port: 26", None),
        ("localhost, port: 25", "localhost, port: 25", "both use the server localhost"),
    ],
)
def test_channels_that_fail_together_are_pointed_out(tmp_path, one, other, expected):
    channels = f"  direct: {{smtp: {{host: {one}}}}}\n  native: {{smtp: {{host: {other}}}}}\n"
    warnings = settings_of(tmp_path, channels).warnings
    if expected is None:
        assert not any("not independent" in each and "server" in each for each in warnings)
    else:
        assert any(f"channels.native: not independent of direct: {expected}" in w for w in warnings)


def test_one_account_for_two_channels_is_pointed_out(tmp_path):
    smtp = "host: smtp.gmail.com, username: me@example.com, password: {env: PW}"
    channels = f"  direct: {{smtp: {{{smtp}}}}}\n  native: {{smtp: {{{smtp}, port: 465}}}}\n"
    warnings = settings_of(tmp_path, channels).warnings
    assert any("both use the account me@example.com" in each for each in warnings)


def kept(host: str) -> Kept:
    return Kept(
        host=host,
        port=465,
        security=Security.IMPLICIT,
        username="me@example.org",
        password="s3cret",
        connected_at=NOON,
    )


def test_what_was_connected_stands_above_the_file(tmp_path):
    write(tmp_path, "direct", kept("smtp.gmail.com"))
    channel = direct(tmp_path, "smtp.office365.com", ", provider: microsoft365", ", hello: here")
    options = channel.options
    assert (options.host, options.port, options.security) == ("smtp.gmail.com", 465, "implicit")
    assert (options.username, options.password()) == ("me@example.org", "s3cret")
    assert options.hello == "here"
    assert channel.connected_at == NOON
    assert names(channel) == ["450 messages per 24h", "2700 recipients per 24h"]
    assert channel.published.provider == "google-workspace"


def test_the_word_on_certificates_stays_with_its_server(tmp_path):
    lax = ", certificate_checks: off_others_may_read_mail_and_password"
    write(tmp_path, "direct", kept("old.example.com"))
    assert not direct(tmp_path, "old.example.com", smtp=lax).options.verify
    assert direct(tmp_path, "other.example.com", smtp=lax).options.verify


def test_a_rehearsal_uses_no_connection(tmp_path):
    write(tmp_path, "direct", kept("smtp.gmail.com"))
    path = tmp_path / "relay.yaml"
    path.write_text(
        f"state_dir: {tmp_path}\nrehearsal: true\nchannels: {{direct: {{smtp: {{host: a.b}}}}}}\n"
    )
    assert load(path, {}).channels["direct"].connected_at is None


@pytest.mark.parametrize(
    ("smtp", "expected"),
    [
        (", senders: [a@b.c]", "expected a rewrite_from beside it"),
        (", rewrite_from: a@b.c", "expected senders beside it, got none"),
        (", senders: [nobody]", "expected an address such as ann@example.com, or *@example.com"),
    ],
)
def test_who_may_send_needs_an_address_to_send_as(tmp_path, smtp, expected):
    with pytest.raises(SettingsError) as caught:
        direct(tmp_path, "mail.example.com", smtp=smtp)
    assert expected in str(caught.value)


def test_who_may_send_is_compared_in_lower_case(tmp_path):
    smtp = ", senders: '*@Mine.Example', rewrite_from: Me@mine.example"
    options = direct(tmp_path, "mail.example.com", smtp=smtp).options
    assert options.senders == ("*@mine.example",)
    assert options.rewrite_from == "Me@mine.example"


MS = "provider: microsoft, client_id: abc"


@pytest.mark.parametrize(
    ("oauth2", "token_url", "scopes"),
    [
        (
            "provider: google, client_id: abc, client_secret: {env: S}",
            "https://oauth2.googleapis.com/token",
            ("https://mail.google.com/",),
        ),
        (
            MS,
            "https://login.microsoftonline.com/common/oauth2/v2.0/token",
            ("https://outlook.office.com/SMTP.Send", "offline_access"),
        ),
        (
            f"{MS}, tenant: example.com, flow: client_credentials, client_secret: {{env: S}}",
            "https://login.microsoftonline.com/example.com/oauth2/v2.0/token",
            ("https://outlook.office365.com/.default",),
        ),
        (
            (
                "provider: other, client_id: a, token_url: 'https://a.b/t', device_url: 'https://a.b/d',"
                " flow: device, scopes: smtp"
            ),
            "https://a.b/t",
            ("smtp",),
        ),
    ],
)
def test_a_client_of_the_owner_is_known(tmp_path, oauth2, token_url, scopes):
    smtp = f", username: me@example.com, oauth2: {{{oauth2}}}"
    channel = direct(tmp_path, "mail.example.com", smtp=smtp)
    registration = channel.grant.registration
    assert (registration.token_url, registration.scopes) == (token_url, scopes)
    assert channel.grant.state_dir == tmp_path
    # what was connected by a password stands above it
    write(tmp_path, "direct", kept("smtp.gmail.com"))
    assert direct(tmp_path, "mail.example.com", smtp=smtp).grant is None


@pytest.mark.parametrize(
    ("smtp", "expected"),
    [
        (f", oauth2: {{{MS}}}", "expected a username beside it, got none"),
        (
            f", username: a, password: {{env: P}}, oauth2: {{{MS}}}",
            "expected it or oauth2, got both",
        ),
        (
            ", username: a, oauth2: {provider: google, client_id: a, flow: device}",
            "expected browser, as Google gives the right to mail to no other, got device",
        ),
        (
            f", username: a, oauth2: {{{MS}, flow: client_credentials}}",
            "expected a client_secret beside client_credentials, got none",
        ),
        (
            f", username: a, oauth2: {{{MS}, token_url: 'https://a.b/'}}",
            "expected `provider: other` beside it, got microsoft",
        ),
        (
            ", username: a, oauth2: {provider: other, client_id: a}",
            "expected authorize_url beside other, got none",
        ),
        (
            ", username: a, oauth2: {provider: other, client_id: a, token_url: 'http://a.b/'}",
            "expected an address that begins with https://",
        ),
        (", username: a, oauth2: {provider: microsoft}", "oauth2.client_id"),
    ],
)
def test_a_client_that_cannot_work_is_a_mistake(tmp_path, smtp, expected):
    with pytest.raises(SettingsError) as caught:
        direct(tmp_path, "mail.example.com", smtp=smtp)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "smtp", ["", "smtp: {}", "smtp: {senders: a@b.c, username: me@example.org}"]
)
def test_a_channel_of_which_nothing_is_said_waits_to_be_connected(tmp_path, smtp):
    written = f"  direct: {{{smtp}}}\n  native: {{folder: {{path: /}}}}\n"
    settings = settings_of(tmp_path, written)
    assert isinstance(settings.channels["direct"].options, UnconnectedOptions)
    (warning,) = settings.warnings
    assert "direct: not connected to an account yet: run `relay connect direct`" in warning
    write(tmp_path, "direct", kept("smtp.gmail.com"))
    settings = settings_of(tmp_path, written)
    options = settings.channels["direct"].options
    assert (options.host, options.verify, options.password()) == ("smtp.gmail.com", True, "s3cret")
    assert options.senders == (("a@b.c",) if "senders" in smtp else ())
    assert settings.warnings == ()
    assert settings.channels["direct"].published.provider == "google-workspace"


def test_the_provider_that_was_said_holds_before_and_after(tmp_path):
    written = "  direct: {provider: google-workspace, tier: paid}\n"
    for _ in range(2):
        channel = settings_of(tmp_path, written).channels["direct"]
        assert names(channel) == ["1800 messages per 24h", "2700 recipients per 24h"]
        write(tmp_path, "direct", kept("smtp.gmail.com"))

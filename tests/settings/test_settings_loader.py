"""What the owner wrote arrives in the rooms as values."""

from __future__ import annotations

import socket
import subprocess
import sys
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from relay.channels.options import FolderOptions, Security, SendmailOptions, SmtpOptions
from relay.listener.options import Auth, ListenerOptions, Tls
from relay.policy.kinds import Kind
from relay.policy.limits import Limit, Unit
from relay.policy.phrases import OWN_WEIGHT, Concept, Phrase
from relay.policy.retry import Schedule
from relay.policy.rules import Condition, Glob, KindRule, Rule
from relay.settings.loader import load, rehearsal_settings
from relay.settings.mistakes import SettingsError
from relay.settings.place import SYSTEM_FILE, find, state_dir
from relay.settings.secret import CredentialSecret, EnvSecret, FileSecret
from relay.settings.values import ChannelSettings, LogFormat, LogLevel, Settings
from relay.web.options import HttpOptions

EXAMPLE = """\
state_dir: /var/lib/relay
listeners:
  - address: 127.0.0.1:2525
http:
  address: 127.0.0.1:8025
channels:
  direct:
    smtp: {host: smtp.example.com, port: 587, security: starttls, username: me@example.com, \
password: {file: /etc/relay/direct.password}}
    connections: 5
    limits:
      - {messages: 1, per: 1s}
      - {recipients: 500, per: 24h}
  native:
    sendmail: {command: [/usr/sbin/sendmail, -i]}
routing:
  only_use_for_direct_emails: true
  rules:
    - when: {sender: "*@billing.example.com"}
      via: [native, direct]
retry:
  waits: [1m, 5m, 15m, 30m, 1h]
  give_up_after: 5d
  in_doubt_wait: 30m
"""
SIGN_IN = "username: u, password: {env: X}"
NATIVE = "channels: {native: {folder: {path: /x}}}\n"


def settings_of(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> Settings:
    path = tmp_path / "relay.yaml"
    path.write_text(text)
    return load(path, env or {})


def test_the_example_arrives_whole(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, EXAMPLE)
    hostname = socket.gethostname()
    assert settings.state_dir == Path("/var/lib/relay")
    assert not settings.rehearsal
    assert settings.listeners == (
        ListenerOptions(address="127.0.0.1:2525", host="127.0.0.1", port=2525, hostname=hostname),
    )
    assert settings.http == HttpOptions(
        address="127.0.0.1:8025",
        host="127.0.0.1",
        port=8025,
        allowed_hosts=("localhost", "127.0.0.1", "[::1]"),
    )
    assert list(settings.channels) == ["direct", "native"]
    assert settings.channels["direct"] == ChannelSettings(
        name="direct",
        options=SmtpOptions(
            host="smtp.example.com",
            port=587,
            security=Security.STARTTLS,
            username="me@example.com",
            password=FileSecret("/etc/relay/direct.password"),
        ),
        connections=5,
        limits=(
            Limit(Unit.MESSAGES, 1, timedelta(seconds=1)),
            Limit(Unit.RECIPIENTS, 500, timedelta(hours=24), reserve=50),
        ),
        max_recipients=100,
        max_message_bytes=None,
        provider=None,
    )
    assert settings.channels["native"].options == SendmailOptions(
        command=("/usr/sbin/sendmail", "-i")
    )
    assert settings.routing.only_use_for_direct_emails
    assert settings.routing.rules == (
        Rule(
            name="rule 1 (relay.yaml:18)",
            when=Condition(sender=(Glob("*@billing.example.com"),)),
            via=("native", "direct"),
        ),
    )
    assert settings.retry == Schedule(
        waits=tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60)),
        give_up_after=timedelta(days=5),
        in_doubt_wait=timedelta(minutes=30),
        delay_notice_after=timedelta(hours=4),
    )
    assert settings.reports.address == f"postmaster@{hostname}"
    assert settings.history.keep == timedelta(days=30)
    assert settings.history.keep_content == timedelta()
    assert (settings.log.level, settings.log.format) == (LogLevel.INFO, LogFormat.TEXT)
    assert settings.drain == timedelta(seconds=30)


def test_the_same_file_gives_equal_settings(tmp_path: Path) -> None:
    assert settings_of(tmp_path, EXAMPLE) == settings_of(tmp_path, EXAMPLE)
    changed = EXAMPLE.replace("direct.password", "other.password")
    assert settings_of(tmp_path, EXAMPLE) != settings_of(tmp_path, changed)


def test_defaults_hold_for_what_is_not_written(tmp_path: Path) -> None:
    short = settings_of(tmp_path, EXAMPLE)
    least = settings_of(tmp_path, NATIVE)
    for name in ("state_dir", "listeners", "http", "retry", "reports", "history", "log", "drain"):
        assert getattr(least, name) == getattr(short, name)


def test_what_the_owner_says_of_kinds(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        """\
listeners:
  - {address: 127.0.0.1:25, trust_kind_field: true}
  - address: 127.0.0.1:26
    auth: required
    applications:
      - {login: shop, password: {env: S}, kind: invoice}
      - {login: blog, password: {env: B}, trust_kind_field: true}
classification:
  rules:
    - {when: {sender: a@b.example}, kind: quote}
    - {name: minutes, when: {header: {Subject: Minutes*}}, kind: direct}
  phrases:
    de: {invoice: "Akonto*, beleg =0.5", trap: [Akontoplan]}
    any: {marketing: Wine of the month}
"""
        + NATIVE,
    )
    said = settings.classification
    assert said.guide.trusted == {"127.0.0.1:25", "blog"}
    assert said.guide.application_kinds == {"shop": Kind.INVOICE}
    assert said.rules == (
        KindRule(
            name="classification rule 1 (relay.yaml:10)",
            when=Condition(sender=(Glob("a@b.example"),)),
            kind=Kind.QUOTE,
        ),
        KindRule(
            name="minutes",
            when=Condition(header=(("subject", (Glob("Minutes*"),)),)),
            kind=Kind.DIRECT,
        ),
    )
    assert said.guide.phrases == (
        Phrase("Akonto*", Concept.INVOICE, "de", OWN_WEIGHT),
        Phrase("beleg", Concept.INVOICE, "de", 0.5),
        Phrase("Akontoplan", Concept.TRAP, "de", OWN_WEIGHT),
        Phrase("Wine of the month", Concept.PROMOTION, "", OWN_WEIGHT),
    )


def test_a_listener_for_the_network(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        """\
hostname: mail.example.com
listeners:
  - address: "[::1]:25"
  - address: 192.0.2.1:587
    tls: starttls
    certificate: /c
    key: /k
    auth: required
    applications:
      - {login: shop, password: {env: SHOP}}
      - {login: blog, password: {credential: blog}}
    networks: [192.0.2.0/24, "2001:db8::/32", 198.51.100.7]
    max_message_size: 1MB
    max_recipients: 100
    max_connections: 1
    max_hops: 10
    idle_timeout: 1500ms
    transaction_timeout: 2m
"""
        + NATIVE,
        env := {"SHOP": "x", "CREDENTIALS_DIRECTORY": str(tmp_path)},
    )
    inner, outer = settings.listeners
    assert (inner.address, inner.host, inner.port) == ("[::1]:25", "::1", 25)
    assert (outer.tls, outer.auth) == (Tls.STARTTLS, Auth.REQUIRED)
    assert (outer.certificate, outer.key, outer.hostname) == ("/c", "/k", "mail.example.com")
    assert [(app.login, app.password) for app in outer.applications] == [
        ("shop", EnvSecret("SHOP", env)),
        ("blog", CredentialSecret("blog", env)),
    ]
    assert outer.networks == tuple(
        map(ip_network, ("192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32"))
    )
    assert (outer.max_message_bytes, outer.max_recipients) == (1_000_000, 100)
    assert (outer.max_connections, outer.max_hops) == (1, 10)
    assert (outer.idle_seconds, outer.transaction_seconds) == (1.5, 120.0)
    assert [warning.split(": ", 1)[1] for warning in settings.warnings] == [
        "listeners[1].certificate: /c cannot be read now",
        "listeners[1].key: /k cannot be read now",
        f"listeners[1].applications[1].password: {CredentialSecret('blog', env).warning()}",
    ]


@pytest.mark.parametrize(
    ("http", "expected"),
    [
        ("{address: 'localhost:80'}", ("127.0.0.1", 80, ())),
        ("{address: '127.0.0.2:80'}", ("127.0.0.2", 80, ("127.0.0.2",))),
        (
            "{address: '[::1]:80', allowed_hosts: [A.example, '::2']}",
            ("::1", 80, ("a.example", "[::2]")),
        ),
        ("{address: '0.0.0.0:80', behind_proxy: true}", ("0.0.0.0", 80, ())),
        ("{allowed_hosts: [localhost]}", ("127.0.0.1", 8025, ())),
    ],
)
def test_http_answers_to_names_that_are_given(
    tmp_path: Path, http: str, expected: tuple[str, int, tuple[str, ...]]
) -> None:
    options = settings_of(tmp_path, f"http: {http}\n{NATIVE}").http
    assert options is not None
    assert (options.host, options.port) == expected[:2]
    assert options.allowed_hosts == ("localhost", "127.0.0.1", "[::1]", *expected[2])


def test_http_can_be_switched_off(tmp_path: Path) -> None:
    assert settings_of(tmp_path, f"http: null\n{NATIVE}").http is None


@pytest.mark.parametrize(
    ("smtp", "port", "verify"),
    [
        ("host: smtp.example.com", 587, True),
        ("host: smtp.example.com, security: implicit", 465, True),
        ("host: smtp.example.com, security: none", 25, True),
        ("host: smtp.example.com, security: implicit, port: 2465", 2465, True),
        ("host: localhost", 587, False),
        ("host: relay.localhost", 587, False),
        ("host: 127.8.9.1", 587, False),
        ("host: '::1'", 587, False),
        ("host: 127.0.0.1.example.com", 587, True),
        ("host: localhost, certificate_checks: on", 587, True),
        ("host: localhost, certificate_checks: off", 587, False),
        ("host: h.example, certificate_checks: off_others_may_read_mail_and_password", 587, False),
        (
            f"host: h, security: none, {SIGN_IN}, allow_unencrypted_password: true",
            25,
            True,
        ),
        ("host: localhost, security: none, " + SIGN_IN, 25, False),
    ],
)
def test_upstreams_are_checked_unless_they_are_this_machine(
    tmp_path: Path, smtp: str, port: int, verify: bool
) -> None:
    options = (
        settings_of(tmp_path, f"channels: {{direct: {{smtp: {{{smtp}}}}}}}")
        .channels["direct"]
        .options
    )
    assert isinstance(options, SmtpOptions)
    assert (options.port, options.verify) == (port, verify)


def test_a_channel_says_hello_with_the_name_of_the_owner(tmp_path: Path) -> None:
    text = (
        "channels: {direct: {connections: 7, smtp: {host: a, hello: o}}, native: {smtp: {host: b}}}"
    )
    settings = settings_of(tmp_path, f"hostname: mail.example.com\n{text}")
    hellos = [
        (channel.options.hello, channel.options.connections)
        for channel in settings.channels.values()
        if isinstance(channel.options, SmtpOptions)
    ]
    assert hellos == [("o", 7), ("mail.example.com", 5)]


def test_rules_say_what_the_owner_means(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        NATIVE
        + """\
listeners:
  - {address: "127.0.0.1:25", auth: optional, applications: [{login: shop, password: {env: X}}]}
routing:
  only_use_for_direct_emails: false
  rules:
    - name: tests
      when:
        kind: invoice
        sender: ["*@a.example", "<>"]
        recipient: "*@b.example"
        header: {X-App: [a, b], Subject: "Test*"}
        application: shop
        listener: 127.0.0.1:25
        larger_than: 1KiB
        smaller_than: 1MB
      hold: true
      redirect: me@example.com
      via: native
    - {when: {}, hold: it is Friday}
    - {when: {kind: [sms, report]}, refuse: no}
""",
    )
    first, second, third = settings.routing.rules
    assert not settings.routing.only_use_for_direct_emails
    assert first == Rule(
        name="tests",
        when=Condition(
            kinds=frozenset({Kind.INVOICE}),
            sender=(Glob("*@a.example"), Glob("<>")),
            recipient=(Glob("*@b.example"),),
            header=(("x-app", (Glob("a"), Glob("b"))), ("subject", (Glob("Test*"),))),
            applications=frozenset({"shop"}),
            listeners=frozenset({"127.0.0.1:25"}),
            larger_than=1024,
            smaller_than=1_000_000,
        ),
        via=("native",),
        hold="held by a rule",
        redirect="me@example.com",
    )
    assert second == Rule(name="rule 2 (relay.yaml:20)", when=Condition(), hold="it is Friday")
    assert third.when.kinds == {Kind.SMS, Kind.REPORT}
    assert third.refuse == "no"


def test_a_notice_of_delay_can_be_switched_off(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, f"retry: {{delay_notice_after: null}}\n{NATIVE}")
    assert settings.retry.delay_notice_after is None


def test_the_owner_says_by_kind_what_is_done_in_doubt(tmp_path: Path) -> None:
    said = "retry: {in_doubt: {marketing: hold, sms: hold, invoice: again}}\n"
    settings = settings_of(tmp_path, said + NATIVE)
    assert settings.retry.held_in_doubt == {Kind.MARKETING, Kind.SMS}
    assert settings_of(tmp_path, NATIVE).retry.held_in_doubt == frozenset()


def test_without_a_file_it_is_a_rehearsal_in_the_users_own_folder() -> None:
    settings = rehearsal_settings({"HOME": "/home/ann"})
    state = "/home/ann/.local/state/relay"
    assert settings.rehearsal
    assert settings.source == "rehearsal"
    assert settings.state_dir == Path(state)
    assert [listener.address for listener in settings.listeners] == ["127.0.0.1:2525"]
    assert settings.http is not None
    assert settings.http.address == "127.0.0.1:8025"
    assert {name: channel.options for name, channel in settings.channels.items()} == {
        "direct": FolderOptions(path=f"{state}/rehearsal/direct"),
        "native": FolderOptions(path=f"{state}/rehearsal/native"),
    }
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/relay"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/relay"),
        ({}, f"{Path.home()}/.local/state/relay"),
    ],
)
def test_state_is_where_the_desktop_keeps_it(env: dict[str, str], expected: str) -> None:
    assert str(rehearsal_settings(env).state_dir) == expected


def test_a_file_can_be_rehearsed(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, f"rehearsal: true\n{EXAMPLE}")
    options = {name: channel.options for name, channel in settings.channels.items()}
    assert settings.rehearsal
    assert options == {
        "direct": FolderOptions(path="/var/lib/relay/rehearsal/direct"),
        "native": FolderOptions(path="/var/lib/relay/rehearsal/native"),
    }
    assert len(settings.channels["direct"].limits) == 2  # they hold as they would
    assert settings.warnings == ()  # no password is needed


def test_the_file_is_searched_in_order(tmp_path: Path) -> None:
    system = tmp_path / "etc.yaml"
    assert find({}, system) is None
    system.write_text(NATIVE)
    assert find({}, system) == system
    assert find({"RELAY_CONFIG": "/mine.yaml"}, system) == Path("/mine.yaml")
    assert find({"RELAY_CONFIG": ""}, system) == system
    assert load(None, {"RELAY_CONFIG": str(system)}).source == str(system)


@pytest.mark.parametrize(
    "text", [EXAMPLE, NATIVE, f"state_dir: /elsewhere\n{NATIVE}", f"rehearsal: true\n{NATIVE}"]
)
def test_the_state_is_found_without_all_of_the_settings(tmp_path: Path, text: str) -> None:
    settings = settings_of(tmp_path, text)
    assert state_dir(tmp_path / "relay.yaml", {}) == settings.state_dir
    assert state_dir(None, {"RELAY_CONFIG": settings.source}) == settings.state_dir


def test_the_state_is_found_in_spite_of_other_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text("state_dir: /elsewhere\nzebra: 1\n")
    assert state_dir(path, {}) == Path("/elsewhere")
    path.write_text("state_dir: [1]\n")
    with pytest.raises(SettingsError, match="1: state_dir: expected an absolute path"):
        state_dir(path, {})


@pytest.mark.skipif(SYSTEM_FILE.exists(), reason="this machine has settings")
def test_without_any_file_the_state_is_that_of_the_rehearsal() -> None:
    env = {"HOME": "/home/ann"}
    assert state_dir(None, env) == rehearsal_settings(env).state_dir


@pytest.mark.skipif(SYSTEM_FILE.exists(), reason="this machine has settings")
def test_without_any_file_nothing_leaves_the_machine() -> None:
    assert load(None, {"HOME": "/home/ann"}) == rehearsal_settings({"HOME": "/home/ann"})


def test_a_sign_in_without_encryption_is_worth_a_warning(tmp_path: Path) -> None:
    text = (
        "{address: '192.0.2.1:25', auth: required, applications: [{login: a, password: {env: A}}]}"
    )
    (warning,) = settings_of(tmp_path, f"listeners: [{text}]\n{NATIVE}", {"A": "x"}).warnings
    assert warning.endswith(
        "relay.yaml:1: listeners[0].auth: passwords cross the network unencrypted: set `tls`"
    )


def test_programs_and_authorities_that_are_not_there_are_worth_a_warning(tmp_path: Path) -> None:
    text = "{direct: {smtp: {host: a, ca_file: /none.pem}}, native: {sendmail: {command: /none}}}"
    assert [
        warning.split(":1: ")[1] for warning in settings_of(tmp_path, f"channels: {text}").warnings
    ] == [
        "channels.direct.smtp.ca_file: /none.pem cannot be read now",
        "channels.native.sendmail.command: /none is not a program that can be run now",
    ]


def test_the_parser_knows_only_what_a_settings_file_needs(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        'reports: {name: "on"}\nrouting: {rules: [{when: {}, refuse: no}]}\n'
        "listeners: [{address: 127.0.0.1:25, auth: off}]\n" + NATIVE,
    )
    assert settings.routing.rules[0].refuse == "no"
    assert settings.listeners[0].auth is Auth.OFF


def test_loading_brings_nothing_but_yaml_and_pydantic() -> None:
    code = (
        "import sys; import relay.settings.loader;"
        "print([m for m in ('aiosmtpd', 'aiosmtplib', 'starlette', 'uvicorn', 'typer', 'rich',"
        " 'prometheus_client', 'sqlite3', 'asyncio', 'pypdfium2') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"

"""`relay connect` against scripted servers."""

from __future__ import annotations

import json
import os
import pty
import ssl
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from commanding import Terminal
from small_house import NOON, SmallHouse, control_of
from upstream import Upstream

from relay.policy.health import Open, Paused
from tests.connect.authorization import SECRET, Authorization, authorization

Live = Callable[[AbstractAsyncContextManager[Any]], Any]
CERTIFICATES = Path(__file__).parents[1] / "certificates"
ME = "me@example.com"
ACCOUNT = {ME: "old"}
PAUSED = Paused(
    entry="auth.wrong-password",
    category="auth",
    cause="The password is wrong.",
    fix="Connect it again.",
    reply="535 5.7.8 no",
    since=NOON,
    until=NOON,
    failures=1,
)


def settings(relay: Terminal, port: int, more: str = "") -> None:
    relay.environ["PW"] = "old"
    relay.write_settings(f"""\
state_dir: {relay.folder}/state/relay
channels:
  direct:
    smtp:
      {{host: localhost, port: {port}, security: none, username: {ME}, password: {{env: PW}}{more}}}
  native:
    sendmail: {{command: [/bin/true]}}
""")


@pytest.fixture
def upstream(live: Live, relay: Terminal) -> Upstream:
    """Give a server on which the password was changed to `new`."""
    server: Upstream = live(Upstream(accounts={ME: "new"}))
    settings(relay, server.port)
    return server


def test_the_password_has_changed_and_the_new_one_is_kept(relay: Terminal, upstream: Upstream):
    said = relay("connect", "direct", "--check")
    assert said.code == 23
    assert "FAILED" in said.out
    assert "  said   535 5.7.8 Username and Password not accepted" in said.out
    assert "  why    " in said.out

    said = relay("connect", "direct", "--password-file", "-", stdin="new\n")
    assert said.code == 0, said.out + said.err
    assert "new" not in said.out.replace("newer", "")
    assert "no relay is running: the next one uses it" in said.out
    assert "Not tested: " in said.out
    kept = relay.folder / "state" / "relay" / "connections" / "direct.json"
    assert json.loads(kept.read_text())["password"] == "new"
    assert relay("connect", "direct", "--check").code == 0
    assert "direct was connected by `relay connect`" in relay("check").out

    said = relay("connect", "direct", "--forget")
    assert (said.code, kept.exists()) == (0, False)
    assert relay("connect", "direct", "--check").code == 23
    assert relay("connect", "direct", "--forget").code == 1


def test_a_wrong_password_replaces_nothing(relay: Terminal, upstream: Upstream):
    assert relay("connect", "direct", "--password-file", "-", stdin="new\n").code == 0
    kept = relay.folder / "state" / "relay" / "connections" / "direct.json"
    before = kept.read_bytes()
    relay.environ["GUESS"] = "wrong"
    upstream.commands.clear()
    said = relay("connect", "direct", "--password-env", "GUESS", "--yes")
    assert said.code == 23
    assert kept.read_bytes() == before
    assert upstream.verbs().count("AUTH") == 2  # and once more by the other form of the name
    assert upstream.transactions == []


def test_scripts_read_json(relay: Terminal, upstream: Upstream):
    answer = relay("connect", "direct", "--check", "--json")
    assert answer.code == answer.json["exit"] == 23
    (tried,) = answer.json["tried"]
    assert not answer.json["ok"]
    assert tried["failure"]["category"] == "auth"
    assert [stage["name"] for stage in tried["stages"]] == [
        "DNS",
        "TCP",
        "greeting",
        "EHLO",
        "AUTH",
    ]
    answer = relay("connect", "direct", "--password-file", "-", "--json", stdin="new\n")
    assert answer.json["ok"]
    assert answer.json["kept"]["path"].endswith("/connections/direct.json")


@pytest.mark.parametrize(
    ("script", "words", "code"),
    [
        ({"mail": "553 5.7.1 sender address rejected: not owned by user"}, (), 24),
        ({"rcpt": "550 5.1.1 no such user"}, (), 25),
        ({"mail": "550 5.4.5 Daily user sending limit exceeded"}, (), 26),
        ({"dot": "554 5.7.1 spam message rejected"}, ("--send",), 27),
        ({"greeting": "554 5.7.1 go away"}, (), 21),
        ({}, ("--send",), 0),
    ],
)
def test_the_exit_code_says_what_failed(relay, live, script, words, code):
    server = live(Upstream(script, accounts=ACCOUNT))
    settings(relay, server.port)
    said = relay("connect", "direct", "--check", *words)
    assert said.code == code, said.out
    assert len(server.messages) == (1 if words and not code else 0)


def test_nobody_listens(relay: Terminal):
    settings(relay, 1)
    assert relay("connect", "direct", "--check").code == 21


def test_what_works_instead_is_offered_and_taken_when_told_so(relay: Terminal, live: Live):
    """The user name is the address, says the owner; the server knows it by its local part."""
    server = live(Upstream(accounts={"me": "new"}))
    settings(relay, server.port)
    words = ("connect", "direct", "--password-file", "-", "--from", ME)
    said = relay(*words, stdin="new\n")
    assert said.code == 23
    assert f"localhost:{server.port} (none) as me works: say --yes to use it." in said.out
    kept = relay.folder / "state" / "relay" / "connections" / "direct.json"
    assert not kept.exists()
    assert relay(*words, "--yes", stdin="new\n").code == 0
    assert json.loads(kept.read_text())["username"] == "me"


def test_another_server_is_named_and_its_certificate_is_checked(relay: Terminal, live: Live):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "localhost.pem")
    server = live(Upstream(accounts={ME: "new"}, tls=context))
    ca = f", ca_file: {CERTIFICATES}/ca.pem, certificate_checks: on"
    settings(relay, 1, ca)
    where = ("--host", "localhost", "--port", str(server.port), "--security", "starttls")
    said = relay("connect", "direct", ME, *where, "--password-file", "-", stdin="new\n")
    assert said.code == 0, said.out
    assert "certificate of localhost" in said.out
    settings(relay, 1, ", certificate_checks: on")  # an authority that is not known
    relay("connect", "direct", "--forget")
    said = relay("connect", "direct", ME, *where, "--password-file", "-", stdin="new\n")
    assert said.code == 22
    assert "certificate verify failed" in said.out
    why = next(line for line in said.out.splitlines() if line.startswith("  why "))
    assert "It shows a certificate of localhost, issued by relay test CA for localhost, " in why


def test_a_running_relay_takes_it_at_once(relay: Terminal, live: Live, upstream: Upstream):
    house = SmallHouse(health=PAUSED)
    folder = relay.folder / "state" / "relay"
    folder.mkdir(parents=True)
    live(control_of(house, folder))
    said = relay("connect", "direct", "--password-file", "-", stdin="new\n")
    assert "the running relay uses it, and direct sends" in said.out
    assert [act[0] for act in house.acts] == ["reload"]
    assert house.health == Open()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("connect", "drect"), 1, "There is no channel 'drect'."),
        (("connect", "native"), 1, "native is not an SMTP channel."),
        (("connect", "direct"), 2, "--password-file"),
        (("connect", "direct", "--security", "tls"), 2, "expected implicit, starttls, none"),
        (("connect", "direct", "nowhere"), 2, "expected an e-mail address"),
        (("connect", "direct", "--password-env", "A", "--password-file", "-"), 2, "not both"),
        (("connect", "direct", "--password-env", "NOT_SET"), 1, "The password is empty."),
        (("connect", "direct", "--password-file", "/no/such"), 1, "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_tried(relay, words, code, told):
    settings(relay, 1)
    said = relay(*words)
    assert said.code == code
    assert told in " ".join(said.err.replace("│", " ").split())


def test_a_rehearsal_that_the_settings_ask_for_connects_to_nobody(relay: Terminal):
    relay.write_settings("rehearsal: true\nchannels: {direct: {}}\n")
    said = relay("connect", "direct")
    assert said.code == 1
    assert "This relay rehearses" in said.err


def test_a_kept_connection_that_is_broken_is_a_warning(relay: Terminal, upstream: Upstream):
    assert relay("connect", "direct", "--password-file", "-", stdin="new\n").code == 0
    kept = relay.folder / "state" / "relay" / "connections" / "direct.json"
    kept.write_text("{")
    said = relay("check")
    assert said.code == 0
    assert "warning: channels.direct: " in said.out
    assert "connect the channel again" in said.out


def by_token(relay: Terminal, port: int, server: Authorization, flow: str) -> None:
    oauth2 = f"""\
        provider: other
        client_id: relay
        client_secret: {{env: CLIENT_SECRET}}
        flow: {flow}
        authorize_url: {server.url}/authorize
        token_url: {server.url}/token
        device_url: {server.url}/device
        scopes: smtp
"""
    relay.environ["CLIENT_SECRET"] = SECRET
    (relay.folder / "state" / "relay").mkdir(parents=True)
    relay.write_settings(f"""\
state_dir: {relay.folder}/state/relay
channels:
  direct:
    smtp:
      host: localhost
      port: {port}
      security: none
      username: {ME}
      oauth2:
{oauth2}""")


@pytest.mark.parametrize("flow", ["device", "client_credentials"])
def test_a_token_is_granted_tried_and_kept(relay: Terminal, live: Live, flow: str):
    with authorization() as server:
        upstream = live(Upstream(mechanisms=["XOAUTH2"]))
        upstream.accounts = Latest(server)
        by_token(relay, upstream.port, server, flow)
        assert relay("connect", "direct", "--check").code == (23 if flow == "device" else 0)
        said = relay("connect", "direct")
        assert said.code == 0, said.out + said.err
        assert ("and type in there: " in said.err) == (flow == "device")
        assert "by XOAUTH2" in said.out
        assert f"Kept in {relay.folder}/state/relay/tokens/direct.token" in said.out
        assert server.memory.access[-1] not in said.out + said.err
        assert relay("connect", "direct", "--check").code == 0
        assert relay("connect", "direct", "--forget").code == 0
        assert relay("connect", "direct", "--forget").code == 1


def test_a_token_that_does_not_work_replaces_none(relay: Terminal, live: Live):
    with authorization() as server:
        upstream = live(Upstream(accounts={ME: "another"}, mechanisms=["XOAUTH2"]))
        by_token(relay, upstream.port, server, "device")
        said = relay("connect", "direct")
        assert said.code == 23
        assert not (relay.folder / "state" / "relay" / "tokens").exists()
        relay.environ["CLIENT_SECRET"] = "wrong"
        said = relay("connect", "direct")
        assert said.code == 23
        assert "direct was not granted anything." in said.err
        assert "The provider said: 401 invalid_client" in said.err


class Latest(dict[str, str]):
    """Accounts whose password is the access token that was given out last."""

    def __init__(self, server: Authorization) -> None:
        super().__init__({ME: ""})
        self._server = server

    def get(self, login: str, default: str | None = None) -> str | None:
        return self._server.memory.access[-1] if login == ME else default


def test_a_person_is_asked_and_the_password_is_not_shown(relay: Terminal, upstream: Upstream):
    """On a real terminal: nothing of it may be echoed."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "relay", "connect", "direct"]
    environ = {**os.environ, **relay.environ, "TERM": "dumb"}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = read_until(ours, b"E-mail address [me@example.com]: ")
        os.write(ours, b"\n")
        shown += read_until(ours, b"Password of me@example.com at localhost: ")
        os.write(ours, b"new\n")
        shown += read_until(ours, b"Not tested: ")
        shown += read_until(ours, None)
        assert process.wait(20) == 0
    os.close(ours)
    assert b"AUTH" in shown
    assert b"new" not in shown


def read_until(terminal: int, words: bytes | None) -> bytes:
    """Return what is written up to `words`, or to the end."""
    shown = b""
    while words is None or words not in shown:
        try:
            more = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            more = b""
        if not more:
            assert words is None, shown
            break
        shown += more
    return shown

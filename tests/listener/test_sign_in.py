"""How applications sign in: PLAIN and LOGIN, with and without an initial response (RFC 4954)."""

from __future__ import annotations

from base64 import b64encode as b64
from collections.abc import Callable

import pytest
from listening import House

from relay.listener.options import Application, Auth
from relay.listener.sign_in import Credentials, authenticate

Open = Callable[..., House]
ACCOUNTS = (Application("shop", lambda: "pässword"), Application("crm", lambda: "other"))
GOOD = "pässword".encode()

SUCCESSES = [
    pytest.param([b"AUTH PLAIN " + b64(b"\0shop\0" + GOOD)], id="plain, at once"),
    pytest.param([b"AUTH PLAIN", b64(b"\0shop\0" + GOOD)], id="plain, asked"),
    pytest.param([b"AUTH PLAIN " + b64(b"shop\0shop\0" + GOOD)], id="plain, as oneself"),
    pytest.param([b"AUTH LOGIN", b64(b"shop"), b64(GOOD)], id="login, asked"),
    pytest.param([b"auth login " + b64(b"shop"), b64(GOOD)], id="login, at once"),
    pytest.param([b"AUTH  PLAIN   " + b64(b"\0crm\0other") + b" "], id="blanks"),
]
FAILURES = [
    pytest.param([b"AUTH PLAIN " + b64(b"\0shop\0other")], b"535 5.7.8", id="other's password"),
    pytest.param([b"AUTH PLAIN " + b64(b"\0nobody\0other")], b"535 5.7.8", id="unknown login"),
    pytest.param([b"AUTH PLAIN " + b64(b"\0nobody\0" + GOOD)], b"535 5.7.8", id="unknown, right"),
    pytest.param([b"AUTH PLAIN " + b64(b"\0\0")], b"535 5.7.8", id="nothing"),
    pytest.param([b"AUTH PLAIN " + b64(b"boss\0shop\0" + GOOD)], b"501 5.5.2", id="for another"),
    pytest.param([b"AUTH PLAIN " + b64(b"shop")], b"501 5.5.2", id="no zeros"),
    pytest.param([b"AUTH PLAIN ="], b"501 5.5.2", id="empty"),
    pytest.param([b"AUTH PLAIN", b""], b"501 5.5.2", id="empty line"),
    pytest.param([b"AUTH PLAIN !!!!"], b"501 5.5.2", id="no base64"),
    pytest.param([b"AUTH PLAIN abc"], b"501 5.5.2", id="cut base64"),
    pytest.param([b"AUTH PLAIN \xff"], b"501 5.5.2", id="other octets"),
    pytest.param([b"AUTH PLAIN", b"*"], b"501 5.7.0", id="cancelled"),
    pytest.param([b"AUTH LOGIN", b64(b"shop"), b"*"], b"501 5.7.0", id="login, cancelled"),
    pytest.param([b"AUTH LOGIN", b64(b"shop"), b64(b"x")], b"535 5.7.8", id="login, wrong"),
    pytest.param([b"AUTH LOGIN =", b"="], b"535 5.7.8", id="login, nothing"),
    pytest.param([b"AUTH PLAIN a b"], b"504 5.5.4", id="too many words"),
    pytest.param([b"AUTH CRAM-MD5"], b"504 5.5.4", id="not offered"),
    pytest.param([b"AUTH"], b"501 5.5.4", id="no mechanism"),
]


@pytest.mark.parametrize("lines", SUCCESSES)
def test_an_application_signs_in(open_quickly: Open, lines: list[bytes]) -> None:
    house = open_quickly(auth=Auth.REQUIRED, applications=ACCOUNTS)
    with house.client() as client:
        assert b"250 AUTH PLAIN LOGIN" in client.say(b"EHLO x")
        *asked, last = client.all(*lines)
        assert all(reply.startswith(b"334 ") for reply in asked)
        assert last.startswith(b"235 2.7.0")
        assert client.say(b"MAIL FROM:<a@b.example>").startswith(b"250")
        client.say(b"RCPT TO:<c@d.example>")
        client.say(b"DATA")
        client.say(b".")
    message = house.desk.messages[0]
    assert message.origin.application in {"shop", "crm"}
    assert b" with ESMTPA id " in house.desk.contents[0]


@pytest.mark.parametrize(("lines", "reply"), FAILURES)
def test_or_not(open_quickly: Open, lines: list[bytes], reply: bytes) -> None:
    house = open_quickly(auth=Auth.REQUIRED, applications=ACCOUNTS)
    with house.client() as client:
        client.say(b"EHLO x")
        assert client.all(*lines)[-1].startswith(reply)
        assert client.say(b"MAIL FROM:<a@b.example>").startswith(b"530 5.7.0")
        assert client.say(b"AUTH PLAIN " + b64(b"\0crm\0other")).startswith(b"235")
    assert not house.crashes


def test_auth_needs_ehlo(open_house: Open) -> None:
    house = open_house(auth=Auth.OPTIONAL, applications=ACCOUNTS)
    with house.client() as client:
        assert client.say(b"AUTH PLAIN").startswith(b"503 5.5.1")
        client.say(b"HELO x")
        assert client.say(b"AUTH PLAIN").startswith(b"503 5.5.1")


def test_optional_is_optional(open_house: Open) -> None:
    house = open_house(auth=Auth.OPTIONAL, applications=ACCOUNTS)
    house.deliver(b"x\r\n.\r\n")
    assert house.desk.messages[0].origin.application is None


def test_a_secret_that_cannot_be_read_locks_out_one_application_only(open_house: Open) -> None:
    def unreadable() -> str:
        raise OSError(13, "Permission denied", "/etc/relay/shop.password")

    accounts = (ACCOUNTS[1], Application("shop", unreadable))
    house = open_house(auth=Auth.REQUIRED, applications=accounts)
    with house.client() as client:
        client.say(b"EHLO x")
        reply = client.say(b"AUTH PLAIN " + b64(b"\0shop\0x"))
        assert reply.startswith(b"451 4.3.0 internal error, reference ")
        assert client.say(b"AUTH PLAIN " + b64(b"\0crm\0other")).startswith(b"235")
    assert "/etc/relay/shop.password" in house.crashes[0].detail


def test_an_unknown_login_costs_the_work_of_a_known_one() -> None:
    reads: list[str] = []

    def account(login: str) -> Application:
        return Application(login, lambda: reads.append(login) or "secret")

    accounts = (account("one"), account("two"))
    assert authenticate(accounts, Credentials(b"two", b"secret")) == "two"
    assert authenticate(accounts, Credentials(b"nobody", b"secret")) is None
    assert authenticate(accounts, Credentials(b"\xff", b"secret")) is None
    assert len(reads) == 3

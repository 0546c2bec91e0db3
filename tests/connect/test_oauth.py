"""The flows of OAuth 2 against a server that a library wrote, and tokens that outlive a crash."""

from __future__ import annotations

import asyncio
import stat
import threading
from datetime import UTC, datetime, timedelta
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from relay.channels.smtp_errors import RejectedError
from relay.connect.kept import KeptError
from relay.connect.oauth import GrantError, Invitation, Token, refresh, sign_in
from relay.connect.options import Flow, Grant, Registration
from relay.connect.tokens import TokenFile, TokenSource
from relay.mail.reply import Phase
from tests.connect.authorization import SECRET, Authorization, authorization

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _plain_http_to_this_machine(monkeypatch):
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def registration(server: Authorization, flow: Flow = Flow.BROWSER, **changes) -> Registration:
    given = {
        "client_id": "relay",
        "flow": flow,
        "authorize_url": f"{server.url}/authorize",
        "token_url": f"{server.url}/token",
        "device_url": f"{server.url}/device",
        "scopes": ("smtp",),
    }
    return Registration(**{**given, **changes})


class Person:
    """Opens what it is invited to, in a browser of its own."""

    def __init__(self) -> None:
        self.invitations: list[Invitation] = []
        self.pages: list[bytes] = []

    def __call__(self, invitation: Invitation) -> None:
        self.invitations.append(invitation)
        if invitation.port:
            self.browser = threading.Thread(target=self._browse, args=(invitation,))
            self.browser.start()

    def _browse(self, invitation: Invitation) -> None:
        with pytest.raises(HTTPError):  # a page that guesses is not listened to
            urlopen(f"http://127.0.0.1:{invitation.port}/?code=forged&state=guess")
        with urlopen(invitation.address) as page:
            self.pages.append(page.read())


def granted(server: Authorization, now: datetime = NOON) -> Token:
    person = Person()
    token = sign_in(registration(server), person, lambda: now)
    person.browser.join()
    return token


class Clock:
    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def source(server, folder, clock, *, key_file=None, **changes) -> TokenSource:
    grant = Grant(
        registration=registration(server, **changes),
        state_dir=folder,
        channel="direct",
        key_file=key_file,
    )
    return TokenSource(TokenFile(grant), clock)


def good(tokens: TokenSource, refused: str | None = None) -> str:
    return asyncio.run(tokens(refused))


def test_a_person_agrees_in_a_browser_with_pkce():
    with authorization() as server:
        person = Person()
        token = sign_in(registration(server), person, lambda: NOON)
        person.browser.join()
        assert token.access_token == server.memory.access[-1]
        assert token.refresh_token in server.memory.refresh
        assert token.expires_at == NOON + timedelta(hours=1)
        assert "code_challenge_method=S256" in person.invitations[0].address
        assert b"You can close this window" in person.pages[0]
        assert token.access_token not in repr(token)


def test_a_secret_goes_along_where_the_client_has_one():
    with authorization() as server:
        known = registration(server, client_secret=lambda: SECRET)
        person = Person()
        assert sign_in(known, person, lambda: NOON).access_token
        person.browser.join()
        wrong = registration(server, client_secret=lambda: "wrong")
        with pytest.raises(GrantError, match="401 invalid_client"):
            sign_in(wrong, Person(), lambda: NOON)


def test_a_code_is_typed_in_elsewhere_and_asked_for_until_then():
    with authorization() as server:
        server.memory.pending = 2
        person = Person()
        token = sign_in(registration(server, Flow.DEVICE), person, lambda: NOON)
        assert token.access_token == server.memory.access[-1]
        (invitation,) = person.invitations
        assert invitation.address.endswith("/device-page")
        assert invitation.code
        assert len(server.memory.requests) == 3


def test_an_organisation_has_agreed_beforehand():
    with authorization() as server:
        known = registration(server, Flow.CLIENT_CREDENTIALS, client_secret=lambda: SECRET)
        token = sign_in(known, Person(), lambda: NOON)
        assert token.access_token == server.memory.access[-1]
        assert token.refresh_token is None
        assert refresh(known, token, NOON).access_token != token.access_token


def test_a_token_is_renewed_before_it_ends_and_never_sooner(tmp_path):
    with authorization() as server:
        clock = Clock()
        tokens = source(server, tmp_path, clock)
        first = granted(server)
        tokens.file.write(first)
        clock.now = NOON + timedelta(minutes=54)
        assert good(tokens) == first.access_token
        clock.now = NOON + timedelta(minutes=56)
        second = good(tokens)
        assert second not in (first.access_token, None)
        assert good(tokens) == second
        assert tokens.file.read().refresh_token != first.refresh_token


def test_a_refresh_token_that_is_good_once_is_used_once_however_many_ask(tmp_path):
    with authorization() as server:
        clock = Clock()
        one, other = source(server, tmp_path, clock), source(server, tmp_path, clock)
        one.file.write(granted(server))
        clock.now = NOON + timedelta(hours=2)

        async def all_at_once():
            return await asyncio.gather(*(each(None) for each in (one, other) * 5))

        assert len(set(asyncio.run(all_at_once()))) == 1
        assert server.memory.requests.count("refresh_token") == 1


def test_a_refresh_token_that_is_not_replaced_stays(tmp_path):
    with authorization() as server:
        server.memory.rotates = False
        token = granted(server)
        again = refresh(registration(server), token, NOON)
        assert again.refresh_token == token.refresh_token


def test_a_rotated_token_is_on_the_disk_before_it_is_used(tmp_path, monkeypatch):
    """A crash in between would lose the only one that is good."""
    with authorization() as server:
        clock = Clock()
        tokens = source(server, tmp_path, clock)
        tokens.file.write(granted(server))
        clock.now = NOON + timedelta(hours=2)
        used = good(tokens)
        after_a_crash = source(server, tmp_path, clock)
        assert good(after_a_crash) == used
        clock.now += timedelta(hours=2)
        assert good(after_a_crash) != used


def test_one_that_the_server_refuses_is_renewed_whatever_our_clock_says(tmp_path):
    with authorization() as server:
        clock = Clock()
        tokens = source(server, tmp_path, clock)
        first = granted(server)
        tokens.file.write(first)
        second = good(tokens, first.access_token)
        assert second != first.access_token
        assert good(tokens, first.access_token) == second  # renewed already


@pytest.mark.parametrize("skew", [timedelta(days=-30), timedelta(days=30)])
def test_a_clock_that_was_stepped_costs_a_renewal_and_nothing_else(tmp_path, skew):
    with authorization() as server:
        clock = Clock()
        tokens = source(server, tmp_path, clock)
        tokens.file.write(granted(server))
        clock.now = NOON + skew
        assert good(tokens) == good(tokens) == server.memory.access[-1]
        assert server.memory.requests.count("refresh_token") == 1


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda server: server.memory.refresh.clear(), "400 invalid_grant"),
        (lambda server: setattr(server, "is_down", True), "503 <html>busy"),
    ],
)
def test_a_lost_grant_is_a_reply_that_the_dictionary_knows(tmp_path, break_it, told):
    with authorization() as server:
        clock = Clock()
        tokens = source(server, tmp_path, clock)
        tokens.file.write(granted(server))
        before = tokens.file.path.read_bytes()
        clock.now = NOON + timedelta(hours=2)
        break_it(server)
        with pytest.raises(RejectedError) as caught:
            good(tokens)
        assert caught.value.phase is Phase.OAUTH
        assert str(caught.value.reply).startswith(told)
        assert tokens.file.path.read_bytes() == before


def test_nobody_has_signed_in_and_nobody_answers(tmp_path):
    with authorization() as server:
        tokens = source(server, tmp_path, Clock())
        with pytest.raises(RejectedError) as caught:
            good(tokens)
        assert "nobody has signed in yet" in str(caught.value.reply)
        token = granted(server)
        gone = registration(server)
    with pytest.raises(GrantError, match=r"503 127\.0\.0\.1 cannot be reached"):
        refresh(gone, token, NOON)


def test_nothing_is_sent_in_clear_to_another_machine():
    with authorization() as server:
        known = registration(server, token_url="http://login.example.com/token")
        with pytest.raises(GrantError, match="is not https: nothing was sent"):
            refresh(known, granted(server), NOON)


def test_what_lies_on_the_disk_is_for_nobody_else(tmp_path):
    with authorization() as server:
        token = granted(server)
        tokens = source(server, tmp_path, Clock())
        tokens.file.write(token)
        assert tokens.file.read() == token
        names = {each.name for each in tokens.file.path.parent.iterdir()}
        assert names == {"direct.token", "key"}  # and a lock, once it was renewed
        for each in tokens.file.path.parent.iterdir():
            assert stat.S_IMODE(each.stat().st_mode) == 0o600
            assert token.refresh_token.encode() not in each.read_bytes()


def test_the_key_may_be_kept_elsewhere(tmp_path):
    key = tmp_path / "credential"
    key.write_text("a long secret of systemd\n")
    with authorization() as server:
        token = granted(server)
        tokens = source(server, tmp_path, Clock(), key_file=key)
        tokens.file.write(token)
        assert {each.name for each in tokens.file.path.parent.iterdir()} == {"direct.token"}
        assert tokens.file.read() == token
        key.write_text("another")
        with pytest.raises(KeptError, match="not for this key"):
            tokens.file.read()
        with pytest.raises(RejectedError):
            good(tokens)
        assert tokens.file.forget()
        assert not tokens.file.forget()

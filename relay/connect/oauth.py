"""Permission to send without a password: the flows of OAuth 2 (RFC 6749, 7636, 8252, 8628).

oauthlib knows what is asked and answered; here is the network. Everything waits: call it in a
thread.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

from oauthlib.oauth2 import (
    BackendApplicationClient,
    DeviceClient,
    OAuth2Error,
    WebApplicationClient,
)

from relay.connect.options import Flow, Registration
from relay.mail.reply import Reply, make_reply

_SECONDS = 30.0
_SIGN_IN_SECONDS = 600.0
_MAX_BYTES = 256 * 1024
_VERIFIER_CHARS = 64
_DONE = b"<!doctype html><title>relay</title><p>relay has what it needs. You can close this window."


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What was granted."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: datetime | None  # None: not told
    obtained_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What a person has to do."""

    address: str  # to open in a browser
    code: str = ""  # to type in there
    port: int = 0  # of 127.0.0.1, where the browser comes back to; 0: it does not


class GrantError(Exception):
    """Nothing was granted: the provider's words, as a reply with the status of HTTP."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


def refresh(registration: Registration, token: Token | None, now: datetime) -> Token:
    """Return a new token; a refresh token that is not replaced stays. Raises GrantError."""
    if registration.flow is Flow.CLIENT_CREDENTIALS:
        client = BackendApplicationClient(registration.client_id)
        body = client.prepare_request_body(
            scope=list(registration.scopes), include_client_id=True, **_secret(registration)
        )
        return _token(client, registration, body, now, None)
    if token is None or token.refresh_token is None:
        raise GrantError(Reply(400, None, "invalid_grant: nobody has signed in yet"))
    web = WebApplicationClient(registration.client_id)
    body = web.prepare_refresh_body(
        refresh_token=token.refresh_token,
        client_id=registration.client_id,
        **_secret(registration),
    )
    return _token(web, registration, body, now, token.refresh_token)


def sign_in(
    registration: Registration, invite: Callable[[Invitation], None], clock: Callable[[], datetime]
) -> Token:
    """Return what a person grants who follows the invitation. Raises GrantError."""
    match registration.flow:
        case Flow.BROWSER:
            return _by_browser(registration, invite, clock)
        case Flow.DEVICE:
            return _by_device(registration, invite, clock)
        case Flow.CLIENT_CREDENTIALS:
            return refresh(registration, None, clock())


def _by_browser(
    registration: Registration, invite: Callable[[Invitation], None], clock: Callable[[], datetime]
) -> Token:
    """Ask for a code with PKCE, by a redirect to this machine (RFC 8252 §7.3)."""
    client = WebApplicationClient(registration.client_id)
    verifier = client.create_code_verifier(_VERIFIER_CHARS)
    state = secrets.token_urlsafe(24)
    with _Loopback(state) as loopback:
        address = f"http://127.0.0.1:{loopback.server_port}/"
        uri = client.prepare_request_uri(
            registration.authorize_url,
            redirect_uri=address,
            scope=list(registration.scopes),
            state=state,
            code_challenge=client.create_code_challenge(verifier, "S256"),
            code_challenge_method="S256",
            **dict(registration.extra),
        )
        invite(Invitation(address=uri, port=loopback.server_port))
        answer = loopback.wait(_SIGN_IN_SECONDS)
    if "code" not in answer:
        raise GrantError(_words(400, answer))
    body = client.prepare_request_body(
        code=answer["code"],
        redirect_uri=address,
        code_verifier=verifier,
        include_client_id=True,
        **_secret(registration),
    )
    return _token(client, registration, body, clock(), None)


def _by_device(
    registration: Registration, invite: Callable[[Invitation], None], clock: Callable[[], datetime]
) -> Token:
    """Let a person type a code in elsewhere, and ask until it is done (RFC 8628 §3.4)."""
    client = DeviceClient(registration.client_id)
    asked = urlencode({"client_id": registration.client_id, "scope": " ".join(registration.scopes)})
    status, answer = _post(registration.device_url, asked)
    if status != 200 or "device_code" not in answer:
        raise GrantError(_words(status, answer))
    invite(Invitation(address=str(answer["verification_uri"]), code=str(answer["user_code"])))
    wait = float(answer.get("interval", 5))
    ends_at = time.monotonic() + min(float(answer.get("expires_in", 900)), _SIGN_IN_SECONDS)
    body = client.prepare_request_body(
        answer["device_code"], include_client_id=True, **_secret(registration)
    )
    while True:
        time.sleep(wait)
        try:
            return _token(client, registration, body, clock(), None)
        except GrantError as error:
            word = error.reply.text.partition(":")[0]
            if word not in ("authorization_pending", "slow_down") or time.monotonic() > ends_at:
                raise
            wait += 5 if word == "slow_down" else 0


def _token(
    client: Any, registration: Registration, body: str, now: datetime, old: str | None
) -> Token:
    """Return what the token endpoint grants; `old` stays if there is no new refresh token."""
    status, answer = _post(registration.token_url, body)
    if status != 200:
        raise GrantError(_words(status, answer))
    try:
        granted = client.parse_request_body_response(json.dumps(answer))
    except OAuth2Error as error:
        raise GrantError(Reply(400, None, make_reply(400, str(error)).text)) from error
    seconds = granted.get("expires_in")
    return Token(
        access_token=str(granted["access_token"]),
        refresh_token=granted.get("refresh_token") or old,
        expires_at=None if seconds is None else now + timedelta(seconds=float(seconds)),
        obtained_at=now,
    )


def _secret(registration: Registration) -> dict[str, str]:
    secret = registration.client_secret
    return {} if secret is None else {"client_secret": secret()}


def _post(url: str, body: str) -> tuple[int, Mapping[str, Any]]:
    """Return the status and the object that a server answers; raises GrantError without one."""
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise GrantError(Reply(400, None, f"{url} is not https: nothing was sent"))
    request = Request(url, body.encode(), {"Accept": "application/json"})  # noqa: S310
    try:
        with urlopen(request, timeout=_SECONDS) as response:  # noqa: S310 -- checked above
            return int(response.status), _object(response.read(_MAX_BYTES))
    except HTTPError as error:
        with error:
            return error.code, _object(error.read(_MAX_BYTES))
    except (URLError, OSError) as error:
        why = getattr(error, "reason", None) or error
        raise GrantError(Reply(503, None, f"{parts.hostname} cannot be reached: {why}")) from error


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"error": data[:200].decode("utf-8", "replace")}


def _words(status: int, answer: Mapping[str, Any]) -> Reply:
    words = f"{answer.get('error', 'no answer')}: {answer.get('error_description', '')}"
    return make_reply(status if 400 <= status < 600 else 400, words.removesuffix(": "))


class _Loopback(HTTPServer):
    """Waits on this machine for the browser that comes back with `state`."""

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), _Visit)
        self.state = state
        self.answer: dict[str, str] = {}

    def wait(self, seconds: float) -> dict[str, str]:
        """Return the parameters of the redirect, none when nobody came."""
        ends_at = time.monotonic() + seconds
        while not self.answer and (left := ends_at - time.monotonic()) > 0:
            self.timeout = left
            self.handle_request()
        return self.answer


class _Visit(BaseHTTPRequestHandler):
    timeout = 10.0

    def do_GET(self) -> None:
        """Take the answer if it is ours (RFC 6749 §10.12), and say so."""
        server = self.server
        assert isinstance(server, _Loopback)
        found = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        is_ours = secrets.compare_digest(found.get("state", "").encode(), server.state.encode())
        self.send_response(200 if is_ours else 400)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(_DONE) if is_ours else 0))
        self.end_headers()
        if is_ours:
            self.wfile.write(_DONE)
            server.answer = found

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: the code is in it."""

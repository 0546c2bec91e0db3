"""An authorization server on this machine: oauthlib's server side behind a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from oauthlib.oauth2 import Server
from oauthlib.oauth2.rfc8628.endpoints import DeviceAuthorizationEndpoint
from oauthlib.oauth2.rfc8628.grant_types import DeviceCodeGrant
from oauthlib.oauth2.rfc8628.request_validator import RequestValidator

SECRET = "s3cret"


class Validator(RequestValidator):
    """The memory of the server. `rotates` makes each refresh token good only once."""

    def __init__(self) -> None:
        self.codes: dict[str, dict[str, Any]] = {}
        self.access: list[str] = []
        self.refresh: set[str] = set()
        self.rotates = True
        self.pending = 0  # answers to a device before a person has agreed
        self.requests: list[str] = []  # grant types, as they came

    def authenticate_client(self, request, *args, **kwargs):
        request.client = type("Client", (), {"client_id": request.client_id})
        return request.client_secret == SECRET

    def client_authentication_required(self, request, *args, **kwargs):
        return request.client_secret is not None or request.grant_type == "client_credentials"

    def authenticate_client_id(self, client_id, request, *args, **kwargs):
        request.client = type("Client", (), {"client_id": client_id})
        return client_id == "relay"

    def validate_client_id(self, client_id, request, *args, **kwargs):
        return client_id == "relay"

    def validate_redirect_uri(self, client_id, redirect_uri, request, *args, **kwargs):
        return redirect_uri.startswith("http://127.0.0.1:")

    def validate_response_type(self, *args, **kwargs):
        return True

    def validate_scopes(self, client_id, scopes, *args, **kwargs):
        return set(scopes) <= {"smtp"}

    def get_default_scopes(self, *args, **kwargs):
        return ["smtp"]

    def get_original_scopes(self, *args, **kwargs):
        return ["smtp"]

    def is_pkce_required(self, *args, **kwargs):
        return True

    def save_authorization_code(self, client_id, code, request, *args, **kwargs):
        self.codes[code["code"]] = {
            "uri": request.redirect_uri,
            "challenge": request.code_challenge,
            "method": request.code_challenge_method,
        }

    def validate_code(self, client_id, code, client, request, *args, **kwargs):
        request.user, request.scopes = "me", ["smtp"]
        return code in self.codes

    def get_code_challenge(self, code, request):
        return self.codes[code]["challenge"]

    def get_code_challenge_method(self, code, request):
        return self.codes[code]["method"]

    def confirm_redirect_uri(self, client_id, code, redirect_uri, *args, **kwargs):
        return self.codes[code]["uri"] == redirect_uri

    def invalidate_authorization_code(self, client_id, code, *args, **kwargs):
        del self.codes[code]

    def validate_grant_type(self, client_id, grant_type, client, request, *args, **kwargs):
        self.requests.append(grant_type)
        return True

    def validate_device_code(self, client_id, code, request, *args, **kwargs):
        if self.pending:
            self.pending -= 1
            return DeviceCodeGrant.DEVICE_CODE_PENDING
        request.user, request.scopes = "me", ["smtp"]
        return DeviceCodeGrant.DEVICE_CODE_AUTHORIZED

    def save_bearer_token(self, token, request, *args, **kwargs):
        self.access.append(token["access_token"])
        if "refresh_token" in token:
            self.refresh.add(token["refresh_token"])
        if request.grant_type == "refresh_token" and self.rotates:
            self.refresh.discard(request.refresh_token)

    save_token = save_bearer_token

    def validate_refresh_token(self, refresh_token, client, request, *args, **kwargs):
        return refresh_token in self.refresh

    def rotate_refresh_token(self, request):
        return self.rotates


class Authorization(ThreadingHTTPServer):
    """`/authorize` grants whatever is asked for at once; `/token` and `/device` as by the book."""

    daemon_threads = True

    def __init__(self, seconds: int) -> None:
        super().__init__(("127.0.0.1", 0), _Visit)
        self.memory = Validator()
        self.oauth = Server(self.memory, token_expires_in=seconds)
        self.oauth._grant_types["urn:ietf:params:oauth:grant-type:device_code"] = DeviceCodeGrant(
            self.memory
        )
        self.device = DeviceAuthorizationEndpoint(
            self.memory, verification_uri=f"{self.url}/device-page", interval=0
        )
        self.is_down = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Visit(BaseHTTPRequestHandler):
    server: Authorization

    def do_GET(self) -> None:
        oauth = self.server.oauth
        scopes, _ = oauth.validate_authorization_request(self._uri, "GET")
        self._answer(*oauth.create_authorization_response(self._uri, "GET", scopes=scopes))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        headers = dict(self.headers)
        if self.server.is_down:
            self._answer({}, "<html>busy</html>", 503)
        elif urlsplit(self.path).path == "/device":
            endpoint = self.server.device
            answer = endpoint.create_device_authorization_response(self._uri, "POST", body, headers)
            headers, data, status = answer
            self._answer(headers, data if isinstance(data, str) else json.dumps(data), status)
        else:
            self._answer(*self.server.oauth.create_token_response(self._uri, "POST", body, headers))

    @property
    def _uri(self) -> str:
        # The library is strict about https, which loopback needs not.
        return f"https://login.test{self.path}"

    def _answer(self, headers: dict[str, str], body: str | None, status: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        data = (body or "").encode()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def authorization(seconds: int = 3600) -> Iterator[Authorization]:
    """Run a server whose access tokens are good for `seconds`."""
    server = Authorization(seconds)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""How an application signs in: the exchanges of AUTH (RFC 4954), and is the password right."""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Callable, Generator
from dataclasses import dataclass

from relay.listener.options import Application

MAX_RESPONSE_BYTES = 12_288  # RFC 4954 §4: a line of an exchange, in base64
MAX_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client claims."""

    login: bytes
    password: bytes


Exchange = Generator[bytes, bytes, Credentials]
"""Yields challenges, is sent responses, both decoded; raises ValueError for a malformed one."""


def plain() -> Exchange:
    """RFC 4616: everything in one response."""
    response = yield b""
    identity, login, password = response.split(b"\0")
    if identity not in {b"", login}:
        raise ValueError("acting for another identity is not offered")
    return Credentials(login, password)


def login() -> Exchange:
    """The login and the password, one at a time (draft-murchison-sasl-login)."""
    name = yield b"Username:"
    password = yield b"Password:"
    return Credentials(name, password)


MECHANISMS: dict[bytes, Callable[[], Exchange]] = {b"PLAIN": plain, b"LOGIN": login}


def decode_response(line: bytes) -> bytes:
    """Return what a response says; `=` is an empty one. Raises ValueError."""
    return b"" if line == b"=" else b64decode(line, validate=True)


def authenticate(applications: tuple[Application, ...], claimed: Credentials) -> str | None:
    """Return the login of the application that signs in, or None.

    An unknown login costs the same work as a wrong password: one secret is read and compared.
    """
    known = {application.login.encode(): application for application in applications}
    application = known.get(claimed.login, applications[0])
    is_right = hmac.compare_digest(application.password().encode(), claimed.password)
    return application.login if is_right and claimed.login in known else None

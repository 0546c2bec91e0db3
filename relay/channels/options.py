"""What each way out is told by the settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum


class Security(StrEnum):
    """How the connection to an upstream is protected (RFC 8314)."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpOptions:
    """An SMTP server to submit to."""

    host: str
    port: int
    security: Security
    verify: bool = True  # certificate and name; the settings decide it for loopback
    ca_file: str | None = None  # PEM; None: the system's
    username: str | None = None
    password: Callable[[], str] | None = field(default=None, repr=False)  # read at each sign-in
    access_token: Callable[[str | None], Awaitable[str]] | None = field(default=None, repr=False)
    """Signs in by XOAUTH2 instead of a password. Takes a token that was refused, if one was.

    Raises RejectedError at OAUTH.
    """
    senders: tuple[str, ...] = ()  # who it may send as: addresses, `*@domain`; lower case; (): all
    rewrite_from: str | None = None  # in the place of others; None: `username`, if an address
    hello: str | None = None  # name in EHLO; None: the machine's
    connections: int = 5
    messages_per_connection: int = 1000
    new_connections: tuple[int, float] | None = None  # at most so many in so many seconds
    max_content_bytes: int | None = None  # beside what the server says itself; None: unknown
    idle_seconds: float = 30.0  # an unused connection is closed after it
    connect_seconds: float = 30.0  # DNS, TCP, TLS and greeting
    command_seconds: float = 300.0  # each reply (RFC 5321 §4.5.3.2)
    final_dot_seconds: float = 600.0  # the reply to the final dot (§4.5.3.2.6)
    stall_seconds: float = 180.0  # content that does not move


@dataclass(frozen=True, slots=True)
class UnconnectedOptions:
    """A server that is still to be found, by `relay connect`."""

    smtp: SmtpOptions  # what is said of it already: without host, which is ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendmailOptions:
    """A program with the sendmail interface."""

    command: tuple[str, ...]  # program and its first arguments; `-i -f FROM -- TO…` is added
    timeout_seconds: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderOptions:
    """A folder that gets an .eml file for each transaction."""

    path: str

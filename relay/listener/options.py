"""What a listener is told by the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

Network = IPv4Network | IPv6Network


class Tls(StrEnum):
    """RFC 8314: none, upgraded by STARTTLS, or from the first byte."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class Auth(StrEnum):
    """Whether applications have to sign in."""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Application:
    """A program that signs in."""

    login: str
    password: Callable[[], str] = field(repr=False)  # reads the secret where it is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerOptions:
    """One address to listen on, or one socket handed over by systemd."""

    address: str  # as in the settings, `127.0.0.1:2525`; names the listener
    host: str
    port: int
    tls: Tls = Tls.NONE
    certificate: str | None = None  # PEM file, required with TLS
    key: str | None = None  # PEM file
    auth: Auth = Auth.OFF
    applications: tuple[Application, ...] = ()
    networks: tuple[Network, ...] = ()  # allowed peers; empty: all (settings made sure it is safe)
    max_message_bytes: int = 50 * 1024 * 1024
    max_recipients: int = 1000
    max_connections: int = 200
    max_hops: int = 50  # Received: fields
    hostname: str = "localhost"  # greeting and Received: by
    idle_seconds: float = 300.0  # per read (RFC 5321 §4.5.3.2.7)
    transaction_seconds: float = 3600.0

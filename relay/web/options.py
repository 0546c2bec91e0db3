"""What the web page is told by the settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """One address for the page, the API, metrics and health."""

    address: str  # as in the settings, `127.0.0.1:8025`
    host: str  # an IP address, without brackets
    port: int
    allowed_hosts: tuple[str, ...]
    """Every name that a `Host` field may have: lower case, without port, IPv6 in brackets.

    Complete: `localhost`, `127.0.0.1` and `[::1]` stand in it too.
    """

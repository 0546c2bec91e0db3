"""Addresses to listen on, and which hosts are this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+|localhost)):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An IP address and a port of this machine."""

    ip: IPv4Address | IPv6Address
    port: int  # 1-65535

    def clashes(self, other: Endpoint) -> bool:
        """Return whether both cannot be listened on at once."""
        if self.port != other.port or self.ip.version != other.ip.version:
            return False
        return self.ip == other.ip or self.ip.is_unspecified or other.ip.is_unspecified


def parse_endpoint(text: str) -> Endpoint:
    """Return what `127.0.0.1:2525`, `[::1]:2525` or `localhost:2525` means; raises ValueError."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError(text)
    bracketed, plain, port = match.groups()
    if not 1 <= int(port) <= 65535:
        raise ValueError(text)
    if bracketed:
        return Endpoint(IPv6Address(bracketed), int(port))
    return Endpoint(IPv4Address("127.0.0.1" if plain == "localhost" else plain), int(port))


def is_loopback(host: str) -> bool:
    """Return whether `host`, a name or an IP address, is this machine and nothing else."""
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

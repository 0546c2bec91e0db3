"""Which addresses are telephones: e-mail-to-SMS gateways by domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

_FEWEST_DIGITS = 8
_SHORTEST_NUMBER = 7


class GatewayState(StrEnum):
    """What is known of a gateway."""

    DEAD = "dead"
    ENDING = "ending"
    MERGED = "merged"
    REPORTED_DEAD = "reported_dead"
    UNVERIFIED = "unverified"
    COMMERCIAL = "commercial"
    NOT_SMS = "not_sms"  # an ordinary mail domain that also takes telephone numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A carrier's way from mail to text message."""

    carrier: str
    country: str  # ISO 3166, or "int", "europe", …
    domains: tuple[str, ...]
    state: GatewayState
    since: str | None  # when it ended, if known


class Gateways:
    """All known gateways, found by address."""

    __slots__ = ("_by_domain", "_numeric_mailboxes")

    def __init__(self, gateways: Sequence[Gateway], numeric_mailboxes: Sequence[str] = ()) -> None:
        """Know `gateways`; at `numeric_mailboxes` a number before the @ means nothing."""
        self._by_domain = {domain: gateway for gateway in gateways for domain in gateway.domains}
        self._numeric_mailboxes = frozenset(numeric_mailboxes)

    def of(self, address: str) -> str | None:
        """Return the gateway that `address` is at, in words; None when it is a mailbox.

        A long number before the @ is a telephone at any domain but those of numeric mailboxes.
        """
        local, _, domain = address.rpartition("@")
        domain = domain.lower().rstrip(".")
        number = local.lstrip("+")
        is_number = len(number) >= _SHORTEST_NUMBER and number.isascii() and number.isdigit()
        gateway = self._by_domain.get(domain)
        if gateway is not None and (is_number or gateway.state is not GatewayState.NOT_SMS):
            return f"{gateway.carrier} ({domain})"
        if is_number and len(number) >= _FEWEST_DIGITS and domain not in self._numeric_mailboxes:
            return f"a telephone number at {domain}"
        return None

    def of_all(self, addresses: Sequence[str]) -> str | None:
        """Return the first one's gateway when all of `addresses` are at one."""
        first: str | None = None
        for address in addresses:
            found = self.of(address)
            if found is None:
                return None
            first = first or found
        return first


def parse_gateways(data: Mapping[str, Any]) -> Gateways:
    """Return the gateways in the shape of `sms_gateways.yaml`; raises KeyError or ValueError."""
    return Gateways(
        [
            Gateway(
                carrier=str(row["carrier"]),
                country=str(row["country"]),
                domains=tuple(str(domain).lower() for domain in row["domains"]),
                state=GatewayState(row["status"]),
                since=row.get("since"),
            )
            for row in data["gateways"]
        ],
        [str(domain) for domain in data["numeric_mailboxes"]],
    )


@lru_cache(maxsize=1)
def load_gateways() -> Gateways:
    """Return the gateways that the package ships."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = files("relay.providers").joinpath("sms_gateways.yaml").read_text("utf-8")
    return parse_gateways(yaml.load(text, Loader=loader))  # noqa: S506 -- a safe loader, in C if there is one

"""Which provider an account or an address is with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib.resources import files
from typing import Any

import yaml

from relay.providers.replies import LOADER


class Providers:
    """What providers.yaml knows; read when first asked."""

    def __init__(self, providers: Iterable[Mapping[str, Any]] | None = None) -> None:
        self._given = providers

    @cached_property
    def all(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the providers by id, in the order of the file, as the file has them."""
        given = self._given
        if given is None:
            text = files(__package__).joinpath("providers.yaml").read_bytes()
            given = yaml.load(text, Loader=LOADER)["providers"]  # noqa: S506
        return {provider["id"]: provider for provider in given}

    def by_host(self, host: str, username: str | None = None) -> str | None:
        """Return the id of the provider that an SMTP server belongs to, None if unknown.

        Where providers share a server, `username`, if it is an address, decides between them.
        """
        host = host.lower().rstrip(".")
        sharing = self._by_host.get(host) or [
            provider for pattern, provider in self._patterns if pattern.fullmatch(host)
        ]
        if not sharing:
            return _longest(self._by_mx_suffix, host)
        if username and "@" in username and len(sharing) > 1:
            own = self.by_domain(username.rpartition("@")[2])
            if own in sharing:
                return own
            # a domain of the customer's own: not a service for consumers
            return next((one for one in sharing if not self.all[one].get("domains")), sharing[0])
        return sharing[0]

    def by_domain(self, address_domain: str) -> str | None:
        """Return the id of the provider that an address's domain is with, None if unknown."""
        return _longest(self._by_domain, address_domain.lower().rstrip("."))

    def by_exchangers(self, hosts: Iterable[str]) -> str | None:
        """Return the id of the provider that hosts a domain with these mail exchangers.

        Where a service for consumers shares them with one for customers' own domains, the latter.
        """
        for host in hosts:
            domain = host.lower().rstrip(".")
            while domain:
                if sharing := self._sharing_exchanger.get(domain, []):
                    own = (one for one in sharing if "domains" not in self.all[one])
                    return next(own, sharing[0])
                domain = domain.partition(".")[2]
        return None

    @cached_property
    def _sharing_exchanger(self) -> Mapping[str, list[str]]:
        names: dict[str, list[str]] = {}
        for name, provider in self.all.items():
            for suffix in provider.get("mx_suffixes", ()):
                names.setdefault(suffix, []).append(name)
        return names

    @cached_property
    def _by_host(self) -> Mapping[str, list[str]]:
        hosts: dict[str, list[str]] = {}
        for name, provider in self.all.items():
            for server in provider["smtp"]:
                sharing = hosts.setdefault(server["host"], [])
                if name not in sharing and not server["host"].startswith("127."):
                    sharing.append(name)
        return hosts

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        found = {
            (server["host"], name)
            for name, provider in self.all.items()
            for server in provider["smtp"]
            if "{region}" in server["host"]
        }
        return [
            (re.compile(re.escape(host).replace(r"\{region\}", "[a-z0-9-]+")), name)
            for host, name in sorted(found)
        ]

    @cached_property
    def _by_mx_suffix(self) -> Mapping[str, str]:
        return self._names("mx_suffixes")

    @cached_property
    def _by_domain(self) -> Mapping[str, str]:
        return self._names("domains")

    def _names(self, key: str) -> Mapping[str, str]:
        """Return the id by each name under `key`; the first provider that has it wins."""
        names: dict[str, str] = {}
        for name, provider in self.all.items():
            for domain in provider.get(key, ()):
                names.setdefault(domain, name)
        return names


def _longest(names: Mapping[str, str], domain: str) -> str | None:
    """Return what belongs to `domain` or to the closest domain above it."""
    while domain:
        if domain in names:
            return names[domain]
        domain = domain.partition(".")[2]
    return None

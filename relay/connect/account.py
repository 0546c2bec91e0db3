"""What an e-mail address tells of its account: provider, servers, forms of the user name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.channels.options import Security
from relay.mail.address import domain_of
from relay.providers.detect import Providers

_USUAL = ((465, Security.IMPLICIT), (587, Security.STARTTLS))  # RFC 8314 §3.3
_HOST_TO_HOST = 25  # a port for servers; many networks close it


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server to submit to."""

    host: str
    port: int
    security: Security

    def __str__(self) -> str:
        """Return it as people say it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port} ({self.security.value})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account, as far as it can be known without signing in."""

    address: str
    provider: str | None  # id, None if unknown
    provider_name: str
    endpoints: tuple[Endpoint, ...]  # the first is the first choice; empty: the provider has none
    usernames: tuple[
        str, ...
    ]  # the same; empty: the provider issues one, which has to be asked for
    hints: tuple[str, ...]  # what the provider asks for, in plain words


def account_of(
    address: str,
    providers: Providers,
    *,
    provider: str | None = None,
    exchangers: Sequence[str] = (),
    host: str | None = None,
    port: int | None = None,
    security: Security | None = None,
) -> Account:
    """Return the account behind `address`.

    The provider is the one of `host`, else `provider`, as the owner says, else the one of the
    domain or of the domain's mail `exchangers`.
    `host`, `port` and `security` narrow down which servers are named.
    """
    domain = domain_of(address)
    if host is not None:
        name = providers.by_host(host, address)
    else:
        name = provider or providers.by_domain(domain) or providers.by_exchangers(exchangers)
    known = providers.all[name] if name is not None else {}
    endpoints = _endpoints(known, domain) if name else _guesses(domain)
    if host is not None:
        its = tuple(each for each in endpoints if each.host == host.lower())
        endpoints = its or tuple(Endpoint(host, *usual) for usual in _USUAL)
        if port is not None:
            given = security or _security_of(port, endpoints)
            endpoints = (Endpoint(host, port, given),)
    if security is not None:
        wanted = tuple(each for each in endpoints if each.security is security)
        endpoints = wanted or tuple(Endpoint(e.host, e.port, security) for e in endpoints[:1])
    return Account(
        address=address,
        provider=name,
        provider_name=str(known.get("name", domain)),
        endpoints=endpoints,
        usernames=_usernames(address, known),
        hints=tuple(_hints(known)),
    )


def siblings(endpoint: Endpoint) -> tuple[Endpoint, ...]:
    """Return the usual ways into the same server, but for this one."""
    every = (Endpoint(endpoint.host, *usual) for usual in _USUAL)
    return tuple(each for each in every if each != endpoint)


def _endpoints(provider: Mapping[str, Any], domain: str) -> tuple[Endpoint, ...]:
    found = [
        Endpoint(
            server["host"].replace("{domain}", domain), server["port"], Security(server["security"])
        )
        for server in provider["smtp"]
    ]
    good = [each for each in found if "{" not in each.host and each.security is not Security.NONE]
    return tuple(sorted(good, key=lambda each: each.port == _HOST_TO_HOST))


def _guesses(domain: str) -> tuple[Endpoint, ...]:
    names = (f"smtp.{domain}", f"mail.{domain}") if domain else ()
    return tuple(Endpoint(name, *usual) for name in names for usual in _USUAL)


def _security_of(port: int, known: Iterable[Endpoint]) -> Security:
    same = [each.security for each in known if each.port == port]
    return same[0] if same else Security.IMPLICIT if port == 465 else Security.STARTTLS


def _usernames(address: str, provider: Mapping[str, Any]) -> tuple[str, ...]:
    local_part, _, domain = address.rpartition("@")
    form = provider.get("auth", {}).get("username", "email")
    match form:
        case "email":
            return (address, local_part)
        case "localpart":
            return (local_part, address)
        case "postmaster@domain":
            return (f"postmaster@{domain}", address)
        case str() if form.startswith("fixed:"):
            return (form.removeprefix("fixed:"),)
        case _:
            return ()


def _hints(provider: Mapping[str, Any]) -> Iterable[str]:
    auth = provider.get("auth", {})
    if not provider.get("smtp", True):
        yield f"{provider['name']} has no server to submit mail to."
    if "enable_first" in auth:
        yield f"First: {auth['enable_first']}."
    methods = auth.get("methods", ())
    if methods and methods[0] == "app_password":
        yield "It wants an app password, which is not the one of the mailbox."
    if list(methods) == ["oauth2"]:
        yield "It takes no passwords, only OAuth2."
    if "url" in provider.get("help", {}):
        yield f"Its own help: {provider['help']['url']}"

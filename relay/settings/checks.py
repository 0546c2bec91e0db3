"""What one key says about another: everything that the shape alone cannot refuse."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from ipaddress import IPv4Network
from typing import Any

from relay.channels.options import Security
from relay.inspect.lexica import shipped_languages
from relay.listener.options import Auth, Network, Tls
from relay.policy.limits import Window
from relay.policy.periods import divides_the_calendar
from relay.providers.published import tiers_of
from relay.settings.address import Endpoint, is_loopback
from relay.settings.document import Document, Section
from relay.settings.mistakes import Loc, did_you_mean, show
from relay.settings.model import (
    ANY_LANGUAGE,
    Application,
    CertificateChecks,
    Channel,
    File,
    Http,
    Limit,
    Listener,
    OAuth2,
    Part,
    Retry,
    Rule,
    SecretPlace,
    Smtp,
    When,
)
from relay.settings.provided import known_providers
from relay.settings.registration import check_registration
from relay.settings.units import format_duration

_OF_HOST = ("port", "security", "certificate_checks", "password", "oauth2")
UNITS = ("messages", "recipients", "distinct_recipients", "bytes")

Found = tuple[Loc, str]
"""A place and what is wrong there."""


def check(file: File, document: Document) -> Iterator[Found]:
    """Yield what does not fit together in the parts that have the right shape."""
    written = document.root.get("channels", Section(()))
    names = tuple(written) if isinstance(written, Section) else ()
    if isinstance(written, Section):
        yield from _channel_names(names)
    if document.root.get("listeners") == []:
        yield ("listeners",), "expected at least one listener, got an empty list"
    yield from _addresses(file)
    for listener in file.listeners:
        yield from _listener(listener)
    if file.http:
        yield from _http(file.http)
    for name, channel in file.channels.items():
        yield from _channel(channel, name)
    yield from _kinds(file)
    for rule in file.routing.rules:
        yield from _rule(rule, names)
        yield from _when(rule.when, file)
    for kind_rule in file.classification.rules:
        yield from _when(kind_rule.when, file)
    for language in file.classification.phrases:
        if language != ANY_LANGUAGE and language not in shipped_languages():
            meant = did_you_mean(language, (ANY_LANGUAGE, *shipped_languages()))
            yield ("classification", "phrases", language), f"unknown language: {meant}"
    yield from _retry(file.retry)


def _channel_names(names: Collection[str]) -> Iterator[Found]:
    if not names:
        yield ("channels",), "expected at least one channel, got none"
    elif not {"direct", "native"}.intersection(names):
        message = "expected one named direct or native, for mail that no rule sends elsewhere"
        yield ("channels",), f"{message}, got {', '.join(names)}"


def _addresses(file: File) -> Iterator[Found]:
    taken: list[tuple[Endpoint, str]] = []
    given = [(listener.at("address"), listener.address) for listener in file.listeners]
    if file.http:
        given.append((("http", "address"), file.http.address))
    for loc, (text, endpoint) in given:
        clash = next((other for known, other in taken if known.clashes(endpoint)), None)
        if clash:
            yield loc, f"expected an address of its own, got {text} beside {clash}"
        taken.append((endpoint, text))


def _listener(listener: Listener) -> Iterator[Found]:
    text, endpoint = listener.address
    is_protected = listener.auth is Auth.REQUIRED or listener.networks
    is_known = listener.knows("auth", "networks")
    if is_known and not endpoint.ip.is_loopback and not is_protected:
        message = "expected `auth: required` or `networks` beside an address that is not loopback"
        yield listener.at("address"), f"{message}, got {text} open to all"
    if listener.knows("auth") and listener.auth is not Auth.REQUIRED:
        for index, network in enumerate(listener.networks):
            if _is_the_internet(network):
                message = "expected a network of yours, or `auth: required` beside it"
                yield listener.item("networks", index), f"{message}, got {network}"
    yield from _listener_auth(listener)
    yield from _listener_tls(listener)


def _is_the_internet(network: Network) -> bool:
    """Return whether it is wider than any private network (10.0.0.0/8, fc00::/7)."""
    return network.prefixlen < (8 if isinstance(network, IPv4Network) else 7)


def _listener_auth(listener: Listener) -> Iterator[Found]:
    is_known = listener.knows("auth", "applications")
    if is_known and listener.auth is not Auth.OFF and not listener.applications:
        yield listener.at("auth"), f"expected applications beside `auth: {listener.auth}`, got none"
    if is_known and listener.auth is Auth.OFF and listener.applications:
        message = "expected `auth: required` or `auth: optional` beside it, got off"
        yield listener.at("applications"), message
    seen = set()
    for application in listener.applications:
        if application.login in seen:
            yield application.at("login"), f"expected once, got '{application.login}' again"
        seen.add(application.login)
        yield from _secret(application.password)


def _kinds(file: File) -> Iterator[Found]:
    """Yield applications of which two listeners say different things."""
    seen: dict[str, Application] = {}
    for application in [app for listener in file.listeners for app in listener.applications]:
        first = seen.setdefault(application.login, application)
        for key in ("kind", "trust_kind_field"):
            said, before = getattr(application, key), getattr(first, key)
            if said != before and application.knows(key) and first.knows(key):
                message = f"expected the same for '{application.login}' at every listener"
                yield application.at(key), f"{message}, got {show(said)} and {show(before)}"


def _listener_tls(listener: Listener) -> Iterator[Found]:
    files = {"certificate": listener.certificate, "key": listener.key}
    for key, path in files.items():
        if not listener.knows("tls", key):
            continue
        if listener.tls is Tls.NONE and path is not None:
            message = "expected `tls: starttls` or `tls: implicit` beside it, got none"
            yield listener.at(key), message
        if listener.tls is not Tls.NONE and path is None:
            yield listener.at("tls"), f"expected a {key} beside `tls: {listener.tls}`, got none"


def _http(http: Http) -> Iterator[Found]:
    text, endpoint = http.address
    if not endpoint.ip.is_loopback and not http.behind_proxy and http.knows("behind_proxy"):
        message = (
            "expected loopback, or `behind_proxy: true` if a proxy encrypts and checks who comes"
        )
        yield http.at("address"), f"{message}, got {text}"


def _secret(place: SecretPlace) -> Iterator[Found]:
    yield from _exactly_one(place, ("file", "env", "credential"))


def _channel(channel: Channel, name: str) -> Iterator[Found]:
    yield from _exactly_one(channel, ("smtp", "sendmail", "folder"), none="smtp")
    if channel.smtp:
        yield from _smtp(channel.smtp)
    if channel.sendmail and channel.sendmail.knows("command"):
        yield from _command(channel.sendmail.at("command"), channel.sendmail.command)
    yield from _provider(channel)
    seen = set()
    for limit in channel.limits:
        yield from _exactly_one(limit, UNITS)
        yield from _window(limit)
        unit = next((unit for unit in UNITS if getattr(limit, unit) is not None), "")
        key = (unit, limit.per, limit.window, limit.timezone, limit.refill)
        if not limit.knows("per", "window", "timezone", "refill"):
            continue
        if key in seen:
            message = f"expected one limit of {unit} per {_span(limit)}"
            yield limit.at(), f"{message} in {name}, got another"
        seen.add(key)


def _window(limit: Limit) -> Iterator[Found]:
    """Yield what a kind of window needs and what it does not know."""
    if not limit.knows("window", "per", "refill", "timezone"):
        return
    window, per = limit.window, limit.per
    if window is Window.TOKEN_BUCKET:
        if limit.refill is None:
            yield limit.at(), "expected a refill such as 1 per 30m with token_bucket, got none"
        if per is not None:
            yield limit.at("per"), "expected refill alone with token_bucket, got per"
        if limit.distinct_recipients is not None:
            yield (
                limit.at("window"),
                "expected another window for distinct_recipients, got token_bucket",
            )
        return
    if limit.refill is not None:
        yield limit.at("refill"), f"expected it with token_bucket only, got it with {window}"
    if per is None:
        yield limit.at("per"), "expected a duration such as 90s, 5m, 24h or 5d, got nothing"
    elif window is Window.CALENDAR:
        if limit.timezone is None:
            message = "expected a timezone such as Europe/Berlin with calendar, got none"
            yield limit.at(), message
        if isinstance(per, timedelta) and not divides_the_calendar(per):
            message = "expected a part of a day such as 1h, whole days such as 24h or 7d, or 1mo"
            yield limit.at("per"), f"{message}, got {format_duration(per)}"
    elif isinstance(per, str):
        yield limit.at("per"), f"expected a duration such as 30d with {window}, got {per}"
    if limit.timezone is not None and window is not Window.CALENDAR:
        yield limit.at("timezone"), f"expected it with calendar only, got it with {window}"


def _span(limit: Limit) -> str:
    if limit.refill is not None:
        return format_duration(limit.refill[1])
    return format_duration(limit.per) if isinstance(limit.per, timedelta) else str(limit.per)


def _provider(channel: Channel) -> Iterator[Found]:
    """Yield what is said of a provider that is not known, or does not know its tier."""
    if channel.provider is None and channel.tier is None:
        return
    known = known_providers()
    name = channel.provider
    if name is not None and name not in known.all:
        near = [each for each, data in known.all.items() if _is_called(data, name.lower())]
        choice = f"did you mean {' or '.join(near)}?" if near else "relay/providers has the list"
        yield channel.at("provider"), f"unknown provider '{name}': {choice}"
        return
    if name is None and channel.smtp and channel.smtp.host and channel.knows("smtp"):
        name = known.by_host(channel.smtp.host, channel.smtp.username)
    if channel.tier is None or not channel.knows("tier", "provider", "smtp"):
        return
    tiers = tiers_of(known.all[name]) if name is not None else ()
    if name is None:
        yield channel.at("tier"), "expected a provider beside it, got none that is known"
    elif channel.tier not in tiers:
        choice = did_you_mean(channel.tier, tiers) if tiers else "it has none"
        yield channel.at("tier"), f"unknown tier '{channel.tier}' of {name}: {choice}"


def _is_called(provider: Mapping[str, Any], word: str) -> bool:
    names = (provider["id"], provider["name"], *provider.get("also", ()))
    return any(word in each.lower() for each in names)


def _command(loc: Loc, command: tuple[str, ...]) -> Iterator[Found]:
    if not command:
        yield loc, "expected a program and its arguments, got an empty list"
    elif not command[0].startswith("/"):
        yield loc, f"expected an absolute path first, got '{command[0]}' (there is no shell)"


def _smtp(smtp: Smtp) -> Iterator[Found]:
    yield from _senders(smtp)
    if smtp.host is None:
        if smtp.knows("host"):
            yield from _without_host(smtp)
        return
    if smtp.oauth2 is not None:
        yield from _oauth2(smtp, smtp.oauth2)
    elif smtp.knows("username", "password", "oauth2"):
        if smtp.username is not None and smtp.password is None:
            yield smtp.at("username"), "expected a password beside it, got none"
        if smtp.password is not None and smtp.username is None:
            yield smtp.at("password"), "expected a username beside it, got none"
    if smtp.password is not None:
        yield from _secret(smtp.password)
    yield from _protection(smtp, smtp.host)


def _without_host(smtp: Smtp) -> Iterator[Found]:
    """Yield what is said of a server that is not named."""
    for key in _OF_HOST:
        if key in smtp.model_fields_set and smtp.knows(key):
            message = "expected a host beside it, or all of it left to `relay connect`"
            yield smtp.at(key), f"{message}, got none"


def _senders(smtp: Smtp) -> Iterator[Found]:
    if smtp.host is None and smtp.username is None:
        return  # whoever connects it has an address
    names_none = smtp.rewrite_from is None and "@" not in (smtp.username or "")
    if smtp.senders and names_none and smtp.knows("rewrite_from", "username"):
        message = "expected a rewrite_from beside it, as the username is no address, got none"
        yield smtp.at("senders"), message
    if smtp.rewrite_from is not None and not smtp.senders and smtp.knows("senders"):
        yield smtp.at("rewrite_from"), "expected senders beside it, got none"


def _protection(smtp: Smtp, host: str) -> Iterator[Found]:
    if is_loopback(host):
        return
    if smtp.security is Security.NONE:
        is_allowed = smtp.allow_unencrypted_password or not smtp.knows("allow_unencrypted_password")
        if smtp.username is not None and not is_allowed:
            message = (
                "expected starttls or implicit, or `allow_unencrypted_password: true` beside it"
            )
            yield smtp.at("security"), f"{message}, got none with a password for {host}"
    elif smtp.certificate_checks is CertificateChecks.OFF and smtp.knows("security"):
        message = f"expected on, or {CertificateChecks.OFF_ANYWHERE}"
        yield smtp.at("certificate_checks"), f"{message} as {host} is not loopback, got off"


def _oauth2(smtp: Smtp, oauth2: OAuth2) -> Iterator[Found]:
    if smtp.password is not None:
        yield smtp.at("password"), "expected it or oauth2, got both"
    if smtp.username is None and smtp.knows("username"):
        yield smtp.at("oauth2"), "expected a username beside it, got none"
    if oauth2.client_secret is not None:
        yield from _secret(oauth2.client_secret)
    yield from check_registration(oauth2)


def _rule(rule: Rule, channels: Collection[str]) -> Iterator[Found]:
    others = [key for key in ("via", "hold", "redirect") if getattr(rule, key) is not None]
    if rule.refuse is not None and others:
        yield rule.at("refuse"), f"expected it alone, got {', '.join(others)} beside it"
    is_idle = rule.refuse is None and not others
    if is_idle and rule.knows("via", "hold", "redirect", "refuse"):
        yield rule.at(), "expected via, hold, redirect or refuse, got none of them"
    if rule.via is not None:
        if not rule.via and rule.knows("via"):
            yield rule.at("via"), "expected at least one channel, got an empty list"
        yield from _known(rule, "via", rule.via, channels)
        for index, name in enumerate(rule.via):
            if name in rule.via[:index]:
                yield rule.item("via", index), f"expected once, got '{name}' again"


def _when(when: When, file: File) -> Iterator[Found]:
    addresses = {listener.address[0] for listener in file.listeners}
    logins = {app.login for listener in file.listeners for app in listener.applications}
    if file.knows("listeners"):
        yield from _known(when, "listener", when.listener, addresses)
    if file.knows("listeners") and all(it.knows("applications") for it in file.listeners):
        yield from _known(when, "application", when.application, logins)
    if (
        when.larger_than is not None
        and when.smaller_than is not None
        and when.larger_than + 1 >= when.smaller_than
    ):
        yield when.at("larger_than"), "expected less than smaller_than, got more: nothing fits both"


def _known(part: Part, key: str, used: Iterable[str], known: Collection[str]) -> Iterator[Found]:
    for index, name in enumerate(used):
        if name not in known:
            word = {"via": "channel"}.get(key, key)
            yield part.item(key, index), f"unknown {word} '{name}': {did_you_mean(name, known)}"


def _retry(retry: Retry) -> Iterator[Found]:
    if not retry.knows("waits", "give_up_after"):
        return
    if not retry.waits:
        yield retry.at("waits"), "expected at least one duration, got an empty list"
    elif retry.give_up_after <= retry.waits[0]:
        first, last = format_duration(retry.waits[0]), format_duration(retry.give_up_after)
        yield retry.at("give_up_after"), f"expected more than the first wait, {first}, got {last}"


def _exactly_one(part: Part, keys: tuple[str, ...], none: str = "") -> Iterator[Found]:
    """Yield if more than one is given, or none where that does not mean one of them."""
    given = [key for key in keys if getattr(part, key) is not None] or [none] * bool(none)
    if part.knows(*keys) and len(given) != 1:
        got = " and ".join(given) or "none of them"
        yield part.at(), f"expected exactly one of {', '.join(keys)}, got {got}"

"""From the models of a checked file to the values that the rooms take."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from relay.channels.options import (
    FolderOptions,
    Security,
    SendmailOptions,
    SmtpOptions,
    UnconnectedOptions,
)
from relay.connect.options import Grant
from relay.inspect.inspection import Guide
from relay.listener.options import Application, ListenerOptions
from relay.policy.limits import Limit, Unit, reserve_of
from relay.policy.phrases import Phrase
from relay.policy.retry import Schedule
from relay.policy.rules import Condition, Glob, KindRule, Rule
from relay.settings import model
from relay.settings.address import is_loopback
from relay.settings.document import Document
from relay.settings.registration import registration_of
from relay.settings.secret import CredentialSecret, EnvSecret, FileSecret, Secret
from relay.settings.values import (
    ChannelOptions,
    ChannelSettings,
    Classification,
    History,
    Log,
    LogFormat,
    LogLevel,
    Reports,
    Routing,
    Settings,
)
from relay.web.options import HttpOptions

_PORTS = {Security.IMPLICIT: 465, Security.STARTTLS: 587, Security.NONE: 25}
_LONGEST_MONTH = timedelta(days=31)
_TOKEN_KEY = "relay-token-key"  # noqa: S105 -- of systemd: LoadCredential=relay-token-key:/path
_OF_PROVIDER = {"limits", "connections", "max_recipients", "messages_per_connection"}
_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")


def build(file: model.File, document: Document, env: Mapping[str, str]) -> Settings:
    """Return the settings of a file without mistakes; `warnings` is still empty."""
    hostname = file.hostname or socket.gethostname() or "localhost"
    state_dir = Path(file.state_dir)
    channels = {
        name: _channel(name, channel, file, state_dir, env)
        for name, channel in file.channels.items()
    }
    return Settings(
        source=document.file,
        rehearsal=file.rehearsal,
        state_dir=state_dir,
        hostname=hostname,
        listeners=tuple(_listener(listener, hostname, env) for listener in file.listeners),
        http=_http(file.http) if file.http else None,
        channels=MappingProxyType(channels),
        classification=_classification(file, document),
        routing=Routing(
            only_use_for_direct_emails=file.routing.only_use_for_direct_emails,
            rules=tuple(
                _rule(rule, number, document)
                for number, rule in enumerate(file.routing.rules, start=1)
            ),
        ),
        retry=Schedule(
            waits=file.retry.waits,
            give_up_after=file.retry.give_up_after,
            in_doubt_wait=file.retry.in_doubt_wait,
            held_in_doubt=frozenset(
                kind for kind, do in file.retry.in_doubt.items() if do is model.WhenInDoubt.HOLD
            ),
            delay_notice_after=file.retry.delay_notice_after,
        ),
        reports=Reports(
            address=file.reports.address or f"postmaster@{hostname}", name=file.reports.name
        ),
        history=History(keep=file.history.keep, keep_content=file.history.keep_content),
        log=Log(level=LogLevel(file.log.level), format=LogFormat(file.log.format)),
        drain=file.shutdown.drain,
        warnings=(),
    )


def secret_of(place: model.SecretPlace, env: Mapping[str, str]) -> Secret:
    """Return what reads the secret that is kept in `place`."""
    if place.file is not None:
        return FileSecret(place.file)
    if place.env is not None:
        return EnvSecret(place.env, env)
    assert place.credential is not None, "checked: exactly one"
    return CredentialSecret(place.credential, env)


def _listener(listener: model.Listener, hostname: str, env: Mapping[str, str]) -> ListenerOptions:
    text, endpoint = listener.address
    return ListenerOptions(
        address=text,
        host=str(endpoint.ip),
        port=endpoint.port,
        tls=listener.tls,
        certificate=listener.certificate,
        key=listener.key,
        auth=listener.auth,
        applications=tuple(
            Application(app.login, secret_of(app.password, env)) for app in listener.applications
        ),
        networks=listener.networks,
        max_message_bytes=listener.max_message_size,
        max_recipients=listener.max_recipients,
        max_connections=listener.max_connections,
        max_hops=listener.max_hops,
        hostname=hostname,
        idle_seconds=listener.idle_timeout.total_seconds(),
        transaction_seconds=listener.transaction_timeout.total_seconds(),
    )


def _http(http: model.Http) -> HttpOptions:
    text, endpoint = http.address
    own = f"[{endpoint.ip}]" if endpoint.ip.version == 6 else str(endpoint.ip)
    named = [f"[{host}]" if ":" in host else host.lower() for host in http.allowed_hosts]
    hosts = [*_THIS_MACHINE, *([] if endpoint.ip.is_unspecified else [own]), *named]
    return HttpOptions(
        address=text,
        host=str(endpoint.ip),
        port=endpoint.port,
        allowed_hosts=tuple(dict.fromkeys(hosts)),
    )


def _channel(
    name: str, channel: model.Channel, file: model.File, state_dir: Path, env: Mapping[str, str]
) -> ChannelSettings:
    options: ChannelOptions
    if file.rehearsal:
        options = FolderOptions(path=str(state_dir / "rehearsal" / name))
    elif channel.sendmail:
        options = SendmailOptions(
            command=channel.sendmail.command,
            timeout_seconds=channel.sendmail.timeout.total_seconds(),
        )
    elif channel.folder:
        options = FolderOptions(path=channel.folder.path)
    else:
        smtp = _smtp(channel.smtp or model.Smtp(), channel.connections, file.hostname, env)
        options = smtp if smtp.host else UnconnectedOptions(smtp)
    return ChannelSettings(
        name=name,
        options=options,
        connections=channel.connections,
        limits=tuple(_limit(limit) for limit in channel.limits),
        max_recipients=channel.max_recipients,
        max_message_bytes=_max_bytes(channel),
        provider=channel.provider,
        tier=channel.tier,
        headroom=channel.headroom,
        grant=None if file.rehearsal else _grant(name, channel.smtp, state_dir, env),
        own=_own(channel),
    )


def _own(channel: model.Channel) -> frozenset[str]:
    """Return the keys that the owner gave, of those that a provider's knowledge may fill."""
    written = set(channel.model_fields_set)
    if channel.smtp:
        written |= channel.smtp.model_fields_set
    return frozenset(written & _OF_PROVIDER)


def _smtp(
    smtp: model.Smtp, connections: int, hostname: str | None, env: Mapping[str, str]
) -> SmtpOptions:
    checks = smtp.certificate_checks
    host = smtp.host or ""
    verify = checks is model.CertificateChecks.ON if checks else not is_loopback(host)
    return SmtpOptions(
        host=host,
        port=smtp.port or _PORTS[smtp.security],
        security=smtp.security,
        verify=verify,
        ca_file=smtp.ca_file,
        username=smtp.username,
        password=secret_of(smtp.password, env) if smtp.password else None,
        senders=tuple(each.lower() for each in smtp.senders),
        rewrite_from=smtp.rewrite_from,
        hello=smtp.hello or hostname,
        connections=connections,
        messages_per_connection=smtp.messages_per_connection,
        new_connections=_rate(smtp.new_connections),
        idle_seconds=smtp.idle_timeout.total_seconds(),
        connect_seconds=smtp.connect_timeout.total_seconds(),
        command_seconds=smtp.command_timeout.total_seconds(),
        final_dot_seconds=smtp.final_dot_timeout.total_seconds(),
        stall_seconds=smtp.stall_timeout.total_seconds(),
    )


def _rate(rate: tuple[int, timedelta] | None) -> tuple[int, float] | None:
    return None if rate is None else (rate[0], rate[1].total_seconds())


def _grant(
    channel: str, smtp: model.Smtp | None, state_dir: Path, env: Mapping[str, str]
) -> Grant | None:
    if smtp is None or smtp.oauth2 is None:
        return None
    secret = secret_of(smtp.oauth2.client_secret, env) if smtp.oauth2.client_secret else None
    key_file = Path(env.get("CREDENTIALS_DIRECTORY") or "/nonexistent", _TOKEN_KEY)
    return Grant(
        registration=registration_of(smtp.oauth2, secret),
        state_dir=state_dir,
        channel=channel,
        key_file=key_file if key_file.exists() else None,
    )


def _limit(limit: model.Limit) -> Limit:
    unit, maximum = next(
        (unit, maximum) for unit in Unit if (maximum := getattr(limit, unit)) is not None
    )
    refill, per = limit.refill or (0, limit.per)
    assert per is not None, "checked: one of refill and per"
    return Limit(
        unit,
        maximum,
        _LONGEST_MONTH if isinstance(per, str) else per,
        window=limit.window,
        timezone=limit.timezone or "UTC",
        is_month=isinstance(per, str),
        refill=refill,
        reserve=reserve_of(maximum, limit.reserve),
    )


def _max_bytes(channel: model.Channel) -> int | None:
    """Return the largest message that can ever go by a channel, None for any."""
    sizes = [limit.bytes for limit in channel.limits] + [channel.max_message_size]
    return min((size for size in sizes if size is not None), default=None)


def _classification(file: model.File, document: Document) -> Classification:
    applications = [app for listener in file.listeners for app in listener.applications]
    trusted = [
        *(listener.address[0] for listener in file.listeners if listener.trust_kind_field),
        *(app.login for app in applications if app.trust_kind_field),
    ]
    kinds = {app.login: app.kind for app in applications if app.kind is not None}
    phrases = tuple(
        Phrase(text, concept, "" if language == model.ANY_LANGUAGE else language, weight)
        for language, headings in file.classification.phrases.items()
        for concept, phrases in headings.items()
        for text, weight in phrases
    )
    return Classification(
        guide=Guide(
            phrases=phrases,
            trusted=frozenset(trusted),
            application_kinds=MappingProxyType(kinds),
        ),
        rules=tuple(
            KindRule(
                name=rule.name or f"classification rule {number} ({_place(rule, document)})",
                when=_condition(rule.when),
                kind=rule.kind,
            )
            for number, rule in enumerate(file.classification.rules, start=1)
        ),
    )


def _place(part: model.Part, document: Document) -> str:
    return f"{Path(document.file).name}:{document.lines[part.at()]}"


def _rule(rule: model.Rule, number: int, document: Document) -> Rule:
    return Rule(
        name=rule.name or f"rule {number} ({_place(rule, document)})",
        when=_condition(rule.when),
        via=rule.via,
        hold=rule.hold,
        redirect=rule.redirect,
        refuse=rule.refuse,
    )


def _condition(when: model.When) -> Condition:
    return Condition(
        kinds=frozenset(when.kind),
        sender=_globs(when.sender),
        recipient=_globs(when.recipient),
        header=tuple((name.lower(), _globs(globs)) for name, globs in when.header.items()),
        applications=frozenset(when.application),
        listeners=frozenset(when.listener),
        larger_than=when.larger_than,
        smaller_than=when.smaller_than,
    )


def _globs(patterns: tuple[str, ...]) -> tuple[Glob, ...]:
    return tuple(map(Glob, patterns))

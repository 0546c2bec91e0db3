"""`relay check`: every mistake of the settings, or what they amount to."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.config import Config
from relay.cli.daemon import Json
from relay.cli.exits import Exit
from relay.cli.terminal import Styled, complain, say, say_json, show_table
from relay.cli.words import count, moment, size

if TYPE_CHECKING:
    from relay.policy.kinds import Kind
    from relay.settings.mistakes import SettingsError
    from relay.settings.values import ChannelSettings, Settings


def check(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say it as one JSON object.")] = False,
) -> None:
    """Look the settings over: every mistake, or what they mean.

    Mistakes go to standard error, one a line, as FILE:LINE: KEY: what was expected, and it ends
    with 78. Nothing is started and nothing is sent.
    """
    from relay.settings.loader import load
    from relay.settings.mistakes import SettingsError

    try:
        settings = load(config, os.environ)
    except SettingsError as error:
        _tell_mistakes(error, as_json)
        raise typer.Exit(Exit.SETTINGS) from None
    if as_json:
        say_json(_as_json(settings))
    else:
        _show(settings)


def _tell_mistakes(error: SettingsError, as_json: bool) -> None:
    if as_json:
        say_json({"ok": False, "mistakes": [asdict(mistake) for mistake in error.mistakes]})
        return
    for mistake in error.mistakes:
        complain(str(mistake))
    complain(f"{count(len(error.mistakes), 'mistake')}; relay would not start, or not reload.")


def _as_json(settings: Settings) -> Json:
    return {
        "ok": True,
        "settings": settings.source,
        "rehearsal": settings.rehearsal,
        "state_dir": str(settings.state_dir),
        "http": settings.http.address if settings.http else None,
        "listeners": [
            {"address": each.address, "tls": each.tls.value, "auth": each.auth.value}
            for each in settings.listeners
        ],
        "channels": [
            {
                "name": each.name,
                "upstream": _upstream(each),
                "connected_at": each.connected_at.isoformat() if each.connected_at else None,
                "connections": each.connections,
                "limits": [limit.name for limit in each.limits],
                "limits_from": _source(each),
                "max_recipients": each.max_recipients,
                "provider": each.published.provider if each.published else each.provider,
                "tiers": list(each.published.tiers) if each.published else [],
            }
            for each in settings.channels.values()
        ],
        "kind_rules": [rule.name for rule in settings.classification.rules],
        "rules": [rule.name for rule in settings.routing.rules],
        "kinds": {kind.value: list(channels) for kind, channels in _ways(settings).items()},
        "warnings": list(settings.warnings),
    }


def _show(settings: Settings) -> None:
    if settings.source == "rehearsal":
        say(Styled("No settings file: relay would rehearse.", "bold yellow"))
    else:
        say(f"{settings.source} has no mistakes.")
        if settings.rehearsal:
            say(Styled("It asks for a rehearsal: nothing leaves this machine.", "bold yellow"))
    for warning in settings.warnings:
        say(Styled("warning: ", "bold yellow"), warning)
    say()
    say(f"state       {settings.state_dir}")
    say(f"tells at    {f'http://{settings.http.address}' if settings.http else 'nowhere'}")
    say(f"retries     {_retries(settings)}")
    say()
    _show_listeners(settings)
    say()
    show_table(
        ("CHANNEL", "UPSTREAM", "CONNECTIONS", "LIMITS"),
        [
            (
                each.name,
                _upstream(each),
                str(each.connections),
                ", ".join(limit.name for limit in each.limits) or "none",
            )
            for each in settings.channels.values()
        ],
        right="CONNECTIONS",
    )
    for each in settings.channels.values():
        _show_provider(each)
        if each.connected_at:
            _show_connected(each.name, each.connected_at)
    say()
    _show_ways(settings)


def _source(channel: ChannelSettings) -> str:
    """Return whose limits a channel keeps."""
    if "limits" in channel.own:
        return "owner"
    return "provider" if channel.published and channel.published.limits else "none"


def _show_provider(channel: ChannelSettings) -> None:
    """Say what comes from what is known of the provider, and what could be said of it."""
    known = channel.published
    if known is None:
        return
    if _source(channel) == "provider":
        say(
            f"{channel.name} keeps {known.headroom}% of the limits that {known.name} publishes"
            f" (certainty: {known.confidence})."
        )
    elif _source(channel) == "none":
        say(f"{channel.name} is with {known.name}, whose limits are not known: set `limits`.")
    if known.tiers and known.tier is None and _source(channel) == "provider":
        say(f"  It takes the lowest tier. `tier` can be: {'; '.join(known.tiers)}.")
    if known.max_content_bytes is not None:
        say(f"  Of one message it takes {size(known.max_content_bytes)}.")


def _show_connected(channel: str, at: datetime) -> None:
    say(f"{channel} was connected by `relay connect` at {moment(at)}: server and account are those")
    say(f"it kept, not those of the file. `relay connect {channel} --forget` undoes that.")


def _show_listeners(settings: Settings) -> None:
    show_table(
        ("LISTENER", "TLS", "AUTH", "CLIENTS", "LARGEST"),
        [
            (
                each.address,
                each.tls.value,
                each.auth.value,
                ", ".join(map(str, each.networks)) or "any that reach it",
                size(each.max_message_bytes),
            )
            for each in settings.listeners
        ],
    )


def _show_ways(settings: Settings) -> None:
    said = settings.classification
    if said.rules:
        say(
            "What mail is, the first of these says that fits: ",
            ", ".join(r.name for r in said.rules),
        )
    for login, kind in said.guide.application_kinds.items():
        say(f"Mail of {login} is {kind}, if nothing says otherwise.")
    if said.guide.trusted:
        say("What X-Relay-Kind says counts from ", ", ".join(sorted(said.guide.trusted)), ".")
    if settings.routing.rules:
        say(
            "First come the rules, the first that fits decides: ",
            ", ".join(rule.name for rule in settings.routing.rules),
        )
    kinds: dict[tuple[str, ...], list[str]] = {}
    for kind, channels in _ways(settings).items():
        kinds.setdefault(channels, []).append(kind.value)
    show_table(
        ("KIND", "GOES BY"),
        [(", ".join(names), ", then ".join(channels)) for channels, names in kinds.items()],
    )


def _ways(settings: Settings) -> dict[Kind, tuple[str, ...]]:
    """Return by which channels each kind goes when no rule says otherwise."""
    from relay.policy.kinds import Kind, Verdict
    from relay.policy.route import RouteRules, default_channels

    rules = RouteRules(
        only_use_for_direct_emails=settings.routing.only_use_for_direct_emails,
        rules=(),
        channels=tuple(settings.channels),
    )
    return {
        kind: default_channels(Verdict(kind=kind, certainty=1.0, reasons=()), rules)
        for kind in Kind
    }


def _upstream(channel: ChannelSettings) -> str:
    from relay.channels.options import (
        FolderOptions,
        SendmailOptions,
        SmtpOptions,
        UnconnectedOptions,
    )

    match channel.options:
        case SmtpOptions() as smtp:
            login = f", as {smtp.username}" if smtp.username else ""
            checks = "" if smtp.verify else ", certificate not checked"
            return f"{smtp.host}:{smtp.port} ({smtp.security.value}{login}{checks})"
        case UnconnectedOptions():
            return "not connected yet"
        case SendmailOptions() as sendmail:
            return " ".join(sendmail.command)
        case FolderOptions() as folder:
            return folder.path


def _retries(settings: Settings) -> str:
    from relay.settings.units import format_duration

    waits = ", ".join(map(format_duration, settings.retry.waits))
    end = format_duration(settings.retry.give_up_after)
    return f"after {waits} (the last one again and again), given up after {end}"

"""Connections that `relay connect` kept, in the place of what the file says."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from relay.channels.options import SmtpOptions, UnconnectedOptions
from relay.connect.kept import Kept, KeptError, KeptPassword, path_of, read
from relay.settings.address import is_loopback
from relay.settings.values import ChannelSettings, Settings


def as_connected(settings: Settings) -> Settings:
    """Return `settings` with kept connections in use.

    One that cannot be read is a warning, and so is a channel that has none and needs one.
    """
    channels, warnings = dict(settings.channels), list(settings.warnings)
    for name, channel in channels.items():
        written = written_of(channel)
        if written is None:
            continue
        try:
            kept = read(settings.state_dir, name)
        except KeptError as error:
            kept = None
            warnings.append(f"channels.{name}: {error}; what {settings.source} says is used")
        if kept is not None:
            password = KeptPassword(path_of(settings.state_dir, name), kept.connected_at)
            channels[name] = _connected(channel, written, kept, password)
        elif not written.host:
            warnings.append(
                f"channels.{name}: not connected to an account yet: run `relay connect {name}`;"
                " its mail waits, and what matters takes another channel if there is one"
            )
    return replace(settings, channels=MappingProxyType(channels), warnings=tuple(warnings))


def written_of(channel: ChannelSettings) -> SmtpOptions | None:
    """Return what the settings say of an SMTP channel, host "" if nothing; None for others."""
    match channel.options:
        case (SmtpOptions() as smtp) | UnconnectedOptions(smtp):
            return smtp
        case _:
            return None


def _connected(
    channel: ChannelSettings, written: SmtpOptions, kept: Kept, password: KeptPassword
) -> ChannelSettings:
    """Return `channel` with the kept connection.

    What was said of the provider of another server does not hold for this one.
    """
    same = written.host in ("", kept.host)
    return replace(
        channel,
        options=options_of(written, kept, password),
        provider=channel.provider if same else None,  # told by the new host
        tier=channel.tier if same else None,
        grant=None,
        connected_at=kept.connected_at,
    )


def options_of(options: SmtpOptions, kept: Kept, password: KeptPassword) -> SmtpOptions:
    """Return `options` with the kept server and account.

    What the owner said about certificates holds for the server that it was said of.
    """
    same = options.host == kept.host
    return replace(
        options,
        host=kept.host,
        port=kept.port,
        security=kept.security,
        verify=options.verify if same else not is_loopback(kept.host),
        username=kept.username,
        password=password if kept.password is not None else None,
    )

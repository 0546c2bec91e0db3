"""Connections that `relay connect` kept, in the place of what the file says."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from relay.channels.options import SmtpOptions
from relay.connect.kept import Kept, KeptError, KeptPassword, path_of, read
from relay.settings.address import is_loopback
from relay.settings.values import Settings


def as_connected(settings: Settings) -> Settings:
    """Return `settings` with kept connections in use; one that cannot be read is a warning."""
    channels, warnings = dict(settings.channels), list(settings.warnings)
    for name, channel in channels.items():
        if not isinstance(channel.options, SmtpOptions):
            continue
        try:
            kept = read(settings.state_dir, name)
        except KeptError as error:
            warnings.append(f"channels.{name}: {error}; what {settings.source} says is used")
            continue
        if kept is not None:
            password = KeptPassword(path_of(settings.state_dir, name), kept.connected_at)
            options = options_of(channel.options, kept, password)
            same = options.host == channel.options.host
            channels[name] = replace(
                channel,
                options=options,
                provider=channel.provider if same else None,  # told by the new host
                tier=channel.tier if same else None,
                grant=None,
                connected_at=kept.connected_at,
            )
    return replace(settings, channels=MappingProxyType(channels), warnings=tuple(warnings))


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

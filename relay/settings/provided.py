"""What is known of a channel's provider, where the owner said nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import combinations
from types import MappingProxyType

from relay.channels.options import SmtpOptions
from relay.policy.limits import Limit, reserve_of
from relay.providers.detect import Providers
from relay.providers.published import Published, published
from relay.settings.address import is_loopback
from relay.settings.model import RESERVE
from relay.settings.values import ChannelSettings, Settings


@cache
def known_providers() -> Providers:
    """Return what comes with the relay; read once, when first asked."""
    return Providers()


def as_provided(settings: Settings) -> Settings:
    """Return `settings` with the limits that providers publish, where the owner gave none.

    A warning is added for channels that are not independent of each other.
    """
    if settings.rehearsal:
        return settings
    channels = {name: _provided(channel) for name, channel in settings.channels.items()}
    return replace(
        settings,
        channels=MappingProxyType(channels),
        warnings=(*settings.warnings, *_dependent(list(channels.values()))),
    )


def provider_of(channel: ChannelSettings) -> str | None:
    """Return the id of a channel's provider: as the owner says, else by its server."""
    options = channel.options
    if channel.provider is not None or not isinstance(options, SmtpOptions):
        return channel.provider
    if is_loopback(options.host):
        return None
    return known_providers().by_host(options.host, options.username)


def _provided(channel: ChannelSettings) -> ChannelSettings:
    name = provider_of(channel)
    if name is None:
        return channel
    known = published(known_providers().all[name], channel.tier, channel.headroom)
    connections = channel.connections
    if "connections" not in channel.own and known.connections is not None:
        connections = min(connections, known.connections)
    recipients = channel.max_recipients
    if "max_recipients" not in channel.own and known.max_recipients is not None:
        recipients = min(recipients, known.max_recipients)
    options = channel.options
    if isinstance(options, SmtpOptions):
        options = _options(options, channel, known, connections)
    return replace(
        channel,
        options=options,
        connections=connections,
        max_recipients=recipients,
        limits=channel.limits if "limits" in channel.own else _with_reserve(known.limits),
        max_message_bytes=channel.max_message_bytes or known.max_content_bytes,
        published=known,
    )


def _with_reserve(limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
    """Return `limits` with the share for essential mail that the owner's have by default."""
    return tuple(replace(each, reserve=reserve_of(each.maximum, RESERVE)) for each in limits)


def _options(
    options: SmtpOptions, channel: ChannelSettings, known: Published, connections: int
) -> SmtpOptions:
    messages = options.messages_per_connection
    if "messages_per_connection" not in channel.own and known.messages_per_connection is not None:
        messages = min(messages, known.messages_per_connection)
    return replace(
        options,
        connections=connections,
        messages_per_connection=messages,
        max_content_bytes=known.max_content_bytes,
    )


def _dependent(channels: list[ChannelSettings]) -> Iterator[str]:
    """Yield a warning for each two channels that may well fail together."""
    for one, other in combinations(channels, 2):
        if not isinstance(one.options, SmtpOptions) or not isinstance(other.options, SmtpOptions):
            continue
        shared = _shared(one, other, one.options, other.options)
        if shared:
            yield (
                f"channels.{other.name}: not independent of {one.name}: both use {shared}, so that"
                " what stops one may stop the other, and their mail counts together"
            )


def _shared(
    one: ChannelSettings, other: ChannelSettings, mine: SmtpOptions, theirs: SmtpOptions
) -> str:
    """Return what two channels have in common, "" for nothing that matters."""
    at_same = mine.host.lower() == theirs.host.lower()
    if is_loopback(mine.host):
        at_same = at_same and mine.port == theirs.port
    at_one = one.published is not None and other.published is not None and _is_same(one, other)
    if mine.username and mine.username == theirs.username and (at_same or at_one):
        return f"the account {mine.username}"
    if at_one and one.published is not None:
        return one.published.name
    return f"the server {mine.host}" if at_same else ""


def _is_same(one: ChannelSettings, other: ChannelSettings) -> bool:
    assert one.published is not None
    assert other.published is not None
    return one.published.provider == other.published.provider

"""Who a channel may send as, and a parcel made to fit."""

from __future__ import annotations

from dataclasses import replace

from relay.channels.channel import Parcel
from relay.channels.options import SmtpOptions
from relay.channels.wire import first_bytes
from relay.mail.rewrite import rewrite_from


def own_address(options: SmtpOptions) -> str | None:
    """Return the address that takes the place of others, None if none is known."""
    if options.rewrite_from is not None:
        return options.rewrite_from
    return options.username if options.username and "@" in options.username else None


def may_send_as(options: SmtpOptions, address: str) -> bool:
    """Return whether the channel may send as `address`; an entry `*@example.com` is a domain."""
    wanted = address.lower()
    own = own_address(options)
    if not options.senders or wanted == (own or "").lower():
        return True
    domain = wanted.rpartition("@")[2]
    return wanted in options.senders or f"*@{domain}" in options.senders


async def as_own(parcel: Parcel, options: SmtpOptions) -> tuple[Parcel, str]:
    """Return the parcel as the channel may send it, and what was changed, in words.

    A null reverse-path stays. Raises OSError.
    """
    own = own_address(options)
    if not options.senders or own is None:
        return parcel, ""
    changes = []
    path = parcel.reverse_path
    if path is not None and not may_send_as(options, path):
        parcel = replace(parcel, reverse_path=own)
        changes.append(f"MAIL FROM was {path}")
    head = await first_bytes(parcel.content)
    rewritten = rewrite_from(head, lambda address: may_send_as(options, address), own)
    if rewritten is not None:
        parcel = replace(parcel, header=rewritten.header, instead_of=rewritten.instead_of)
        changes.append(f"From was {', '.join(rewritten.was)}")
    return parcel, f"sent as {own}: {', '.join(changes)}" if changes else ""

"""What `relay connect` asks a server for, once it is signed in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from relay.cli.daemon import SOCKET_NAME, utc_now

if TYPE_CHECKING:
    from relay.channels.options import SmtpOptions
    from relay.channels.smtp_probe import Questions
    from relay.settings.values import ChannelSettings

_MOST_SENDERS = 20  # that are asked for
_MANY = 500


def questions_of(
    options: SmtpOptions,
    channel: ChannelSettings,
    senders: list[str] | None,
    to: str | None,
    state_dir: Path,
    *,
    send: bool,
) -> Questions:
    """Return what to ask for: the named senders, those that wait, and the owner's mailbox."""
    from relay.channels.sender import may_send_as, own_address
    from relay.channels.smtp_probe import Questions
    from relay.connect.letter import trial_letter

    address = own_address(options)
    own = [address] if address else []
    addresses = tuple(dict.fromkeys(senders or own))
    waiting = dict.fromkeys(_waiting_senders(channel.name, state_dir))
    others = [each for each in waiting if each not in addresses and may_send_as(options, each)]
    recipient = to or (own[0] if own else None)
    parcel = None
    if send:
        if recipient is None or not addresses:
            raise typer.BadParameter("--send needs --to, and --from when you sign in by a name")
        parcel = trial_letter(
            channel=channel.name,
            upstream=f"{options.host}:{options.port}",
            sender=addresses[0],
            recipient=recipient,
            queue_id=f"{int(utc_now().timestamp() * 1000):X}",
            at=utc_now(),
        )
    return Questions(
        senders=addresses,
        waiting=tuple(others[:_MOST_SENDERS]),
        recipient=recipient,
        parcel=parcel,
    )


def _waiting_senders(channel: str, state_dir: Path) -> list[str]:
    """Return who waits to send by this channel, as far as a running relay can be asked."""
    from relay.web.client import ControlClient, ControlError, NotRunning

    client = ControlClient(state_dir / SOCKET_NAME)
    try:
        rows = [
            row
            for state in ("queued", "deferred")
            for row in client.queue(state=state, channel=channel, limit=_MANY)
        ]
    except (NotRunning, ControlError):
        return []
    return [row["reverse_path"] for row in rows if row["reverse_path"]]

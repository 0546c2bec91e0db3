"""`relay send`: hands in a test message as an application would, by SMTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.config import Config, read_settings
from relay.cli.exits import Exit, fail
from relay.cli.samples import RECIPIENT, SENDERS, Sample, make_sample

if TYPE_CHECKING:
    from relay.cli.submission import Door

_NULL = frozenset({"", "<>"})


def send(
    config: Config = None,
    kind: Annotated[
        Sample, typer.Option("--kind", "-k", help="What the message looks like.")
    ] = Sample.PLAIN,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", "-t", metavar="ADDRESS", help="Once for each recipient."),
    ] = None,
    sender: Annotated[
        str | None, typer.Option("--from", "-f", metavar="ADDRESS", help="<> for none.")
    ] = None,
    subject: Annotated[str | None, typer.Option("--subject", "-s", metavar="TEXT")] = None,
    attach: Annotated[
        list[Path] | None,
        typer.Option("--attach", "-a", metavar="FILE", exists=True, dir_okay=False),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Default: the first listener of the settings."),
    ] = None,
    number: Annotated[int, typer.Option("--count", "-n", min=1, help="How many messages.")] = 1,
) -> None:
    """Send a test message through relay, and show what it answers.

    In a rehearsal nothing leaves the machine and any address will do. Otherwise the message is
    really sent: say --to.
    """
    from relay.cli.submission import hand_in_all, telling_what_failed

    door = _parse_server(server) if server else _listener(config, has_recipient=bool(to))
    recipients = to or [RECIPIENT]
    author = SENDERS[kind] if sender in {None, *_NULL} else str(sender)
    try:
        message = make_sample(kind, author, recipients, subject, attach or [])
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", "", Exit.NOT_DONE)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    reverse_path = "" if sender in _NULL else author
    with telling_what_failed(door), door.open() as session:
        hand_in_all(session, reverse_path, recipients, message, number)


def _listener(config: Path | None, *, has_recipient: bool) -> Door:
    from relay.cli.submission import Door

    settings = read_settings(config)
    if not settings.rehearsal and not has_recipient:
        raise typer.BadParameter("say --to: this relay does not rehearse, it sends for real")
    listener = settings.listeners[0]
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- to connect, not to listen
    return Door(host=here.get(listener.host, listener.host), port=listener.port, listener=listener)


def _parse_server(text: str) -> Door:
    from relay.cli.submission import Door

    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port[:6]) <= 65535:
        raise typer.BadParameter(f"--server {text!r}: expected HOST:PORT")
    return Door(host=host.strip("[]"), port=int(port))

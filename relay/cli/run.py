"""`relay run`: the daemon, and its welcome when it rehearses.

Rich stays out of it: it would stay in memory for as long as the daemon lives.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import typer

from relay.cli.config import Config, end_with_mistakes
from relay.cli.exits import Exit, fail
from relay.cli.terminal import clean

if TYPE_CHECKING:
    from relay.settings.values import Settings

_WELCOME = """\
relay {version} REHEARSES: it takes mail, decides what each message is and which way it would go,
and writes it to a file. Nothing leaves this machine.

  it takes mail at   {address} (SMTP)
  it files mail in   {folder}
  it tells of itself {page}

Send a first mail from another terminal:

  {relay} send --kind invoice
  swaks --server {address} --from you@example.com --to friend@example.net
  {python} -c 'import smtplib; smtplib.SMTP("{host}", {port}).sendmail("you@example.com", \
"friend@example.net", "Subject: Hello\\n\\nHello there.")'

Then look: `{relay} status`, `{relay} queue list`.

{live}

Ctrl-C ends it. What follows is its log.
"""
_LIVE_WITHOUT_FILE = """\
To go live, write /etc/relay/relay.yaml (or a file that $RELAY_CONFIG or --config names), look it
over with `{relay} check`, and start again. The README has one to begin with."""
_LIVE_WITH_FILE = """\
To go live, take `rehearsal: true` out of {file} and start again."""


def run(config: Config = None) -> None:
    """Take mail and send it, until SIGTERM or Ctrl-C.

    Without settings it rehearses: mail is taken, decided on and filed, and nothing leaves the
    machine. SIGHUP reads the settings anew.
    """
    import asyncio

    import uvloop

    from relay.app.run import CannotRunError
    from relay.app.run import run as run_relay
    from relay.settings.loader import load
    from relay.settings.mistakes import SettingsError

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            drained = runner.run(run_relay(lambda: load(config, os.environ), os.environ, _welcome))
    except SettingsError as error:
        end_with_mistakes(error)
    except CannotRunError as error:
        fail(f"relay cannot run: {error}", "", Exit.NOT_DONE)
    raise typer.Exit(Exit.DONE if drained else Exit.LATER)


def _welcome(settings: Settings) -> None:
    if settings.rehearsal:
        typer.echo(_rehearsal(settings))
    elif sys.stderr.isatty():
        addresses = ", ".join(listener.address for listener in settings.listeners)
        typer.echo(f"relay takes mail at {addresses}; Ctrl-C ends it.", err=True)


def _rehearsal(settings: Settings) -> str:
    from relay import __version__

    listener = settings.listeners[0]
    relay = "relay" if not sys.argv[0].endswith("__main__.py") else "python -m relay"
    is_file = settings.source != "rehearsal"
    live = _LIVE_WITH_FILE if is_file else _LIVE_WITHOUT_FILE
    page = f"http://{settings.http.address}/metrics" if settings.http else "(http is switched off)"
    return _WELCOME.format(
        version=__version__,
        relay=relay,
        python="python3",
        address=listener.address,
        host=listener.host,
        port=listener.port,
        folder=clean(f"{settings.state_dir}/rehearsal/CHANNEL/*.eml"),
        page=page,
        live=live.format(relay=relay, file=clean(shlex.quote(settings.source))),
    )

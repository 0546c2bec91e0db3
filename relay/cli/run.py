"""`relay run`: the daemon, and its welcome when it rehearses.

Rich stays out of it: it would stay in memory for as long as the daemon lives.
"""

from __future__ import annotations

import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from relay.cli.config import Config, end_with_mistakes, this_command
from relay.cli.exits import Exit, fail
from relay.cli.terminal import clean

if TYPE_CHECKING:
    from relay.settings.values import Settings

_WELCOME = """\
relay {version} REHEARSES: it takes mail, decides what each message is and which way it would go,
and writes it to a file. Nothing leaves this machine.

  mail in   {address} (SMTP)
  mail out  {folder}/
  metrics   {metrics}

Send a first mail from another terminal, in one of these ways:

  {relay} send --kind invoice
  swaks --server {address} --from you@example.com --to friend@example.net
  python3 -c 'import smtplib; smtplib.SMTP("{host}", {port}).sendmail("you@example.com", \
"friend@example.net", "Subject: Hello\\n\\nHello there.")'

Then see what became of it:

  {relay} status
  {relay} queue list
  ls {folder}/*

{live}

Ctrl-C ends it. What follows is its log.
"""
_LIVE_WITHOUT_FILE = """\
To go live: `{relay} connect direct YOUR-ADDRESS` tries your mailbox and, when it works
and you agree, writes your settings; then start again. (The README has some to write yourself.)"""
_LIVE_WITH_FILE = """\
To go live, take `rehearsal: true` out of {file} and start again."""


def run(
    config: Config = None,
    rehearsal: Annotated[
        bool, typer.Option("--rehearsal", help="Rehearse, whatever settings there are.")
    ] = False,
) -> None:
    """Take mail and send it, until SIGTERM or Ctrl-C.

    Without settings it rehearses: mail is taken, decided on and filed, and nothing leaves the
    machine. SIGHUP reads the settings anew.
    """
    import asyncio

    import uvloop

    from relay.app.run import CannotRunError
    from relay.app.run import run as run_relay
    from relay.settings.loader import load, rehearsal_settings
    from relay.settings.mistakes import SettingsError

    def read() -> Settings:
        return rehearsal_settings(os.environ) if rehearsal else load(config, os.environ)

    welcome = partial(_welcome, config)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            drained = runner.run(run_relay(read, os.environ, welcome))
    except SettingsError as error:
        end_with_mistakes(error)
    except CannotRunError as error:
        _fail(error)
    raise typer.Exit(Exit.DONE if drained else Exit.LATER)


def _fail(error: Exception) -> NoReturn:
    """End with why relay cannot run; most errors say what to do themselves."""
    match error.__cause__:
        case OSError(filename=str(path), strerror=str(why)):
            fix = "It has to be able to write in its state_dir: `relay check` says which that is."
            fail(f"relay cannot run: {path}: {why.lower()}", fix, Exit.NOT_DONE)
        case _:
            fail(f"relay cannot run: {error}", "", Exit.NOT_DONE)


def _welcome(config: Path | None, settings: Settings) -> None:
    """Say on the terminal what runs now; the log says it to everybody else."""
    if settings.rehearsal:
        typer.echo(_rehearsal(config, settings))
    elif sys.stderr.isatty():
        addresses = ", ".join(listener.address for listener in settings.listeners)
        typer.echo(f"relay takes mail at {addresses}; Ctrl-C ends it.", err=True)


def _rehearsal(config: Path | None, settings: Settings) -> str:
    from relay import __version__

    listener = settings.listeners[0]
    relay = this_command(config)
    is_file = settings.source != "rehearsal"
    live = _LIVE_WITH_FILE if is_file else _LIVE_WITHOUT_FILE
    metrics = f"http://{settings.http.address}/metrics" if settings.http else "http is switched off"
    return _WELCOME.format(
        version=__version__,
        relay=relay,
        address=listener.address,
        host=listener.host,
        port=listener.port,
        folder=clean(shlex.quote(str(settings.state_dir / "rehearsal"))),
        metrics=metrics,
        live=live.format(relay=relay, file=clean(settings.source)),
    )

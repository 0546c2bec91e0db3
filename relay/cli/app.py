"""All commands, put together. What a command needs is imported when it runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from relay.cli import daemon, queue
from relay.cli.check import check
from relay.cli.classify import classify
from relay.cli.config import Config
from relay.cli.connect import connect
from relay.cli.corrections import corrections
from relay.cli.exits import EPILOG
from relay.cli.run import run
from relay.cli.send import send
from relay.cli.status import status

app = typer.Typer(
    name="relay",
    help="A local SMTP relay that knows what a message is and gets the invoice through.",
    epilog=EPILOG,
    rich_markup_mode=None,  # help is as readable in a pipe, and there in half the time
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        from relay import __version__

        typer.echo(f"relay {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    config: Config = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    pass


_channel = typer.Typer(
    name="channel", help="Stop a channel, resume it.", no_args_is_help=True, rich_markup_mode=None
)
_channel.command()(daemon.stop)
_channel.command()(daemon.resume)

app.command()(run)
app.command()(check)
app.command()(connect)
app.command()(classify)
app.command()(send)
app.command()(status)
app.add_typer(queue.app)
app.add_typer(_channel)
app.command()(corrections)
app.command()(daemon.reload)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a terminal that cannot show a character gets its number
            reconfigure(errors="backslashreplace")
    app(prog_name="relay")

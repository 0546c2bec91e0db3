"""All commands, put together. What a command needs is imported when it runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from relay.cli.config import Config
from relay.cli.exits import EPILOG
from relay.cli.run import run

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


app.command()(run)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a terminal that cannot show a character gets its number
            reconfigure(errors="backslashreplace")
    app(prog_name="relay")

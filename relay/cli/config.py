"""The option that names the settings, and the settings themselves."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from relay.cli.exits import Exit
from relay.cli.terminal import clean, complain

if TYPE_CHECKING:
    from relay.settings.mistakes import SettingsError
    from relay.settings.values import Settings


def _here_or_before(ctx: typer.Context, value: Path | None) -> Path | None:
    """Return the option as given with the command, else in front of it."""
    before: Path | None = ctx.find_root().params.get("config")
    return value or before


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="PATH",
        callback=_here_or_before,
        help="The settings. Default: $RELAY_CONFIG, else /etc/relay/relay.yaml, else "
        "~/.config/relay/relay.yaml; with none, a rehearsal.",
        show_default=False,
    ),
]
"""Taken in front of the command and behind it."""


def this_command(config: Path | None) -> str:
    """Return how to call this relay, with its settings, from a shell in the same folder."""
    started = sys.argv[0]
    if started.endswith("__main__.py"):
        command = f"{shlex.quote(sys.executable)} -m relay"
    else:
        on_path = shutil.which("relay")
        is_it = on_path is not None and Path(on_path).samefile(started)
        command = "relay" if is_it else shlex.quote(started)
    return clean(f"{command} -c {shlex.quote(str(config))}" if config else command)


def read_settings(config: Path | None) -> Settings:
    """Return the settings; ends with every mistake in them."""
    from relay.settings.loader import load
    from relay.settings.mistakes import SettingsError

    try:
        return load(config, os.environ)
    except SettingsError as error:
        end_with_mistakes(error)


def end_with_mistakes(error: SettingsError) -> NoReturn:
    """Write one mistake a line to standard error, and end."""
    for mistake in error.mistakes:
        complain(str(mistake))
    raise typer.Exit(Exit.SETTINGS)

"""The first settings of an owner who has none: offered once an account works."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from relay.cli.config import end_with_mistakes, this_command
from relay.cli.daemon import SOCKET_NAME
from relay.cli.exits import Exit, fail
from relay.cli.terminal import Styled, say

if TYPE_CHECKING:
    from relay.settings.values import Settings


@dataclass(frozen=True, slots=True)
class First:
    """A settings file that is not there yet, and what it would mean."""

    file: Path
    text: str
    settings: Settings

    def is_wanted(self, write: bool) -> bool:
        """Return whether the owner wants it; a person is asked, and nothing else takes it so."""
        if write or not sys.stdin.isatty():
            return write
        say(f"You have no settings yet: relay rehearses. {self.file} would make it send for real,")
        say("by this account, from its next start on. It would say:")
        say()
        for line in self.text.splitlines():
            say(f"  {line}")
        say()
        return typer.confirm(f"Write {self.file}?", err=True)

    def write(self) -> str:
        """Write it; return what to say of it."""
        from relay.settings.first import write_first

        try:
            write_first(self.file, self.text)
        except OSError as error:
            words = f"The account works and is kept, but {self.file} cannot be written: "
            fail(words + str(error.strerror), "Write it yourself:\n\n" + self.text, Exit.NOT_DONE)
        return f"{self.file} is written: relay sends for real from its next start on"

    def show_next(self, config: Path | None, to: str | None) -> None:
        """Say what is to be done now."""
        relay = this_command(config)
        say()
        if _is_rehearsing():
            say(
                Styled("A relay rehearses now", "bold yellow"),
                ": stop it, or what is handed in goes on ending in its folder.",
            )
        say(f"Next   {relay} check")
        say(f"       {relay} run")
        say(f"       {relay} send --to {to or 'YOUR-ADDRESS'}")


def first_of(config: Path | None, channel: str) -> First | None:
    """Return the settings to begin with, with one channel; None if there are some already."""
    from relay.settings.first import NAMES, first_text
    from relay.settings.loader import settings_of
    from relay.settings.mistakes import SettingsError
    from relay.settings.place import first_file, first_state_dir

    file = first_file(config, os.environ)
    if file is None:
        return None
    if channel not in NAMES:
        fail(f"There is no channel {channel!r}.", f"Use one of: {', '.join(NAMES)}.", Exit.NOT_DONE)
    text = first_text(channel, first_state_dir(file, os.environ))
    try:
        return First(file, text, settings_of(file, text.encode(), os.environ))
    except SettingsError as error:  # a state directory that cannot be one
        end_with_mistakes(error)


def _is_rehearsing() -> bool:
    """Return whether a relay without settings runs now."""
    from relay.settings.place import rehearsal_state_dir
    from relay.web.client import ControlClient, ControlError, NotRunning

    try:
        ControlClient(rehearsal_state_dir(os.environ) / SOCKET_NAME).status()
    except (NotRunning, ControlError):
        return False
    return True

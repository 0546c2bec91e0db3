"""What is wrong with a settings file, in words that say where and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Loc = tuple[str | int, ...]
"""Where in the file: keys and, for items of lists, numbers from 0."""


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One thing to mend; never holds a secret."""

    file: str
    line: int  # from 1
    key: str  # `channels.direct.smtp.port`; "" for the whole file
    message: str

    def __str__(self) -> str:
        """Return `FILE:LINE: key.path: what was expected, got what`."""
        key = f"{self.key}: " if self.key else ""
        return f"{self.file}:{self.line}: {key}{self.message}"


class SettingsError(Exception):
    """The settings cannot be used; all mistakes at once, in the order of the file."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(set(mistakes)))
        super().__init__(self.mistakes)

    def __str__(self) -> str:
        """Return one mistake on each line."""
        return "\n".join(map(str, self.mistakes))


def key_path(loc: Loc) -> str:
    """Return a place as people see it: `listeners[0].address`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc)
    return text.removeprefix(".")


def show(value: object) -> str:
    """Return what was found, as it would be written in the file, and never much of it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str():
            text = value if len(value) <= 60 else value[:57] + "..."
            return f"'{_printable(text)}'"
        case list() | tuple():
            return "a list"
        case _:
            return "a mapping"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a suggestion to put behind a message, or the choice when nothing is near."""
    from difflib import get_close_matches  # only needed when something is wrong

    names = sorted(known)
    near = get_close_matches(word.lower().replace("-", "_"), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"known here: {', '.join(names)}" if names else "none is known here"

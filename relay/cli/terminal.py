"""What is written to the terminal: for people in colours and tables, for pipes plain and whole.

Words of mail, servers and files are hostile. They reach the terminal without control characters,
and never as markup.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

_GAP = "  "
_SHORT = 30  # characters that are not broken to make room for other columns
_MANY = 20  # items that are worth a bar
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Styled:
    """A text with a style of Rich, which a pipe does not see."""

    text: str
    style: str


Words = str | Styled


def clean(text: str) -> str:
    """Return `text` on one line, with what a terminal would obey instead of show made visible."""
    if text.isprintable():
        return text
    return "".join(_visible(char) for char in text)


def say(*words: Words) -> None:
    """Write one line."""
    if not sys.stdout.isatty():
        typer.echo("".join(clean(_text(each)) for each in words))
        return
    from rich.text import Text

    parts = [(clean(_text(each)), _style(each)) for each in words]
    _console().print(Text.assemble(*parts), soft_wrap=True)


def complain(error: str, *more: str) -> None:
    """Write lines to standard error, the first one as the fault."""
    typer.secho(clean(error), err=True, fg=typer.colors.RED)
    for line in more:
        typer.echo(clean(line), err=True)


def say_json(value: object) -> None:
    """Write a value as one line of JSON, in ASCII."""
    typer.echo(json.dumps(value))


def show_table(heads: Sequence[str], rows: Iterable[Sequence[Words]], right: str = "") -> None:
    """Write a table; the columns named in `right`, with blanks between, stand to the right."""
    rows = list(rows)
    is_right = [head in right.split() for head in heads]
    if not sys.stdout.isatty():
        _plain_table(heads, rows, is_right)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, head in enumerate(heads):
        justify: Literal["right", "left"] = "right" if is_right[index] else "left"
        longest = max((len(_text(row[index])) for row in rows), default=0)
        stays = longest <= _SHORT and index + 1 < len(heads)
        table.add_column(Text(head), justify=justify, overflow="fold", no_wrap=stays)
    for row in rows:
        table.add_row(*(Text(clean(_text(each)), _style(each)) for each in row))
    _console().print(table)


def is_narrow(columns: int) -> bool:
    """Return whether this is a terminal with fewer columns."""
    return sys.stdout.isatty() and _console().width < columns


def watched(items: Sequence[Item]) -> Iterator[Item]:
    """Yield the items, with a bar when there are many and a person is watching.

    The bar is on standard error; where both are the terminal, on the console that `say` uses, so
    that lines stand above it.
    """
    if len(items) < _MANY or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    both = sys.stdout.isatty()
    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=_console() if both else Console(stderr=True),
        transient=True,
        redirect_stdout=both,
    ) as progress:
        yield from progress.track(items)


def _plain_table(
    heads: Sequence[str], rows: Sequence[Sequence[Words]], is_right: Sequence[bool]
) -> None:
    lines = [list(heads), *([clean(_text(each)) for each in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (
            each.rjust(width) if right else each.ljust(width)
            for each, width, right in zip(line, widths, is_right, strict=True)
        )
        typer.echo(_GAP.join(cells).rstrip())


@cache
def _console() -> Console:
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


def _text(words: Words) -> str:
    return words.text if isinstance(words, Styled) else words


def _style(words: Words) -> str:
    return words.style if isinstance(words, Styled) else ""


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    if (char.isspace() and char.isascii()) or char == "\xa0":
        return " "
    return char.encode("unicode_escape").decode("ascii")

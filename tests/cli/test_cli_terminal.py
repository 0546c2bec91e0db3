"""What reaches the terminal: hostile words as words, tables for people, columns for pipes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from relay.cli.terminal import clean, show_table, watched


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Grüße → ok", "Grüße → ok", id="letters stay"),
        pytest.param("a\r\n\tb\xa0c", "a   b c", id="all blanks are one kind"),
        pytest.param("\x1b[2J\x07", r"\x1b[2J\x07", id="escape and bell"),
        pytest.param("\x9b31m\x7f", r"\x9b31m\x7f", id="C1 and DEL"),
        pytest.param("\u202egpj.exe", r"\u202egpj.exe", id="turned writing"),
        pytest.param("\u2028\udcff", r"\u2028\udcff", id="line separator, stray surrogate"),
        pytest.param("[bold]x[/]", "[bold]x[/]", id="markup is text"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_a_pipe_gets_plain_columns_and_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = f"{'x' * 200}@example.com"
    show_table(("ID", "COUNT", "TO"), [("A", "7", long), ("BB", "12", "[red]\x1b")], right="COUNT")
    assert capsys.readouterr().out.splitlines() == [
        "ID  COUNT  TO",
        f"A       7  {long}",
        r"BB     12  [red]\x1b",
    ]


def in_terminal(code: str, *, stderr: bool = False) -> str:
    """Return what a person sees of `code`, ANSI sequences included."""
    ours, theirs = pty.openpty()
    environ = {"PATH": os.defpath, "TERM": "xterm", "COLUMNS": "60", "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-c", code]
    errors = theirs if stderr else None
    with subprocess.Popen(command, stdout=theirs, stderr=errors, env=environ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the terminal's other end was closed
                break
            seen += piece
    os.close(ours)
    assert process.returncode == 0
    return seen.decode()


def test_a_person_gets_colours_but_mail_cannot_make_them() -> None:
    seen = in_terminal(
        "from relay.cli.terminal import *\n"
        "say(Styled('paused', 'red'), ' [bold]no markup[/bold] :smile: \\x1b[2J')"
    )
    assert seen == "\x1b[31mpaused\x1b[0m [bold]no markup[/bold] :smile: \\x1b[2J\r\n"


def test_a_table_before_a_person_folds_what_does_not_fit() -> None:
    seen = in_terminal(
        "from relay.cli.terminal import *\n"
        f"show_table(('ID', 'SUBJECT'), [('01ABCDEFGHJKM', {'word ' * 30!r})])"
    )
    lines = seen.split("\r\n")
    assert "01ABCDEFGHJKM" in lines[1]
    assert sum(line.count("word") for line in lines) == 30


def test_a_person_who_waits_sees_a_bar_below_the_lines() -> None:
    seen = in_terminal(
        "from relay.cli.terminal import *\nfor each in watched(range(30)): say(f'line {each}')",
        stderr=True,
    )
    assert "30/30" in seen
    assert [line for line in seen.split("\r\n") if line.endswith("line 29")]


def test_nobody_else_gets_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(watched(range(30))) == list(range(30))
    assert capsys.readouterr() == ("", "")

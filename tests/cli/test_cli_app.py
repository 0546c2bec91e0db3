"""The command as a whole: help, version, completion, and what it does not load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commanding import Terminal

from relay import __version__
from relay.cli.exits import EPILOG, Exit
from relay.cli.samples import Sample

HEAVY = {"asyncio", "relay.app", "relay.inspect", "relay.settings.model", "rich", "smtplib"}


def python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def loaded_by(words: list[str], tmp_path: Path) -> set[str]:
    """Return the modules that a command loads, which may well fail."""
    code = (
        "import sys; from relay.cli.app import app\n"
        f"try: app({words!r})\n"
        "except SystemExit: pass\n"
        "print('MODULES', *sys.modules)"
    )
    out = python(code, XDG_STATE_HOME=str(tmp_path), RELAY_CONFIG="").stdout
    return set(out.partition("MODULES ")[2].split())


@pytest.mark.parametrize("words", [["--help"], ["status"], ["queue", "list"]], ids=" ".join)
def test_quick_commands_load_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    modules = loaded_by(words, tmp_path)
    assert "typer" in modules
    assert not modules & HEAVY


def test_the_daemon_has_no_use_for_rich(tmp_path: Path) -> None:
    (tmp_path / "relay").touch()  # where the state should be: it cannot run
    modules = loaded_by(["run"], tmp_path)
    assert "relay.app" in modules
    assert "rich" not in modules


def test_help_tells_every_command_and_exit_code(relay: Terminal) -> None:
    said = relay("--help")
    for word in ["run", "check", "classify", "send", "status", "queue", "channel", "reload"]:
        assert f"\n  {word} " in said.out
    for code in (*Exit, 2):
        assert f"  {int(code)}  " in EPILOG
    assert "Exit codes:\n     0  done\n" in said.out
    assert max(map(len, said.out.splitlines())) < 80


def test_no_command_shows_the_help(relay: Terminal) -> None:
    assert "Commands:" in relay().out + relay().err


def test_the_version_is_told(relay: Terminal) -> None:
    assert relay("--version").out == f"relay {__version__}\n"


def test_shells_can_complete() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "relay"],
        env={
            **os.environ,
            "_RELAY_COMPLETE": "complete_bash",
            "COMP_WORDS": "relay queue re",
            "COMP_CWORD": "2",
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert said.stdout.split() == ["retry", "release"]


def test_a_reader_that_goes_away_is_no_fault(relay: Terminal, tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.eml").write_text(f"Subject: {Sample.PLAIN} {number}\n\nHello.\n")
    command = [sys.executable, "-m", "relay", "classify", "--json", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""

"""An owner without settings connects the first account, and gets the first settings."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from commanding import Terminal
from small_house import SmallHouse
from upstream import Upstream

from tests.cli.test_cli_connect import read_until

Live = Callable[[AbstractAsyncContextManager[Any]], Any]
ME = "me@example.com"


@pytest.fixture
def words(relay: Terminal, live: Live) -> tuple[str, ...]:
    """Give the words of a new owner, who has an account and no settings."""
    server: Upstream = live(Upstream(accounts={ME: "secret"}))
    where = ("--host", "localhost", "--port", str(server.port), "--security", "none")
    relay.environ["RELAY_CONFIG"] = str(relay.folder / "etc" / "relay.yaml")
    return ("connect", "direct", ME, *where)


def file_of(relay: Terminal) -> Path:
    return Path(relay.environ["RELAY_CONFIG"])


def test_an_account_that_works_is_all_that_the_first_settings_need(relay: Terminal, words):
    said = relay(*words, "--password-file", "-", "--write", stdin="secret\n")
    assert said.code == 0, said.out + said.err
    file = file_of(relay)
    assert f"{file} is written: relay sends for real from its next start on" in said.out
    assert f"relay send --to {ME}" in said.out
    assert file.stat().st_mode & 0o777 == 0o644
    assert "secret" not in file.read_text()

    said = relay("check", "--json")
    assert said.json["warnings"] == []
    assert not said.json["rehearsal"]
    assert said.json["state_dir"] == f"{relay.folder}/data/relay"  # rehearsed mail is elsewhere
    (channel,) = said.json["channels"]
    assert channel["name"] == "direct"
    assert channel["upstream"].endswith(f"(none, as {ME}, certificate not checked)")
    assert set(map(tuple, said.json["kinds"].values())) == {("direct",)}  # none goes elsewhere
    assert relay("connect", "direct", "--check").code == 0


def test_nothing_is_written_that_was_not_asked_for(relay: Terminal, words):
    for more, stdin, code in (
        ((), "secret\n", 0),
        (("--yes",), "secret\n", 0),
        (("--json",), "secret\n", 0),
        (("--write",), "mistyped\n", 23),
    ):
        said = relay(*words, *more, "--password-file", "-", stdin=stdin)
        assert said.code == code, said.out
        assert ("--write keeps it, and writes " in said.out) == (not code and more != ("--json",))
        assert not file_of(relay).exists()
        assert not (relay.folder / "data").exists()


def test_settings_that_are_there_are_never_written(relay: Terminal, words):
    file = relay.write_settings("channels: {direct: {}, native: {folder: {path: /}}}\n")
    file.write_text(f"state_dir: {relay.folder}/mine\n" + file.read_text())
    before = file.read_bytes()
    said = relay(*words, "--password-file", "-", "--write", stdin="secret\n")
    assert said.code == 0, said.out
    assert file.read_bytes() == before
    assert (relay.folder / "mine" / "connections" / "direct.json").exists()

    file.unlink()
    file.symlink_to("/nonexistent/relay.yaml")  # a mistake of the owner, not a place to write to
    assert relay(*words, "--password-file", "-", "--write", stdin="secret\n").code == 78
    assert file.is_symlink()


def test_a_place_that_cannot_be_written_is_told_with_what_to_write(relay: Terminal, words):
    (relay.folder / "etc").write_text("a file, and no folder")
    said = relay(*words, "--password-file", "-", "--write", stdin="secret\n")
    assert said.code == 1
    assert "The account works and is kept, but " in said.err
    assert "    smtp: {}" in said.err


def test_a_relay_that_rehearses_meanwhile_is_pointed_out(relay: Terminal, words, serve):
    serve(SmallHouse())
    said = relay(*words, "--password-file", "-", "--write", stdin="secret\n")
    assert "A relay rehearses now: stop it" in said.out


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("connect", "esp", ME), "There is no channel 'esp'."),
        (("connect", "direct", "--check"), "This relay rehearses"),
        (("connect", "direct", "--forget"), "No connection is kept for direct."),
    ],
)
def test_what_there_is_not_is_said(relay: Terminal, command, told):
    said = relay(*command)
    assert said.code == 1
    assert told in said.err


@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_person_sees_what_would_be_written_and_is_asked(relay: Terminal, words, answer):
    ours, theirs = pty.openpty()
    environ = {**os.environ, **relay.environ, "TERM": "dumb"}
    with subprocess.Popen(
        [sys.executable, "-m", "relay", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        read_until(ours, b"Password of me@example.com at localhost: ")
        os.write(ours, b"secret\n")
        shown = read_until(ours, b"relay.yaml? [y/N]: ")
        os.write(ours, f"{answer}\n".encode())
        shown += read_until(ours, None)
        assert process.wait(20) == 0
    os.close(ours)
    assert b"would make it send for real" in shown
    assert b"    smtp: {}" in shown
    assert b"secret" not in shown
    assert file_of(relay).exists() == (answer == "y")
    assert (b"Next " in shown) == (answer == "y")

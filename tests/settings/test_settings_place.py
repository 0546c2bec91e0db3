"""Where the settings are, and where the first ones belong."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from relay.settings.place import STATE_DIR, SYSTEM_FILE, find, first_file, first_state_dir


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home")}


def made(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def test_the_named_file_comes_before_the_systems_and_that_before_the_users(tmp_path, env):
    system, mine = tmp_path / "etc/relay.yaml", tmp_path / "home/.config/relay/relay.yaml"
    assert find(env, system) is None
    made(mine)
    assert find(env, system) == mine
    assert find(env, made(system)) == system
    assert find({**env, "RELAY_CONFIG": "/named.yaml"}, system) == Path("/named.yaml")
    assert find({**env, "XDG_CONFIG_HOME": str(tmp_path)}, tmp_path / "none") is None


def test_the_first_file_is_the_one_named_else_the_systems(tmp_path, env):
    system, named = tmp_path / "etc/relay/relay.yaml", tmp_path / "named.yaml"
    assert first_file(None, env, system) == system
    assert first_file(named, env, system) == named
    assert first_file(None, {**env, "RELAY_CONFIG": str(named)}, system) == named
    assert first_file(made(named), env, system) is None
    made(system)
    assert first_file(None, env, system) is None


def test_who_may_not_write_the_systems_gets_one_of_its_own():
    if os.geteuid() == 0:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        file = first_file(None, {"HOME": "/nobody"}, Path("/etc/none/of/relay.yaml"))
    finally:
        os.seteuid(os.getuid())
    assert file == Path("/nobody/.config/relay/relay.yaml")


def test_live_mail_is_not_kept_where_rehearsed_mail_lies(tmp_path, env):
    assert first_state_dir(SYSTEM_FILE, env) == STATE_DIR
    assert first_state_dir(tmp_path / "relay.yaml", env) == f"{tmp_path}/home/.local/share/relay"

"""Where the settings file and the state are, found without reading all of the settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from relay.settings.document import read_document
from relay.settings.mistakes import Mistake, SettingsError

SYSTEM_FILE = Path("/etc/relay/relay.yaml")
STATE_DIR = "/var/lib/relay"
_MAX_BYTES = 1024 * 1024


def find(env: Mapping[str, str], system_file: Path = SYSTEM_FILE) -> Path | None:
    """Return the file that $RELAY_CONFIG names, else the system's or the user's if there is one."""
    if env.get("RELAY_CONFIG"):
        return Path(env["RELAY_CONFIG"])
    if system_file.exists():
        return system_file
    mine = _user_file(env)
    return mine if mine.exists() else None


def first_file(
    path: Path | None, env: Mapping[str, str], system_file: Path = SYSTEM_FILE
) -> Path | None:
    """Return where the owner's first settings file belongs, None if there is one already.

    That is the one in `path` or $RELAY_CONFIG, else the system's if this user may write it, else
    the user's own.
    """
    named = path or find(env, system_file)
    if named is not None:
        return None if os.path.lexists(named) else named
    nearest = next(folder for folder in system_file.parents if folder.exists())
    is_ours = os.access(nearest, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
    return system_file if is_ours else _user_file(env)


def first_state_dir(file: Path, env: Mapping[str, str]) -> str:
    """Return the state directory for that file; never the one of a rehearsal, whose mail is there.

    What was rehearsed would else be sent in earnest.
    """
    if file == SYSTEM_FILE:
        return STATE_DIR
    return str(_folder_of_user(env, "XDG_DATA_HOME", ".local/share"))


def state_dir(path: Path | None, env: Mapping[str, str]) -> Path:
    """Return the state directory under the settings in `path`, or where `find` finds them.

    Mistakes elsewhere in the file do not matter. Raises SettingsError if it cannot be read.
    """
    path = path or find(env)
    if path is None:
        return rehearsal_state_dir(env)
    value = read_document(str(path), read_file(path)).root.get("state_dir", STATE_DIR)
    if not isinstance(value, str):
        raise SettingsError([Mistake(str(path), 1, "state_dir", "expected an absolute path")])
    return Path(value)


def rehearsal_state_dir(env: Mapping[str, str]) -> Path:
    """Return the state directory of a relay without settings, in the user's own folder."""
    return _folder_of_user(env, "XDG_STATE_HOME", ".local/state")


def read_file(path: Path) -> bytes:
    """Return what is in a settings file; raises SettingsError."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        message = f"expected a file that can be read, got: {error.strerror}"
        raise SettingsError([Mistake(str(path), 1, "", message)]) from error
    if len(data) > _MAX_BYTES:
        raise SettingsError([Mistake(str(path), 1, "", "expected at most 1 MiB, got more")])
    return data


def _user_file(env: Mapping[str, str]) -> Path:
    return _folder_of_user(env, "XDG_CONFIG_HOME", ".config") / "relay.yaml"


def _folder_of_user(env: Mapping[str, str], name: str, default: str) -> Path:
    """Return relay's folder in one of those of the XDG Base Directory Specification."""
    base = env.get(name, "")
    if not base.startswith("/"):  # as it says
        home = env.get("HOME", "")
        base = f"{home if home.startswith('/') else Path.home()}/{default}"
    return Path(f"{base.rstrip('/')}/relay")

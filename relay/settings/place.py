"""Where the settings file and the state are, found without reading all of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from relay.settings.document import read_document
from relay.settings.mistakes import Mistake, SettingsError

SYSTEM_FILE = Path("/etc/relay/relay.yaml")
STATE_DIR = "/var/lib/relay"
_MAX_BYTES = 1024 * 1024


def find(env: Mapping[str, str], system_file: Path = SYSTEM_FILE) -> Path | None:
    """Return the file that $RELAY_CONFIG names, else the system's if there is one."""
    if env.get("RELAY_CONFIG"):
        return Path(env["RELAY_CONFIG"])
    return system_file if system_file.exists() else None


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
    state_home = env.get("XDG_STATE_HOME", "")
    if not state_home.startswith("/"):  # as the XDG Base Directory Specification says
        home = env.get("HOME", "")
        state_home = f"{home if home.startswith('/') else Path.home()}/.local/state"
    return Path(f"{state_home.rstrip('/')}/relay")


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

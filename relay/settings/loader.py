"""Where settings come from: a file, or none, which is a rehearsal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from relay.settings.build import build
from relay.settings.checks import check
from relay.settings.document import Document, read_document
from relay.settings.machine import look_around
from relay.settings.mistakes import Mistake, SettingsError
from relay.settings.shape import read_shape
from relay.settings.values import Settings

SYSTEM_FILE = Path("/etc/relay/relay.yaml")
_MAX_BYTES = 1024 * 1024

_REHEARSAL = b"""\
rehearsal: true
channels:
  direct: {folder: {path: /}}
  native: {folder: {path: /}}
"""


def load(path: Path | None, env: Mapping[str, str]) -> Settings:
    """Return the settings in `path`, or where `find` finds them, or those of a rehearsal.

    Raises SettingsError with every mistake of the file.
    """
    path = path or find(env)
    if path is None:
        return rehearsal_settings(env)
    return _from_document(read_document(str(path), _read(path)), env)


def find(env: Mapping[str, str], system_file: Path = SYSTEM_FILE) -> Path | None:
    """Return the file that $RELAY_CONFIG names, else the system's if there is one."""
    if env.get("RELAY_CONFIG"):
        return Path(env["RELAY_CONFIG"])
    return system_file if system_file.exists() else None


def rehearsal_settings(env: Mapping[str, str]) -> Settings:
    """Return settings that need no file: state in the user's folder, and all mail stays in it."""
    state_home = env.get("XDG_STATE_HOME", "")
    if not state_home.startswith("/"):  # as the XDG Base Directory Specification says
        home = env.get("HOME", "")
        state_home = f"{home if home.startswith('/') else Path.home()}/.local/state"
    state_dir = f"{state_home.rstrip('/')}/relay"
    document = read_document("rehearsal", _REHEARSAL)
    document.root["state_dir"] = state_dir
    return _from_document(document, env)


def _from_document(document: Document, env: Mapping[str, str]) -> Settings:
    file, mistakes = read_shape(document)
    mistakes += [document.mistake(*found) for found in check(file, document)]
    if mistakes:
        raise SettingsError(mistakes)
    warnings = [str(document.mistake(*found)) for found in look_around(file, env)]
    return replace(build(file, document, env), warnings=tuple(warnings))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        message = f"expected a file that can be read, got: {error.strerror}"
        raise SettingsError([Mistake(str(path), 1, "", message)]) from error
    if len(data) > _MAX_BYTES:
        raise SettingsError([Mistake(str(path), 1, "", "expected at most 1 MiB, got more")])
    return data

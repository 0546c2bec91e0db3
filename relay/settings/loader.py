"""Where settings come from: a file, or none, which is a rehearsal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from relay.settings.build import build
from relay.settings.checks import check
from relay.settings.connected import as_connected
from relay.settings.document import Document, read_document
from relay.settings.machine import look_around
from relay.settings.mistakes import SettingsError
from relay.settings.place import SYSTEM_FILE, find, read_file, rehearsal_state_dir
from relay.settings.provided import as_provided
from relay.settings.shape import read_shape
from relay.settings.values import Settings

__all__ = ["SYSTEM_FILE", "find", "load", "rehearsal_settings"]

_REHEARSAL = b"""\
rehearsal: true
channels:
  direct: {folder: {path: /}}
  native: {folder: {path: /}}
"""


def load(path: Path | None, env: Mapping[str, str]) -> Settings:
    """Return the settings in `path`, or where `find` finds them, or those of a rehearsal.

    Connections that `relay connect` kept in the state directory are in them. Raises SettingsError
    with every mistake of the file.
    """
    path = path or find(env)
    if path is None:
        return rehearsal_settings(env)
    return settings_of(path, read_file(path), env)


def settings_of(path: Path, data: bytes, env: Mapping[str, str]) -> Settings:
    """Return what a file would mean with that in it; raises SettingsError."""
    written = _from_document(read_document(str(path), data), env)
    return as_provided(as_connected(written))


def rehearsal_settings(env: Mapping[str, str]) -> Settings:
    """Return settings that need no file: state in the user's folder, and all mail stays in it."""
    document = read_document("rehearsal", _REHEARSAL)
    document.root["state_dir"] = str(rehearsal_state_dir(env))
    return _from_document(document, env)


def _from_document(document: Document, env: Mapping[str, str]) -> Settings:
    file, mistakes = read_shape(document)
    mistakes += [document.mistake(*found) for found in check(file, document)]
    if mistakes:
        raise SettingsError(mistakes)
    warnings = [str(document.mistake(*found)) for found in look_around(file, env)]
    return replace(build(file, document, env), warnings=tuple(warnings))

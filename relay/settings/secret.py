"""Secrets by name: read where they are kept, each time one is needed, and never held."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_MAX_BYTES = 64 * 1024


class SecretError(Exception):
    """A secret is not where it should be; says where and what to do, never what it is."""


@dataclass(frozen=True, slots=True)
class FileSecret:
    """A secret that is all of a file, but for the newline at its end."""

    path: str  # absolute

    def __call__(self) -> str:
        """Read it; raises SecretError."""
        return _read(Path(self.path), f"secret file {self.path}")

    def warning(self) -> str | None:
        """Return what is wrong with the file now, if anything is."""
        try:
            mode = Path(self.path).stat().st_mode
        except OSError as error:
            return f"{self.path} cannot be read now: {error.strerror}"
        if not stat.S_ISREG(mode):
            return f"{self.path} is not a file"
        if mode & 0o077:
            return f"{self.path} is open to others (mode {stat.S_IMODE(mode):04o}): chmod 600 it"
        if not os.access(self.path, os.R_OK):
            return f"{self.path} cannot be read now: Permission denied"
        return None


@dataclass(frozen=True, slots=True)
class EnvSecret:
    """A secret in an environment variable."""

    name: str
    env: Mapping[str, str] = field(repr=False, compare=False)

    def __call__(self) -> str:
        """Read it; raises SecretError."""
        value = self.env.get(self.name)
        if not value:
            raise SecretError(f"environment variable {self.name} is not set or empty: set it")
        return value.removesuffix("\n")

    def warning(self) -> str | None:
        """Return that it is not set, if so."""
        return None if self.env.get(self.name) else f"variable {self.name} is not set or empty"


@dataclass(frozen=True, slots=True)
class CredentialSecret:
    """A secret that systemd hands over (LoadCredential=), in $CREDENTIALS_DIRECTORY."""

    name: str
    env: Mapping[str, str] = field(repr=False, compare=False)

    def __call__(self) -> str:
        """Read it; raises SecretError."""
        folder = self.env.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise SecretError(
                f"credential {self.name}: systemd passed none; add"
                f" LoadCredential={self.name}:/path to the unit"
            )
        return _read(Path(folder) / self.name, f"credential {self.name}")

    def warning(self) -> str | None:
        """Return that it was not passed, if so."""
        folder = self.env.get("CREDENTIALS_DIRECTORY")
        if folder and (Path(folder) / self.name).is_file():
            return None
        return f"systemd passed no credential {self.name}: LoadCredential={self.name}:/path"


Secret = FileSecret | EnvSecret | CredentialSecret


def _read(path: Path, what: str) -> str:
    """Return the content of `path` without the newline at its end."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise SecretError(f"{what}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SecretError(f"{what}: is not text in UTF-8") from None
    if len(data) > _MAX_BYTES:
        raise SecretError(f"{what}: is larger than 64 KiB")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise SecretError(f"{what}: is empty")
    return text

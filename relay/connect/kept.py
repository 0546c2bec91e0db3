"""Connections that were tried and kept: a file per channel in the state directory."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

from relay.channels.options import Security

FOLDER = "connections"
_VERSION = 1
_MAX_BYTES = 64 * 1024


class KeptError(Exception):
    """A kept connection cannot be read or written; says which and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What takes the place of the same keys of `smtp` in the settings."""

    host: str
    port: int
    security: Security
    username: str | None
    password: str | None = field(repr=False)
    connected_at: datetime


@dataclass(frozen=True, slots=True)
class KeptPassword:
    """The password of a kept connection, read each time it is needed."""

    path: Path
    connected_at: datetime  # so that another one is another value

    def __call__(self) -> str:
        """Read it; raises KeptError."""
        kept = _read(self.path)
        if kept is None or kept.password is None:
            raise KeptError(f"{self.path} holds no password: connect the channel again")
        return kept.password


def path_of(state_dir: Path, channel: str) -> Path:
    """Return where the connection of a channel is kept."""
    return state_dir / FOLDER / f"{channel}.json"


def read(state_dir: Path, channel: str) -> Kept | None:
    """Return the kept connection of a channel, None without one. Raises KeptError."""
    return _read(path_of(state_dir, channel))


def write(state_dir: Path, channel: str, kept: Kept) -> Path:
    """Keep a connection, durably: there is the old one or the new one, never half of it.

    The file is of mode 0600 and belongs to whom the state directory belongs. Raises KeptError.
    """
    path = path_of(state_dir, channel)
    data = {
        "version": _VERSION,
        "host": kept.host,
        "port": kept.port,
        "security": kept.security.value,
        "username": kept.username,
        "password": kept.password,
        "connected_at": kept.connected_at.astimezone(UTC).isoformat(),
    }
    write_private(path, json.dumps(data).encode(), state_dir)
    return path


def write_private(path: Path, data: bytes, state_dir: Path, *, is_first: bool = False) -> None:
    """Write a file of mode 0600 in a folder of `state_dir`, for the owner of that.

    It is there whole or not at all, and durable; with `is_first` one that is there stays.
    Raises KeptError.
    """
    try:
        owner = state_dir.stat()
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _give(path.parent, owner)
        with NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                _give(temporary, owner)
                if not is_first:
                    temporary.rename(path)
                else:
                    with suppress(FileExistsError):
                        path.hardlink_to(temporary)
                    temporary.unlink()
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        _sync(path.parent)
    except OSError as error:
        raise KeptError(f"{path} cannot be written: {error.strerror}") from error


def forget(state_dir: Path, channel: str) -> bool:
    """Remove the kept connection of a channel; return whether there was one. Raises KeptError."""
    path = path_of(state_dir, channel)
    try:
        path.unlink()
        _sync(path.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise KeptError(f"{path} cannot be removed: {error.strerror}") from error
    return True


def _read(path: Path) -> Kept | None:
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(_MAX_BYTES))
        if data["version"] != _VERSION:
            raise ValueError(data["version"])
        return Kept(
            host=str(data["host"]),
            port=int(data["port"]),
            security=Security(data["security"]),
            username=data["username"],
            password=data["password"],
            connected_at=datetime.fromisoformat(data["connected_at"]),
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeptError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise KeptError(f"{path} is not as it was written: connect the channel again") from error


def _give(path: Path, owner: os.stat_result) -> None:
    """Give what root has made to the owner of the state directory."""
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

"""Large content: one file each, written while it arrives, synced before the commit."""

from __future__ import annotations

import errno
import os
import secrets
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from relay.mail.message import Spooled

_AT_HAND = 16  # files that are made beforehand
_MAX_AT_HAND = 32  # with those that are used again
_MAX_USED_AGAIN_BYTES = 1024 * 1024
_MIN_FREE_BYTES = 16 * 1024 * 1024  # the largest log of the database, and the same copied into it


def check_free(folder: Path) -> None:
    """Raise OSError while the disk is so full that what is here could not be settled."""
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < _MIN_FREE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


class _File(NamedTuple):
    """One that belongs to no message, open, its name durable or new."""

    path: Path
    fd: int
    size_bytes: int = 0  # of what is still in it


class SpoolWriter:
    """A file that is being received; writes go to the page cache, `finish` does not sync."""

    __slots__ = ("_fd", "_old_bytes", "_path", "size_bytes")

    def __init__(self, file: _File) -> None:
        self._path = file.path
        self._fd = file.fd
        self._old_bytes = file.size_bytes
        self.size_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`; raises OSError when the disk is as good as full, or broken."""
        check_free(self._path.parent)
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self.size_bytes += written
            view = view[written:]

    def finish(self) -> Spooled:
        """Close it and return what it holds; it is durable only after `Spool.sync`."""
        if self.size_bytes < self._old_bytes:
            os.ftruncate(self._fd, self.size_bytes)
        fd, self._fd = self._fd, -1
        os.close(fd)
        return Spooled(str(self._path), self.size_bytes)

    def discard(self) -> None:
        """Throw it away: the message was not accepted."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._path.unlink(missing_ok=True)


class Spool:
    """The folder of these files. One whose message is not in the queue is left from a crash.

    To make a file, to make its name durable and to delete it cost more than to fill it. So where
    many messages arrive, some are made beforehand, and those that are done with are used again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ready: deque[_File] = deque()  # their names are durable
        self._has_new_names = False
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def open(self) -> SpoolWriter:
        """Start a file; raises OSError."""
        try:
            return SpoolWriter(self._ready.popleft())
        except IndexError:
            writer = SpoolWriter(self._make())
            self._has_new_names = True
            return writer

    def prepare(self) -> None:
        """Make files beforehand; blocks, so call it in a thread. Raises OSError."""
        made: list[_File] = []
        try:
            while len(made) + len(self._ready) < _AT_HAND:
                made.append(self._make())
            _sync(str(self.folder), os.fsync)
        except OSError:
            _discard(made)
            raise
        self._ready.extend(made)

    def use_again(self, spooled: Spooled) -> bool:
        """Keep the file of a message that is done for the next one; return whether it was."""
        if len(self._ready) >= _MAX_AT_HAND or spooled.size_bytes > _MAX_USED_AGAIN_BYTES:
            return False
        try:
            fd = os.open(spooled.path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return False
        self._ready.append(_File(Path(spooled.path), fd, spooled.size_bytes))
        return True

    def tidy(self) -> None:
        """Remove what is at hand; blocks, so call it in a thread."""
        files: list[_File] = []
        with suppress(IndexError):
            while True:
                files.append(self._ready.popleft())
        _discard(files)

    @property
    def is_short(self) -> bool:
        """Return whether more should be made beforehand where many messages arrive."""
        return len(self._ready) < _AT_HAND // 2

    def sync(self, spooled: Spooled) -> None:
        """Make what a file holds durable; blocks, so call it in a thread. Raises OSError."""
        _sync(spooled.path, os.fdatasync)  # its size as well, as far as that is new

    def sync_names(self) -> None:
        """Make the names of all files durable; blocks, so call it in a thread. Raises OSError."""
        if self._has_new_names:
            self._has_new_names = False
            try:
                _sync(str(self.folder), os.fsync)
            except OSError:
                self._has_new_names = True
                raise

    def remove(self, path: str) -> None:
        """Delete a file whose message is done or was never accepted."""
        Path(path).unlink(missing_ok=True)

    def files(self) -> set[str]:
        """Return the paths of all files, to find those left over."""
        return set(map(str, self.folder.glob("*.eml")))

    def _make(self) -> _File:
        path = self.folder / f"{secrets.token_hex(8)}.eml"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return _File(path, os.open(path, flags, 0o600))


def _discard(files: list[_File]) -> None:
    for file in files:
        os.close(file.fd)
        with suppress(OSError):  # it is swept up at the next start
            file.path.unlink()


def _sync(path: str, sync: Callable[[int], None]) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)

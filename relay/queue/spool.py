"""Large content: one file each, written while it arrives, synced before the commit."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from relay.mail.message import Spooled

_MIN_FREE_BYTES = 16 * 1024 * 1024  # the largest log of the database, and the same copied into it


def check_free(folder: Path) -> None:
    """Raise OSError while the disk is so full that what is here could not be settled."""
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < _MIN_FREE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


class SpoolWriter:
    """A file that is being received; writes go to the page cache, `finish` does not sync."""

    __slots__ = ("_fd", "_path", "size_bytes")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
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
        os.close(self._fd)
        self._fd = -1
        return Spooled(str(self._path), self.size_bytes)

    def discard(self) -> None:
        """Throw it away: the message was not accepted."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._path.unlink(missing_ok=True)


class Spool:
    """The folder of these files. One whose message is not in the queue is left from a crash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def open(self, queue_id: str) -> SpoolWriter:
        """Start a file; raises OSError."""
        return SpoolWriter(self.folder / f"{queue_id}.eml")

    def sync(self, spooled: Spooled) -> None:
        """Make what a file holds durable; blocks, so call it in a thread. Raises OSError."""
        _sync(spooled.path)

    def sync_names(self) -> None:
        """Make the names of all files durable; blocks, so call it in a thread. Raises OSError."""
        _sync(str(self.folder))

    def remove(self, path: str) -> None:
        """Delete a file whose message is done or was never accepted."""
        Path(path).unlink(missing_ok=True)

    def queue_ids(self) -> set[str]:
        """Return the ids of all files, to find those left over."""
        return {path.stem for path in self.folder.glob("*.eml")}


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

"""Content on its way out: dot-stuffed (RFC 5321 §4.5.2), in pieces, the final dot with the last."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from typing import Self

from relay.mail.message import Content, Spooled

PIECE_BYTES = 256 * 1024
_END = b".\r\n"
_DOT_IN_FRONT = re.compile(rb"\n\.")  # three times as fast as bytes.find; there is no bare LF


class _Buffer(threading.local):
    """Memory to read into: fresh pages for each chunk would cost more than the reading."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(PIECE_BYTES))


_BUFFER = _Buffer()


class Chunks:
    """Content in its chunks, as it is kept; a context manager, because a file may be open.

    `header` goes out in the place of the first `instead_of` octets.
    """

    def __init__(self, content: Content, header: bytes = b"", instead_of: int = 0) -> None:
        self._content = content
        self._header = header
        self._fd = -1
        self._offset = instead_of
        self._size = content.size_bytes if isinstance(content, Spooled) else len(content)

    @property
    def is_done(self) -> bool:
        """Return whether there is no more."""
        return not self._header and self._offset >= self._size

    def __enter__(self) -> Self:
        if isinstance(self._content, Spooled):
            self._fd = os.open(self._content.path, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    async def next(self) -> bytes:
        """Return the next chunk, never an empty one.

        The disk is waited for in a thread, the page cache is not. Raises OSError, also for a file
        that is shorter than it should be.
        """
        if self._header:
            header, self._header = self._header, b""
            return header
        start = self._offset
        match self._content:
            case Spooled(path=path):
                chunk = _cached(self._fd, start, min(PIECE_BYTES, self._size - start))
                if not chunk:
                    size = min(PIECE_BYTES, self._size - start)
                    chunk = await asyncio.to_thread(os.pread, self._fd, size, start)
                if not chunk:
                    raise OSError(None, f"the file ends at {start} of {self._size} bytes", path)
            case content if len(content) <= PIECE_BYTES and not start:
                chunk = content
            case content:
                chunk = content[start : start + PIECE_BYTES]
        self._offset += len(chunk)
        return chunk


class Wire(Chunks):
    """The same as it goes on the wire after DATA."""

    def __init__(self, content: Content, header: bytes = b"", instead_of: int = 0) -> None:
        super().__init__(content, header, instead_of)
        self._before = b"\n"  # the octet before the next chunk
        self._ended = False

    @property
    def is_done(self) -> bool:
        """Return whether the final dot was handed out."""
        return self._ended

    async def parts(self) -> tuple[bytes, ...]:
        """Return what to write next, in one go."""
        self._ended = True
        if super().is_done:
            return (_END,)  # nothing at all was to be sent
        chunk = await self.next()
        stuffed = chunk
        if _DOT_IN_FRONT.search(chunk):
            stuffed = chunk.replace(b"\n.", b"\n..")
        if chunk.startswith(b".") and self._before == b"\n":
            stuffed = b"." + stuffed
        self._before = chunk[-1:]
        if super().is_done:  # a last line without its end would swallow the dot
            return (stuffed, _END if chunk.endswith(b"\n") else b"\r\n" + _END)
        self._ended = False
        return (stuffed,)


async def first_bytes(content: Content) -> bytes:
    """Return the beginning of `content`, far enough to hold any header; raises OSError."""
    with Chunks(content) as chunks:
        return b"" if chunks.is_done else await chunks.next()


def _cached(fd: int, offset: int, size: int) -> bytes:
    """Return what the page cache holds from `offset` on, nothing when that is unknown."""
    memory = _BUFFER.memory[:size]
    try:
        count = os.preadv(fd, [memory], offset, os.RWF_NOWAIT)
    except OSError:  # not cached, or a file system that cannot tell
        return b""
    return bytes(memory[:count])

"""A folder that gets an .eml file for each transaction: nothing leaves the machine."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

from relay.channels.channel import Parcel, SendersAsked
from relay.channels.options import FolderOptions
from relay.mail.attempt import Attempt, Outcome, Refused, Sent
from relay.mail.message import Spooled
from relay.mail.reply import Phase, Reply

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


def _utc_now() -> datetime:
    return datetime.now(UTC)


class FolderChannel:
    """See `Channel`. A file appears whole or not at all, and none is ever written over."""

    def __init__(
        self, name: str, options: FolderOptions, *, now: Callable[[], datetime] = _utc_now
    ) -> None:
        self._name = name
        self._folder = Path(options.path)
        self._now = now
        self._naming = threading.Lock()

    @property
    def name(self) -> str:
        """Return the name in the settings."""
        return self._name

    @property
    def upstream(self) -> str:
        """Return the folder."""
        return str(self._folder)

    async def send(self, parcel: Parcel) -> Attempt:
        """Write one file; raises only CancelledError."""
        started_at = self._now()
        outcome: Outcome
        try:
            path = await asyncio.to_thread(self._write, parcel)
        except (OSError, ValueError) as error:
            outcome = _refused(error, parcel)
        else:
            outcome = Sent(Reply(250, "2.0.0", f"filed as {path}"))
        return Attempt(
            channel=self._name,
            upstream=self.upstream,
            started_at=started_at,
            ended_at=self._now(),
            outcomes=(outcome,) * len(parcel.forward_paths),
            data_sent=isinstance(outcome, Sent),
        )

    async def ask_senders(self, reverse_paths: Sequence[str]) -> SendersAsked:  # noqa: ARG002
        """Return that it takes all: there is nobody to ask."""
        return SendersAsked({}, takes_some=True)

    async def close(self) -> None:
        """Do nothing: no file is kept open."""

    def _write(self, parcel: Parcel) -> Path:
        """Return the path of the new file, which is durable."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        head = _envelope_fields(parcel)
        with NamedTemporaryFile(dir=self._folder, prefix=".", suffix=".part", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(head)
                _copy(parcel, cast("BinaryIO", file))
                file.flush()
                os.fsync(file.fileno())
                path = self._name_it(temporary, parcel.queue_id)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        _sync(self._folder)
        return path

    def _name_it(self, temporary: Path, queue_id: str) -> Path:
        """Give the file the first free of ID.eml, ID-2.eml, ID-3.eml: a try for each recipient."""
        with self._naming:
            path = self._folder / f"{queue_id}.eml"
            number = 1
            while path.exists():
                number += 1
                path = self._folder / f"{queue_id}-{number}.eml"
            return temporary.rename(path)


def _envelope_fields(parcel: Parcel) -> bytes:
    """Return the envelope as header fields; raises ValueError for what would forge others."""
    paths = [("From", parcel.reverse_path or "<>")]
    paths += [("To", path) for path in parcel.forward_paths]
    if any("\r" in path or "\n" in path for _, path in paths):
        raise ValueError("a control character in an address")
    return b"".join(f"X-Envelope-{name}: {path}\r\n".encode() for name, path in paths)


def _copy(parcel: Parcel, file: BinaryIO) -> None:
    match parcel.content:
        case Spooled(path=path):
            with open(path, "rb") as source:  # noqa: PTH123 -- a path given as text
                shutil.copyfileobj(source, file, 256 * 1024)
        case content:
            file.write(content)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _refused(error: OSError | ValueError, parcel: Parcel) -> Refused:
    if isinstance(error, ValueError):
        reply = Reply(554, "5.6.0", str(error))
        return Refused(phase=Phase.MAIL, reply=reply, error=type(error).__name__)
    full = error.errno in _NO_SPACE
    content = parcel.content
    is_ours = isinstance(content, Spooled) and error.filename == content.path
    return Refused(
        phase=Phase.DATA if is_ours else Phase.CONNECT,
        reply=Reply(452 if full else 451, "4.3.1" if full else "4.3.0", str(error)),
        error=type(error).__name__,
        errno=error.errno,
    )

"""The room's one way in: a message goes in, Evidence comes out, whatever the message is."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from relay.inspect.assembly import Assembly, assemble
from relay.inspect.pool import Part, Pool, WorkerError
from relay.inspect.structure import Buffer, Leaf
from relay.mail.message import Content, Envelope, Origin, Spooled
from relay.policy.evidence import Document, Evidence, Reading
from relay.providers.sms import Gateways


class Inspector:
    """Reads messages: headers and text at once, attachments in worker processes."""

    def __init__(self, gateways: Gateways, *, workers: int = 2) -> None:
        """Know text messages by `gateways`; start at most `workers` processes, when needed."""
        self._gateways = gateways
        self._pool = Pool(workers)
        self._runner: asyncio.Runner | None = None

    async def inspect(self, envelope: Envelope, origin: Origin, content: Content) -> Evidence:
        """Return what is known of the message; raises nothing but CancelledError."""
        try:
            with _opened(content) as (buffer, end):
                gateway = self._gateways.of_all(envelope.forward_paths)
                assembly = assemble(buffer, end, envelope, origin, gateway)
                parts = [_part(leaf, buffer, content) for leaf in assembly.attachments]
        except Exception as error:
            return _unread(envelope, origin, error)
        if not parts:
            return assembly.evidence
        return await self._with_documents(assembly, parts)

    async def _with_documents(self, assembly: Assembly, parts: list[Part]) -> Evidence:
        problems = assembly.evidence.problems
        try:
            documents, found = await self._pool.read(parts)
        except WorkerError as error:
            documents, found = [_unreadable(part) for part in parts], [str(error)]
        return replace(assembly.evidence, documents=tuple(documents), problems=(*problems, *found))

    def inspect_now(self, envelope: Envelope, origin: Origin, content: Content) -> Evidence:
        """Return the same outside of any event loop, for the command line; end with `close_now`."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self.inspect(envelope, origin, content))

    async def close(self) -> None:
        """End the workers."""
        await self._pool.close()

    def close_now(self) -> None:
        """End the workers that `inspect_now` started."""
        if self._runner is not None:
            self._runner.run(self.close())
            self._runner.close()
            self._runner = None


@contextmanager
def _opened(content: Content) -> Iterator[tuple[Buffer, int]]:
    match content:
        case Spooled(path=path, size_bytes=size):
            with (
                Path(path).open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            ):
                yield mapped, min(size, len(mapped))
        case _:
            yield content, len(content)


def _part(leaf: Leaf, buffer: Buffer, content: Content) -> Part:
    in_file = isinstance(content, Spooled)
    return Part(
        where=f"attachment {leaf.name}" if leaf.name else f"part {leaf.media_type}",
        name=leaf.name,
        media_type=_typed(leaf),
        encoding=leaf.encoding,
        raw=b"" if in_file else buffer[leaf.start : leaf.end],
        path=content.path if isinstance(content, Spooled) else None,
        start=leaf.start,
        size=leaf.end - leaf.start,
    )


def _typed(leaf: Leaf) -> str:
    smime = leaf.parameters.get("smime-type", "")
    return f"{leaf.media_type}; {smime}" if smime else leaf.media_type


def _unreadable(part: Part) -> Document:
    return Document(
        where=part.where, name=part.name, media_type=part.media_type, reading=Reading.UNREADABLE
    )


def _unread(envelope: Envelope, origin: Origin, error: Exception) -> Evidence:
    return Evidence(
        recipients=len(envelope.forward_paths),
        null_reverse_path=not envelope.reverse_path,
        application=origin.application,
        listener=origin.listener,
        problems=(f"the message could not be read ({type(error).__name__})",),
    )

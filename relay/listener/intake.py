"""One message on its way in: in memory while it is small, in a file beyond that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relay.listener.data import DataReader
from relay.mail.header import MAX_HEADER_BYTES, HeaderFacts, scan_header
from relay.mail.message import Content
from relay.observe.events import RefusalReason
from relay.queue.spool import Spool, SpoolWriter

MAX_IN_MEMORY = MAX_HEADER_BYTES  # so that the header is at hand when the file is begun
SLACK_BYTES = 32 * 1024 * 1024  # read and dropped after the limit, before we hang up


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message was not taken: the reply for the client, exact words for the operator."""

    reply: bytes
    reason: RefusalReason
    detail: str


class Intake:
    """Reads content, puts the trace fields in front, counts; RAM is bounded whatever arrives.

    The first thing that is wrong stays the refusal; the rest is then read and dropped, so that the
    session keeps in step.
    """

    __slots__ = (
        "_held",
        "_max_bytes",
        "_max_hops",
        "_reader",
        "_refusal",
        "_size_bytes",
        "_spool",
        "_trace",
        "_writer",
    )

    def __init__(
        self,
        trace: Callable[[HeaderFacts], bytes],
        *,
        spool: Spool,
        max_bytes: int,
        max_hops: int,
    ) -> None:
        self._trace = trace
        self._spool = spool
        self._max_bytes = max_bytes  # of what the client sends
        self._max_hops = max_hops
        self._reader = DataReader()
        self._held = bytearray()
        self._writer: SpoolWriter | None = None
        self._size_bytes = 0
        self._refusal: Refusal | None = None

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes from the wire; return what follows the end of the data once it was seen."""
        content, rest = self._reader.read(data)
        self._size_bytes += len(content)
        if self._refusal is not None:
            return rest
        if self._size_bytes > self._max_bytes:
            self._refuse(
                Refusal(
                    b"552 5.3.4 message larger than %d octets" % self._max_bytes,
                    RefusalReason.SIZE,
                    f"larger than {self._max_bytes} bytes",
                )
            )
            return rest
        self._held += content
        if len(self._held) > MAX_IN_MEMORY:
            self._write_out()
        return rest

    @property
    def is_endless(self) -> bool:
        """Return whether so much came over the limit that reading on is of no use."""
        return self._size_bytes > self._max_bytes + SLACK_BYTES

    def finish(self) -> Content | Refusal:
        """Return the content after the end of the data; a file is the caller's from now on."""
        if self._writer is not None:
            self._write_out()
        if self._refusal is not None:
            return self._refusal
        if self._writer is None:
            head = bytes(self._held)
            prefix = self._begin(head)
            return prefix if isinstance(prefix, Refusal) else prefix + head
        try:
            content = self._writer.finish()
        except OSError as error:
            self.discard()
            return self._storage(error)
        self._writer = None
        return content

    def discard(self) -> None:
        """Throw away what came so far."""
        self._held = bytearray()
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.discard()

    def _begin(self, head: bytes) -> bytes | Refusal:
        facts = scan_header(head)
        if facts.hops > self._max_hops:
            return Refusal(
                b"554 5.4.6 too many hops, this message goes in circles",
                RefusalReason.HOPS,
                f"{facts.hops} Received fields, {self._max_hops} allowed",
            )
        return self._trace(facts) + facts.joint

    def _write_out(self) -> None:
        try:
            if self._writer is None:
                prefix = self._begin(bytes(self._held[: MAX_HEADER_BYTES + 1]))
                if isinstance(prefix, Refusal):
                    self._refuse(prefix)
                    return
                self._writer = self._spool.open()
                self._writer.write(prefix)
            self._writer.write(self._held)
            self._held = bytearray()
        except OSError as error:
            self._refuse(self._storage(error))
            self._spool.tidy()  # what is at hand takes room

    def _storage(self, error: OSError) -> Refusal:
        return Refusal(
            b"452 4.3.1 insufficient system storage, try again later",
            RefusalReason.STORE,
            f"{self._spool.folder}: {error.strerror or error}",
        )

    def _refuse(self, refusal: Refusal) -> None:
        self._refusal = refusal
        self.discard()

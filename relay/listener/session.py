"""One SMTP session without sockets: bytes in, replies and steps out.

`receive` takes whatever arrived and returns the step that the connection has to make before more
can be read; what has to be written waits in the dialogue. Nothing here waits, and nothing raises: a
mistake of ours is told to the operator and costs the client no more than its transaction.
"""

from __future__ import annotations

import traceback
from datetime import datetime
from typing import Protocol

from relay.listener.dialogue import (
    Accept,
    Dialogue,
    HangUp,
    Step,
    TakeContent,
    encode_reply,
)
from relay.listener.intake import Intake, Refusal
from relay.listener.options import ListenerOptions
from relay.listener.sign_in import MAX_RESPONSE_BYTES
from relay.mail.header import HeaderFacts, missing_fields, protocol_name, received_field
from relay.mail.message import Message, encode_id
from relay.mail.reply import Reply
from relay.observe.events import Crashed, RefusalReason
from relay.observe.journal import Journal
from relay.queue.spool import Spool

MAX_LINE_BYTES = 4096  # of a command, before its LF; RFC 5321 §4.5.3.1.4 asks for less
MAX_AUTH_LINE_BYTES = MAX_RESPONSE_BYTES + 64  # the response, behind `AUTH PLAIN` perhaps
MAX_DROPPED_BYTES = 1024 * 1024  # of a line without end

_CLIENT_HELLO = b"\x16\x03"  # how TLS begins


class Reception(Protocol):
    """Who takes the messages: inspects, routes and puts them into the queue."""

    def new_id(self) -> int:
        """Return a number that no other message has, for `encode_id`."""

    def now(self) -> datetime:
        """Return the time, aware, UTC."""

    async def accept(self, message: Message) -> Reply:
        """Return 2yz once the message is durable, 4yz or 5yz when it was not taken."""


class Session:
    """Cuts what arrives into commands and content, and keeps in step with the client."""

    __slots__ = (
        "_dropped_bytes",
        "_id",
        "_intake",
        "_journal",
        "_options",
        "_pending",
        "_queue_id",
        "_received_at",
        "_reception",
        "_spool",
        "dialogue",
    )

    def __init__(
        self,
        options: ListenerOptions,
        *,
        reception: Reception,
        journal: Journal,
        spool: Spool,
        client: str,  # IP address, "" for a Unix socket
        is_local: bool,  # on this machine: passwords may go in the clear
    ) -> None:
        self._options = options
        self._reception = reception
        self._journal = journal
        self._spool = spool
        self.dialogue = Dialogue(options, journal, client=client, is_local=is_local)
        self._pending = b""  # arrived, not read
        self._dropped_bytes = 0  # of the line that is too long
        self._intake: Intake | None = None  # between 354 and the final dot
        self._id = 0  # of the message that is received
        self._queue_id = ""  # the same, as people see it
        self._received_at = reception.now()  # when its content began to arrive

    def greet(self) -> None:
        """Say the first word."""
        self.dialogue.say(f"220 {self._options.hostname} ESMTP relay".encode("ascii", "replace"))

    def receive(self, data: bytes) -> Step | None:
        """Read what arrived, up to a step that has to be made first."""
        self._pending += data
        step: Step | None = None
        while step is None and self._pending:
            if self._intake is not None:
                step = self._read_content()
                continue
            step = self._read_commands()
            if not isinstance(step, TakeContent):
                break
            step = None
        if step is not None and not isinstance(step, Accept):
            self._pending = b""  # RFC 3207 §4.2: nothing said before the handshake counts after it
        return step

    def hold(self, data: bytes) -> int:
        """Keep what arrived during a step; return how many bytes are kept."""
        self._pending += data
        return len(self._pending)

    def crash(self, error: Exception) -> Reply:
        """Tell the operator of a mistake of ours; return what the client hears of it."""
        reference = encode_id(self._reception.new_id())
        frames = traceback.extract_tb(error.__traceback__)
        where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
        self._journal.record(
            Crashed(
                where=f"listener {self._options.address}",
                detail=f"{reference}: {type(error).__name__}: {error}{where}",
            )
        )
        return Reply(451, "4.3.0", f"internal error, reference {reference}")

    def leave(self) -> HangUp:
        """Say that the service goes away (RFC 5321 §3.8)."""
        self.dialogue.say(
            f"421 4.3.2 {self._options.hostname} is closing".encode("ascii", "replace")
        )
        return HangUp()

    def abandon(self) -> None:
        """Forget what was not settled."""
        self.dialogue.transaction = None
        if self._intake is not None:
            self._intake.discard()
            self._intake = None

    # -- commands -----------------------------------------------------------------------------

    def _read_commands(self) -> Step | None:
        """Obey every line that is complete, until one of them asks for a step."""
        buffer = self._pending
        position = 0
        step: Step | None = None
        while step is None:
            end = buffer.find(b"\n", position)
            if end < 0:
                self._pending = buffer[position:]
                return self._check_fragment() if self._pending else None
            step = self._read_line(buffer[position:end])
            position = end + 1
        self._pending = buffer[position:]
        return step

    def _read_line(self, line: bytes) -> Step | None:
        if line.startswith(_CLIENT_HELLO):
            return self._refuse_tls()
        if self._dropped_bytes or self._is_too_long(line):
            self._dropped_bytes = 0
            return self.dialogue.line_too_long()
        try:
            step = self.dialogue.answer(line.removesuffix(b"\r"))
            if isinstance(step, TakeContent):
                self._begin_content()
                self.dialogue.say(b"354 end data with <CR><LF>.<CR><LF>")
        except Exception as error:  # the edge of the session
            self._apologise(error)
            return None
        return step

    def _apologise(self, error: Exception) -> None:
        self.abandon()
        self.dialogue.say(encode_reply(self.crash(error), smtputf8=False))

    def _is_too_long(self, line: bytes) -> bool:
        if len(line) <= MAX_LINE_BYTES:
            return False
        is_auth = self.dialogue.exchange is not None or line[:4].upper() == b"AUTH"
        return not is_auth or len(line) > MAX_AUTH_LINE_BYTES

    def _check_fragment(self) -> Step | None:
        """Drop and count a line that is too long already."""
        fragment = self._pending
        if fragment.startswith(_CLIENT_HELLO):
            return self._refuse_tls()
        if self._dropped_bytes or self._is_too_long(fragment):
            self._dropped_bytes += len(fragment)
            self._pending = b""
        if self._dropped_bytes <= MAX_DROPPED_BYTES:
            return None
        return self.dialogue.hang_up(
            b"421 4.7.0 line without end", RefusalReason.ABUSE, "command line without end"
        )

    def _refuse_tls(self) -> HangUp:
        return self.dialogue.hang_up(
            b"421 4.7.0 this port does not begin with TLS",
            RefusalReason.ABUSE,
            "TLS handshake on a port without implicit TLS",
        )

    # -- content ------------------------------------------------------------------------------

    def _begin_content(self) -> None:
        self._id = self._reception.new_id()
        self._queue_id = encode_id(self._id)
        self._received_at = self._reception.now()
        self._intake = Intake(
            self._trace_fields,
            spool=self._spool,
            max_bytes=self._options.max_message_bytes,
            max_hops=self._options.max_hops,
        )

    def _trace_fields(self, facts: HeaderFacts) -> bytes:
        """Return what is put in front of the content."""
        transaction = self.dialogue.transaction
        origin = self.dialogue.origin
        received = received_field(
            helo=origin.helo,
            client=origin.client,
            hostname=self._options.hostname,
            protocol=protocol_name(
                extended=self.dialogue.is_extended,
                tls=origin.tls,
                authenticated=origin.application is not None,
                smtputf8=transaction is not None and transaction.smtputf8,
            ),
            queue_id=self._queue_id,
            at=self._received_at,
        )
        return received + missing_fields(
            facts,
            hostname=self._options.hostname,
            queue_id=self._queue_id,
            at=self._received_at,
        )

    def _read_content(self) -> Step | None:
        intake = self._intake
        assert intake is not None
        pending, self._pending = self._pending, b""
        try:
            rest = intake.feed(pending)
        except Exception as error:  # the edge of the session
            self._apologise(error)
            return HangUp()  # where the content ends is not known any more
        if rest is not None:
            self._pending, self._intake = rest, None
            return self._end_content(intake)
        if intake.is_endless:
            return self.dialogue.hang_up(
                b"421 4.7.0 message without end", RefusalReason.SIZE, "message without end"
            )
        return None

    def _end_content(self, intake: Intake) -> Step | None:
        try:
            content = intake.finish()
        except Exception as error:  # the edge of the session
            intake.discard()
            self._apologise(error)
            return None
        transaction = self.dialogue.transaction
        assert transaction is not None
        if isinstance(content, Refusal):
            self.dialogue.transaction = None
            self.dialogue.record(content.reason, content.detail)
            self.dialogue.say(content.reply)
            return None
        return Accept(
            Message(
                id=self._id,
                received_at=self._received_at,
                envelope=transaction.envelope(),
                origin=self.dialogue.origin,
                content=content,
            )
        )

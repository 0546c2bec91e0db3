"""One MAIL transaction: what is asked, what is answered, and what that means for each recipient."""

from __future__ import annotations

from aiosmtplib.protocol import COMMAND_INJECTION_REGEX

from relay.channels.channel import Parcel
from relay.channels.smtp_errors import RejectedError, in_words, refused
from relay.channels.smtp_protocol import OutOfStep
from relay.channels.smtp_session import Session
from relay.channels.wire import Wire, first_bytes
from relay.mail.attempt import InDoubt, Outcome, Refused, Sent
from relay.mail.reply import Phase, Reply

_RSET = b"RSET\r\n"
_DATA = b"DATA\r\n"
_NEEDS_SMTPUTF8 = Reply(553, "5.6.7", "the server takes no addresses or header outside ASCII")


class Transaction:
    """A parcel on a session. After `run`, or after `fail`, every recipient has an outcome."""

    def __init__(self, session: Session, parcel: Parcel) -> None:
        self.was_answered = False  # to MAIL: from here on it is no stale connection
        self.data_sent = False  # whether content was begun
        self._session = session
        self._parcel = parcel
        self._outcomes: list[Outcome | None] = [None] * len(parcel.forward_paths)
        self._dot_sent = False
        self._pipelines = session.offers("pipelining")

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Return one outcome per recipient."""
        assert None not in self._outcomes
        return tuple(outcome for outcome in self._outcomes if outcome is not None)

    async def run(self) -> None:
        """Do it; raises what broke the connection, or ValueError for what cannot be sent."""
        session = self._session
        session.phase = Phase.MAIL
        session.transactions += 1
        mail, rcpts = await self._prepare()
        if not rcpts:
            return
        if self._pipelines:
            reset = [_RSET] if session.needs_reset else []
            session.protocol.ask(*reset, mail, *rcpts.values(), _DATA)
        if session.needs_reset:
            await self._reset()
        session.needs_reset = True
        taken = await self._mail(mail, rcpts)
        accepted = await self._rcpt(rcpts) if taken or self._pipelines else []
        if accepted or self._pipelines:
            await self._data(accepted, taken)

    def fail(self, error: BaseException) -> None:
        """Give those without an outcome the one that `error` means."""
        phase = self._session.phase
        outcome: Outcome = refused(error, phase)
        if self._dot_sent and not isinstance(error, RejectedError):
            outcome = InDoubt(Reply(451, "4.4.2", f"no reply to the final dot: {in_words(error)}"))
        self._settle(range(len(self._outcomes)), outcome)

    def _settle(self, indexes: range | list[int], outcome: Outcome) -> None:
        for index in indexes:
            if self._outcomes[index] is None:
                self._outcomes[index] = outcome

    async def _prepare(self) -> tuple[bytes, dict[int, bytes]]:
        """Return MAIL and, by index, the RCPT commands; settle the recipients that get none."""
        session, parcel = self._session, self._parcel
        size, limit = parcel.size_bytes, session.max_content_bytes
        everyone = range(len(parcel.forward_paths))
        if limit is not None and size > limit:
            text = f"message size {size} exceeds the server's maximum of {limit} bytes"
            self._settle(everyone, Refused(phase=Phase.MAIL, reply=Reply(552, "5.3.4", text)))
            return b"", {}
        international = await self._needs_smtputf8()
        if international and not session.offers("smtputf8"):
            self._settle(everyone, Refused(phase=Phase.MAIL, reply=_NEEDS_SMTPUTF8))
            return b"", {}
        rcpts = {i: rcpt for i in everyone if (rcpt := self._rcpt_command(i)) is not None}
        international |= any(not rcpt.isascii() for rcpt in rcpts.values())
        mail = b"MAIL FROM:<" + address_octets(parcel.reverse_path or "") + b">"
        if session.offers("size"):
            mail += b" SIZE=%d" % size
        if parcel.body_8bit and session.offers("8bitmime"):
            mail += b" BODY=8BITMIME"
        if international:
            mail += b" SMTPUTF8"
        return mail + b"\r\n", rcpts

    def _rcpt_command(self, index: int) -> bytes | None:
        """Return RCPT for a recipient, None when it can have none."""
        path = self._parcel.forward_paths[index]
        try:
            octets = address_octets(path)
        except ValueError as error:
            reply = Reply(553, "5.1.3", f"not an address: {in_words(error)}")
            self._settle([index], Refused(phase=Phase.RCPT, reply=reply, error="ValueError"))
            return None
        if not path.isascii() and not self._session.offers("smtputf8"):
            self._settle([index], Refused(phase=Phase.RCPT, reply=_NEEDS_SMTPUTF8))
            return None
        return b"RCPT TO:<" + octets + b">\r\n"

    async def _needs_smtputf8(self) -> bool:
        """Return whether all of the message needs it (RFC 6531), whatever the client declared."""
        if not (self._parcel.reverse_path or "").isascii():
            return True
        if not self._parcel.smtputf8:
            return False
        header, _, _ = (await first_bytes(self._parcel.content)).partition(b"\r\n\r\n")
        return not header.isascii()

    async def _ask(self, command: bytes) -> Reply:
        """Return the reply to `command`, which was already sent if the server pipelines."""
        if not self._pipelines:
            self._session.protocol.ask(command)
        reply = await self._session.read(self._session.options.command_seconds)
        if reply.code < 400 and not reply.is_positive and command is not _DATA:
            raise OutOfStep(f"not an answer to this: {reply}")
        return reply

    async def _reset(self) -> None:
        """Forget what an earlier transaction left open."""
        reply = await self._ask(_RSET)
        if not reply.is_positive:
            raise OutOfStep(f"not an answer to RSET: {reply}")

    async def _mail(self, mail: bytes, rcpts: dict[int, bytes]) -> bool:
        """Return whether the reverse-path was taken."""
        reply = await self._ask(mail)
        self.was_answered = True
        if not reply.is_positive:
            self._settle(list(rcpts), Refused(phase=Phase.MAIL, reply=reply))
        return reply.is_positive

    async def _rcpt(self, rcpts: dict[int, bytes]) -> list[int]:
        """Return which recipients were taken."""
        self._session.phase = Phase.RCPT
        accepted = []
        for index, command in rcpts.items():
            reply = await self._ask(command)
            if reply.is_positive:
                accepted.append(index)
            else:
                self._settle([index], Refused(phase=Phase.RCPT, reply=reply))
        return accepted

    async def _data(self, accepted: list[int], taken: bool) -> None:
        """Send the content if anybody is to have it."""
        session = self._session
        session.phase = Phase.DATA
        reply = await self._ask(_DATA)
        if accepted and not taken:
            raise OutOfStep(f"not an answer to this: {reply}")
        if reply.code < 400 and reply.code != 354:
            raise OutOfStep(f"not an answer to this: {reply}")
        if reply.code != 354:
            self._settle(accepted, Refused(phase=Phase.DATA, reply=reply))
            return
        if not accepted:  # RFC 2920 §3.1: it waits for content that nobody is to have
            session.protocol.ask(b".\r\n")
            await session.read(session.options.command_seconds)
            return
        self.data_sent = True
        if await self._upload(accepted):
            session.phase = Phase.AFTER_DATA
            reply = await session.read(session.options.final_dot_seconds)
            if reply.code < 400 and not reply.is_positive:
                raise OutOfStep(f"not an answer to this: {reply}")
            session.needs_reset = False
            sent = Sent(reply) if reply.is_positive else None
            self._settle(accepted, sent or Refused(phase=Phase.AFTER_DATA, reply=reply))

    async def _upload(self, accepted: list[int]) -> bool:
        """Write the content; return False when the server refused it half-way."""
        session, protocol = self._session, self._session.protocol
        protocol.expect()
        parcel = self._parcel
        with Wire(parcel.content, parcel.header, parcel.instead_of) as wire:
            while not wire.is_done:
                parts = await wire.parts()
                await protocol.room(session.options.stall_seconds)
                if protocol.has_reply:
                    reply = await session.read(0)
                    if reply.code < 400:
                        raise OutOfStep(f"an answer before the end: {reply}")
                    self._settle(accepted, Refused(phase=Phase.DATA, reply=reply))
                    session.abort()  # it would take the rest for commands
                    return False
                protocol.write_all(parts)
        self._dot_sent = True
        return True


def address_octets(path: str) -> bytes:
    """Return an address as it goes on the wire; raises ValueError when it must not."""
    octets = path.encode()
    if COMMAND_INJECTION_REGEX.search(octets):
        raise ValueError("a control character in an address")
    return octets

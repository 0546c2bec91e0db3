"""Asking a server whether it would take an address, without sending anything."""

from __future__ import annotations

from collections.abc import Sequence

from relay.channels.channel import SendersAsked
from relay.channels.smtp_errors import refused
from relay.channels.smtp_protocol import OutOfStep
from relay.channels.smtp_session import Session
from relay.channels.smtp_transaction import address_octets
from relay.mail.attempt import Refused
from relay.mail.reply import Phase, Reply


async def ask_sender(session: Session, reverse_path: str) -> Reply | Refused:
    """Return what the server says to MAIL FROM; the session is as before, or broken."""
    return await _ask(session, reverse_path, None)


async def ask_recipient(session: Session, reverse_path: str, forward_path: str) -> Reply | Refused:
    """Return what the server says to RCPT TO; the session is as before, or broken."""
    return await _ask(session, reverse_path, forward_path)


async def ask_senders(
    session: Session, senders: Sequence[str], own: str | None
) -> SendersAsked | Refused:
    """Return which senders are not taken, or why the connection broke.

    Many servers say only at RCPT what they think of a sender (Postfix: smtpd_delay_reject). So each
    is asked for with a recipient who minds nothing: the account's own mailbox, else the first
    sender's. What is said there counts when the same recipient is taken from another sender, in the
    end from the account itself: else it may be said of the recipient.
    """
    recipient = own or senders[0]
    asked = list(senders)
    answers: dict[str, Refused] = {}
    for sender in asked:
        answer = await ask_recipient(session, sender, recipient)
        if isinstance(answer, Refused):
            if answer.error is not None:
                return answer
            answers[sender] = answer
        if own is not None and own not in asked and len(answers) == len(asked):
            asked.append(own)
    takes_some = len(answers) < len(asked)
    if not takes_some:
        answers = {each: said for each, said in answers.items() if said.phase is not Phase.RCPT}
    return SendersAsked(answers, takes_some)


async def _ask(session: Session, reverse_path: str, forward_path: str | None) -> Reply | Refused:
    session.phase = Phase.MAIL
    try:
        mail = b"MAIL FROM:<" + address_octets(reverse_path) + b">"
        rcpt = None if forward_path is None else address_octets(forward_path)
    except ValueError as error:
        return refused(error, session.phase)
    international = not (reverse_path + (forward_path or "")).isascii()
    if international and session.offers("smtputf8"):
        mail += b" SMTPUTF8"
    try:
        if session.needs_reset:
            await _command(session, b"RSET")
        session.needs_reset = True
        reply = await _command(session, mail)
        if reply.is_positive and rcpt is not None:
            session.phase = Phase.RCPT
            reply = await _command(session, b"RCPT TO:<" + rcpt + b">")
        answer = reply if reply.is_positive else Refused(phase=session.phase, reply=reply)
        await _command(session, b"RSET")
        session.needs_reset = False
    except Exception as error:
        session.abort()
        return refused(error, session.phase)
    return answer


async def _command(session: Session, line: bytes) -> Reply:
    session.protocol.ask(line + b"\r\n")
    reply = await session.read(session.options.command_seconds)
    if reply.code < 400 and not reply.is_positive:
        raise OutOfStep(f"not an answer to this: {reply}")
    return reply

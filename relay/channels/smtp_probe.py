"""A staged test of an SMTP upstream: the way that mail takes, with the time of each step."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from relay.channels.channel import Parcel
from relay.channels.options import SmtpOptions
from relay.channels.smtp_ask import ask_recipient, ask_sender
from relay.channels.smtp_certificate import shown
from relay.channels.smtp_errors import refused
from relay.channels.smtp_session import Session, tls_context
from relay.channels.smtp_transaction import Transaction
from relay.mail.attempt import InDoubt, Refused, Sent
from relay.mail.reply import Phase, Reply, make_reply

_NAMES = {
    Phase.DNS: "DNS",
    Phase.CONNECT: "TCP",
    Phase.TLS: "TLS",
    Phase.EHLO: "EHLO",
    Phase.STARTTLS: "STARTTLS",
    Phase.OAUTH: "token",
    Phase.AUTH: "AUTH",
}
_CLOSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What is asked once the connection is ready."""

    senders: tuple[str, ...] = ()  # each is asked for by MAIL, and forgotten by RSET
    waiting: tuple[str, ...] = ()  # the same for addresses whose refusal is only told
    recipient: str | None = None  # the same by RCPT, from the first sender that was taken
    parcel: Parcel | None = None  # to be sent in earnest when all else went well


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of the test."""

    name: str  # DNS, TCP, TLS, greeting, EHLO, STARTTLS, token, AUTH, MAIL, RCPT, message
    seconds: float
    detail: str  # what was learnt, the server's words among it; without control characters
    address: str = ""  # that was asked for
    refused: Refused | None = None  # why it failed
    is_aside: bool = False  # a failure is told, and is none of the connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a test found; it ends with the first step that leaves nothing more to do."""

    stages: tuple[Stage, ...]
    extensions: tuple[str, ...] = ()  # after TLS, in lower case
    max_content_bytes: int | None = None  # None: not said, or not got that far

    @property
    def failure(self) -> Stage | None:
        """Return the first step that failed, None when all went well."""
        failed = (stage for stage in self.stages if stage.refused is not None)
        return next((stage for stage in failed if not stage.is_aside), None)

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return sum(stage.seconds for stage in self.stages)


async def probe(options: SmtpOptions, questions: Questions) -> Report:
    """Return how far mail would come; raises only CancelledError. Nothing is sent unasked-for."""
    session = _Watched(options)
    try:
        await session.open()
    except Exception as error:
        session.end_stage(refused(error, session.phase))
        session.abort()
        session.note(await shown(error, session))
        return session.report(())
    except BaseException:
        session.abort()
        raise
    session.end_stage(None)
    try:
        asked = await _ask(session, questions)
    except BaseException:
        session.abort()
        raise
    await _close(session)
    return session.report(asked)


async def _close(session: Session) -> None:
    protocol = session.protocol
    protocol.retire()
    await asyncio.wait([protocol.gone], timeout=_CLOSE_SECONDS)
    protocol.abort()


async def _ask(session: Session, questions: Questions) -> list[Stage]:
    """Return the steps behind the sign-in."""
    stages: list[Stage] = []
    sender = None
    for address in (*questions.senders, *questions.waiting):
        stage = await _timed("MAIL", address, partial(ask_sender, session, address))
        is_lost = stage.refused is not None and stage.refused.error is not None
        is_aside = address not in questions.senders and not is_lost
        stages.append(replace(stage, is_aside=is_aside))
        if stage.refused is None:
            sender = sender or address
        elif is_lost:
            return stages  # the connection is gone
    recipient = questions.recipient
    if recipient is not None and sender is not None:
        ask = partial(ask_recipient, session, sender, recipient)
        rcpt = await _timed("RCPT", recipient, ask)
        if rcpt.refused is None:
            stages = [await _asked_late(session, each, sender, recipient) for each in stages]
        stages.append(rcpt)
    if questions.parcel is not None and all(
        stage.refused is None or stage.is_aside for stage in stages
    ):
        stages.append(await _send(session, questions.parcel))
    return stages


async def _asked_late(session: Session, mail: Stage, first: str, recipient: str) -> Stage:
    """Return the step of a sender, which many servers refuse only at RCPT.

    The recipient is one that was taken from another sender.
    """
    if mail.refused is not None or mail.address == first:
        return mail
    ask = partial(ask_recipient, session, mail.address, recipient)
    late = await _timed("MAIL", mail.address, ask)
    if late.refused is None:
        return mail
    return replace(late, seconds=mail.seconds + late.seconds, is_aside=mail.is_aside)


async def _timed(name: str, what: str, ask: Callable[[], Awaitable[Reply | Refused]]) -> Stage:
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = await ask()
    seconds = loop.time() - began
    if isinstance(answer, Refused):
        return Stage(name=name, seconds=seconds, detail=what, address=what, refused=answer)
    return Stage(name=name, seconds=seconds, detail=f"{what}: {answer}", address=what)


async def _send(session: Session, parcel: Parcel) -> Stage:
    """Return the step of a message sent in earnest, to all its recipients or to none."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    transaction = Transaction(session, parcel)
    try:
        await transaction.run()
    except Exception as error:
        session.abort()
        transaction.fail(error)
    seconds = loop.time() - began
    to = ", ".join(parcel.forward_paths)
    for outcome in transaction.outcomes:
        match outcome:
            case Refused():
                return Stage(name="message", seconds=seconds, detail=to, refused=outcome)
            case InDoubt(reply):
                lost = Refused(phase=Phase.AFTER_DATA, reply=reply, error="SMTPServerDisconnected")
                return Stage(name="message", seconds=seconds, detail=to, refused=lost)
            case Sent():
                continue
    assert isinstance(outcome, Sent)
    return Stage(name="message", seconds=seconds, detail=f"{to}: {outcome.reply}")


class _Watched(Session):
    """A session that notes when each step began, and what it found."""

    def __init__(self, options: SmtpOptions) -> None:
        self._stages: list[Stage] = []
        self._names: dict[Phase, str] = dict(_NAMES)
        self._began = asyncio.get_running_loop().time()
        self._at: Phase | None = None
        self._addresses: list[str] = []
        self._peer = ""
        super().__init__(options, lambda: tls_context(options))

    @property
    def phase(self) -> Phase:
        """Return the step that is under way."""
        return self._at or Phase.DNS

    @phase.setter
    def phase(self, phase: Phase) -> None:
        if self._at is None or (self._at is phase is Phase.DNS):
            self._at = phase
            return
        if phase in _NAMES:
            self.end_stage(None)
        self._at = phase

    def end_stage(self, failure: Refused | None) -> None:
        """Note what the step under way came to."""
        now = asyncio.get_running_loop().time()
        at = self.phase
        self._stages.append(
            Stage(
                name=self._names[at],
                seconds=now - self._began,
                detail="" if failure else _clean(self._found(at)),
                refused=failure,
            )
        )
        self._began = now
        if at in (Phase.CONNECT, Phase.TLS):
            self._names[Phase.CONNECT] = "greeting"

    def note(self, seen: str) -> None:
        """Add what the server showed at the step that failed."""
        last = self._stages[-1]
        if last.refused is not None:
            self._stages[-1] = replace(last, refused=replace(last.refused, seen=seen))

    def report(self, asked: Sequence[Stage]) -> Report:
        """Return all of it."""
        return Report(
            stages=(*self._stages, *asked),
            extensions=tuple(sorted(self.extensions)),
            max_content_bytes=self.max_content_bytes,
        )

    def _found(self, at: Phase) -> str:
        match at:
            case Phase.DNS:
                return ", ".join(self._addresses)
            case Phase.CONNECT:
                return self.greeting if self._names[at] == "greeting" else self._peer
            case Phase.TLS | Phase.STARTTLS:
                return self._tls_found()
            case Phase.EHLO:
                size = self.max_content_bytes
                largest = f"messages up to {size} bytes; " if size else ""
                return largest + ", ".join(sorted(self.extensions)).upper()
            case Phase.OAUTH:
                return "an access token"
            case _:
                return f"as {self.options.username} by {(self.mechanism or '').upper()}"

    def _tls_found(self) -> str:
        transport = self.protocol.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        return "" if tls is None else describe_tls(tls)

    async def _look_up(self) -> Sequence[tuple[socket.AddressFamily, tuple[Any, ...]]]:
        found = await super()._look_up()
        self._addresses = list(dict.fromkeys(str(address[0]) for _, address in found))
        return found

    async def _greet(self, sock: socket.socket) -> None:
        host, port = sock.getpeername()[:2]
        self._peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        await super()._greet(sock)


def describe_tls(tls: ssl.SSLObject) -> str:
    """Return version, cipher, and of a checked certificate its name, issuer and end."""
    cipher = tls.cipher()
    words = f"{tls.version()}, {cipher[0] if cipher else 'no cipher'}"
    certificate = tls.getpeercert()
    if not certificate:  # OpenSSL takes it apart only when it checks it
        return f"{words}, certificate not checked"
    subject = _common_name(certificate.get("subject", ())) or certificate.get("subjectAltName")
    issuer = _common_name(certificate.get("issuer", ()))
    return f"{words}, certificate of {subject} by {issuer} until {certificate['notAfter']}"


def _common_name(name: Any) -> str:
    """Return the most telling part of a distinguished name, as `getpeercert` gives it."""
    parts = {key: value for part in name for key, value in part}
    return str(parts.get("commonName") or parts.get("organizationName") or "")


def _clean(text: str) -> str:
    return " ".join(make_reply(250, text).text.split())

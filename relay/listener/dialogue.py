"""What is said in a session: commands and replies (RFC 5321 §4), line by line, without I/O."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace

from relay.listener.options import Auth, ListenerOptions, Tls
from relay.listener.sign_in import (
    MAX_FAILURES,
    MECHANISMS,
    Credentials,
    Exchange,
    authenticate,
    decode_response,
)
from relay.listener.transaction import NotTaken, Transaction, read_mail, read_rcpt
from relay.mail.message import Message, Origin
from relay.mail.reply import Reply
from relay.observe.events import RefusalReason, Refused
from relay.observe.journal import Journal

MAX_JUNK = 100  # commands since the last message that moved none on
MAX_NAME = 255  # characters kept of what HELO says

_HTTP = frozenset(
    b"GET POST PUT HEAD DELETE OPTIONS CONNECT PATCH TRACE PRI HOST: ORIGIN: USER-AGENT:".split()
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

_OK = b"250 2.0.0 Ok"
_HELO_FIRST = b"503 5.5.1 send EHLO first"
_SIGN_IN_FIRST = b"530 5.7.0 authentication required"


@dataclass(frozen=True, slots=True)
class Accept:
    """Have the message taken, then call `settle` with the reply."""

    message: Message


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Shake hands for TLS, then call `secured`."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection once the replies are written."""


@dataclass(frozen=True, slots=True)
class TakeContent:
    """Get ready for content, which comes next, and say 354."""


Step = Accept | Upgrade | HangUp | TakeContent


class Dialogue:
    """The state that commands change, and the replies to them."""

    __slots__ = (
        "_client",
        "_extended",
        "_failures",
        "_is_local",
        "_journal",
        "_junk_count",
        "_options",
        "_replies",
        "exchange",
        "origin",
        "transaction",
    )

    def __init__(
        self, options: ListenerOptions, journal: Journal, *, client: str, is_local: bool
    ) -> None:
        self._options = options
        self._journal = journal
        self._client = client
        self._is_local = is_local
        self._extended = False
        self.origin = Origin(listener=options.address, client=client)
        self._junk_count = 0
        self._failures = 0  # of AUTH
        self._replies: list[bytes] = []
        self.exchange: Exchange | None = None  # between AUTH and its last response
        self.transaction: Transaction | None = None  # between MAIL and the reply to the final dot

    def answer(self, line: bytes) -> Step | None:
        """Obey one line, without its line end."""
        if self.exchange is not None:
            return self._respond(self.exchange, line.strip())
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        command = _COMMANDS.get(verb)
        if command is not None:
            return command(self, argument.strip(b" \t"))
        if verb in _HTTP:
            return self.hang_up(
                b"421 4.7.0 this is not HTTP", RefusalReason.ABUSE, "HTTP on the SMTP port"
            )
        return self.junk(b"500 5.5.1 command not recognised")

    def line_too_long(self) -> Step | None:
        """Answer a line that was dropped."""
        if self.exchange is None:
            return self.junk(b"500 5.5.2 line too long")
        self.exchange = None
        return self.junk(b"500 5.5.6 authentication exchange line too long")  # RFC 4954 §6

    def take_replies(self) -> bytes:
        """Return what has to be written, once: one write whatever the number of replies."""
        if not self._replies:
            return b""
        self._replies.append(b"")
        replies = b"\r\n".join(self._replies)
        self._replies.clear()
        return replies

    def say(self, reply: bytes) -> None:
        """Answer; lines of a longer reply are joined by CRLF, the last one has none."""
        self._replies.append(reply)

    def junk(self, reply: bytes) -> HangUp | None:
        """Answer what moves no mail; too much of it ends the session."""
        self.say(reply)
        self._junk_count += 1
        if self._junk_count < MAX_JUNK:
            return None
        return self.hang_up(
            b"421 4.7.0 too many commands that move no mail",
            RefusalReason.ABUSE,
            f"{MAX_JUNK} commands and no message",
        )

    def hang_up(self, reply: bytes, reason: RefusalReason, detail: str) -> HangUp:
        """End the session with a word to the client and one to the operator."""
        self.record(reason, detail)
        self.say(reply)
        return HangUp()

    def record(self, reason: RefusalReason, detail: str) -> None:
        """Tell the operator that something was not taken."""
        self._journal.record(
            Refused(
                listener=self._options.address, client=self._client, reason=reason, detail=detail
            )
        )

    def settle(self, reply: Reply) -> None:
        """Give the answer to the final dot; the transaction is over."""
        smtputf8 = self.transaction is not None and self.transaction.smtputf8
        self.transaction = None
        if reply.is_positive:
            self._junk_count = 0
        self.say(encode_reply(reply, smtputf8=smtputf8))

    def secured(self) -> None:
        """Begin again inside TLS (RFC 3207 §4.2)."""
        self.origin = Origin(listener=self._options.address, client=self._client, tls=True)
        self._extended = False
        self.transaction = self.exchange = None

    @property
    def is_extended(self) -> bool:
        """Return whether the client said EHLO."""
        return self._extended

    # -- commands -----------------------------------------------------------------------------

    def _ehlo(self, argument: bytes) -> Step | None:
        if not argument:
            return self.junk(b"501 5.5.4 syntax: EHLO name")
        self._begin(argument, extended=True)
        lines = [
            self._options.hostname,
            "PIPELINING",
            f"SIZE {self._options.max_message_bytes}",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
        ]
        if self._offers_tls():
            lines.append("STARTTLS")
        if self._offers_auth():
            lines.append("AUTH PLAIN LOGIN")
        *others, last = lines
        text = "".join(f"250-{line}\r\n" for line in others) + f"250 {last}"
        return self.junk(text.encode("ascii", "replace"))

    def _helo_only(self, argument: bytes) -> Step | None:
        if not argument:
            return self.junk(b"501 5.5.4 syntax: HELO name")
        self._begin(argument, extended=False)
        return self.junk(f"250 {self._options.hostname}".encode("ascii", "replace"))

    def _begin(self, name: bytes, *, extended: bool) -> None:
        helo = _CONTROLS.sub("?", name[:MAX_NAME].decode("utf-8", "replace"))
        self.origin = replace(self.origin, helo=helo)
        self._extended = extended
        self.transaction = None

    def _mail(self, argument: bytes) -> Step | None:
        if not self.origin.helo:
            return self.junk(_HELO_FIRST)
        if self.transaction is not None:
            return self.junk(b"503 5.5.1 nested MAIL command")
        if self._options.auth is Auth.REQUIRED and self.origin.application is None:
            self.record(RefusalReason.AUTH, "MAIL without AUTH")
            return self.junk(_SIGN_IN_FIRST)
        try:
            self.transaction = read_mail(argument, self._options.max_message_bytes)
        except NotTaken as refusal:
            return self._refuse(refusal, argument)
        self.say(b"250 2.1.0 sender ok")
        return None

    def _rcpt(self, argument: bytes) -> Step | None:
        transaction = self.transaction
        if transaction is None:
            return self.junk(b"503 5.5.1 send MAIL first")
        try:
            address = read_rcpt(argument, transaction)
        except NotTaken as refusal:
            return self._refuse(refusal, argument)
        if len(transaction.forward_paths) < self._options.max_recipients:
            transaction.forward_paths.append(address)
            self.say(b"250 2.1.5 recipient ok")
            return None
        if not transaction.has_too_many:
            transaction.has_too_many = True
            self.record(RefusalReason.RECIPIENTS, f"more than {self._options.max_recipients}")
        self.say(b"452 4.5.3 too many recipients")
        return None

    def _refuse(self, refusal: NotTaken, argument: bytes) -> Step | None:
        reply = str(refusal)
        reason = RefusalReason.SIZE if reply.startswith("552") else RefusalReason.SYNTAX
        self.record(reason, f"{reply}: {argument[:MAX_NAME]!r}")
        return self.junk(reply.encode("ascii", "replace"))

    def _data(self, argument: bytes) -> Step | None:
        if argument:
            return self.junk(b"501 5.5.4 syntax: DATA")
        if self.transaction is None:
            return self.junk(b"503 5.5.1 send MAIL first")
        if not self.transaction.forward_paths:
            return self.junk(b"503 5.5.1 no valid recipients")
        return TakeContent()

    def _rset(self, argument: bytes) -> Step | None:
        if argument:
            return self.junk(b"501 5.5.4 syntax: RSET")
        self.transaction = None
        return self.junk(_OK)

    def _quit(self, argument: bytes) -> Step | None:
        if argument:
            return self.junk(b"501 5.5.4 syntax: QUIT")
        self.say(b"221 2.0.0 bye")
        return HangUp()

    def _noop(self, _: bytes) -> Step | None:
        return self.junk(_OK)

    def _help(self, _: bytes) -> Step | None:
        return self.junk(b"214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY AUTH STARTTLS QUIT")

    def _vrfy(self, argument: bytes) -> Step | None:
        if not argument:
            return self.junk(b"501 5.5.4 syntax: VRFY address")
        return self.junk(b"252 2.1.5 send some mail, it will be tried")

    def _not_implemented(self, _: bytes) -> Step | None:
        return self.junk(b"502 5.5.1 command not implemented")

    def _bdat(self, _: bytes) -> Step | None:
        # What follows is content that would be read as commands.
        return self.hang_up(
            b"421 4.7.0 CHUNKING is not offered", RefusalReason.ABUSE, "BDAT without CHUNKING"
        )

    def _starttls(self, argument: bytes) -> Step | None:
        if argument:
            return self.junk(b"501 5.5.4 syntax: STARTTLS")
        if self.origin.tls:
            return self.junk(b"503 5.5.1 TLS is active already")
        if not self._offers_tls():
            return self.junk(b"502 5.5.1 STARTTLS is not offered")
        self.say(b"220 2.0.0 ready to start TLS")
        return Upgrade()

    def _offers_tls(self) -> bool:
        return self._options.tls is Tls.STARTTLS and not self.origin.tls

    # -- signing in ---------------------------------------------------------------------------

    def _offers_auth(self) -> bool:
        options = self._options
        if options.auth is Auth.OFF or not options.applications:
            return False
        return self.origin.tls or self._is_local or options.tls is Tls.NONE

    def _auth(self, argument: bytes) -> Step | None:
        if not self._extended:
            return self.junk(_HELO_FIRST)
        if self._options.auth is Auth.OFF or self.origin.application is not None:
            return self.junk(b"503 5.5.1 not needed here or done already")
        if self.transaction is not None:
            return self.junk(b"503 5.5.1 not within a transaction")
        if not self._offers_auth():
            return self.junk(b"538 5.7.11 encryption required, send STARTTLS first")
        if not argument:
            return self.junk(b"501 5.5.4 syntax: AUTH mechanism")
        name, *initial = argument.split()
        mechanism = MECHANISMS.get(name.upper())
        if mechanism is None or len(initial) > 1:
            return self.junk(b"504 5.5.4 mechanism not recognised, try PLAIN or LOGIN")
        exchange = mechanism()
        challenge = next(exchange)
        if initial:
            return self._respond(exchange, initial[0])
        self._challenge(exchange, challenge)
        return None

    def _challenge(self, exchange: Exchange, challenge: bytes) -> None:
        self.exchange = exchange
        self.say(b"334 " + b64encode(challenge))

    def _respond(self, exchange: Exchange, line: bytes) -> Step | None:
        self.exchange = None
        if line == b"*":
            return self.junk(b"501 5.7.0 authentication cancelled")
        try:
            challenge = exchange.send(decode_response(line))
        except StopIteration as end:
            return self._sign_in(end.value)
        except ValueError:
            return self.junk(b"501 5.5.2 response not understood")
        self._challenge(exchange, challenge)
        return None

    def _sign_in(self, claimed: Credentials) -> Step | None:
        application = authenticate(self._options.applications, claimed)
        if application is not None:
            self.origin = replace(self.origin, application=application)
            self.say(b"235 2.7.0 welcome")
            return None
        self._failures += 1
        login = claimed.login[:MAX_NAME]
        self.record(RefusalReason.AUTH, f"wrong login or password for {login!r}")
        if self._failures < MAX_FAILURES:
            return self.junk(b"535 5.7.8 authentication failed")
        self.say(b"421 4.7.0 too many failed authentications")
        return HangUp()


_COMMANDS: dict[bytes, Callable[[Dialogue, bytes], Step | None]] = {
    b"EHLO": Dialogue._ehlo,
    b"HELO": Dialogue._helo_only,
    b"MAIL": Dialogue._mail,
    b"RCPT": Dialogue._rcpt,
    b"DATA": Dialogue._data,
    b"RSET": Dialogue._rset,
    b"NOOP": Dialogue._noop,
    b"QUIT": Dialogue._quit,
    b"HELP": Dialogue._help,
    b"VRFY": Dialogue._vrfy,
    b"EXPN": Dialogue._not_implemented,
    b"ETRN": Dialogue._not_implemented,
    b"TURN": Dialogue._not_implemented,
    b"BDAT": Dialogue._bdat,
    b"STARTTLS": Dialogue._starttls,
    b"AUTH": Dialogue._auth,
}


def encode_reply(reply: Reply, *, smtputf8: bool) -> bytes:
    """Return a reply as it is said; other than ASCII only to who asked for SMTPUTF8 (RFC 6531)."""
    lines = [_CONTROLS.sub("?", line) for line in reply.text.split("\n")]
    head = f"{reply.code}%s{reply.status} " if reply.status else f"{reply.code}%s"
    *others, last = lines
    text = "".join(f"{head % '-'}{line}\r\n" for line in others) + f"{head % ' '}{last}"
    return text.encode("utf-8" if smtputf8 else "ascii", "replace")

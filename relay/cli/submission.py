"""Mail handed in by SMTP, as an application does it, and what came of it as an exit code."""

from __future__ import annotations

import smtplib
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import make_msgid

from relay.cli.exits import Exit, fail
from relay.cli.terminal import say, watched
from relay.listener.options import Auth, ListenerOptions, Tls

_SECONDS = 60.0
_FEW = 3  # replies that are shown one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where mail is handed in, and how."""

    host: str
    port: int
    listener: ListenerOptions | None = None  # that it belongs to

    def __str__(self) -> str:
        """Return its address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @contextmanager
    def open(self) -> Iterator[smtplib.SMTP]:
        """Connect, encrypt and sign in as the listener asks for."""
        tls = self.listener.tls if self.listener else Tls.NONE
        if tls is Tls.IMPLICIT:
            context = _trust(self.listener)
            session: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, timeout=_SECONDS, context=context
            )
        else:
            session = smtplib.SMTP(self.host, self.port, timeout=_SECONDS)
        with session:
            if tls is Tls.STARTTLS:
                session.starttls(context=_trust(self.listener))
            if self.listener and self.listener.auth is Auth.REQUIRED:
                _sign_in(session, self.listener)
            session.ehlo_or_helo_if_needed()
            yield session


def _sign_in(session: smtplib.SMTP, listener: ListenerOptions) -> None:
    """Sign in as the first application; ends if its password cannot be read here."""
    from relay.settings.secret import SecretError

    application = listener.applications[0]
    try:
        password = application.password()
    except SecretError as error:
        fix = "Run this as a user who may read it, or send to another listener: --server."
        fail(f"The password of {application.login}: {error}", fix, Exit.NOT_DONE)
    session.login(application.login, password)


def _trust(listener: ListenerOptions | None) -> ssl.SSLContext:
    """Return a context that trusts this listener's own certificate, whatever its name."""
    context = ssl.create_default_context(cafile=listener.certificate if listener else None)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def hand_in_all(
    session: smtplib.SMTP,
    reverse_path: str,
    recipients: list[str],
    message: EmailMessage,
    number: int,
) -> None:
    began = time.monotonic()
    reply = ""
    for _ in watched(range(number)):
        reply = _hand_in(session, reverse_path, recipients, message)
        if number <= _FEW:
            say(reply)
        message.replace_header("Message-ID", make_msgid(domain="relay.invalid"))
    if number > _FEW:
        say(f"{number} messages taken in {time.monotonic() - began:.1f} s, the last one with")
        say(reply)


def _hand_in(
    session: smtplib.SMTP, reverse_path: str, recipients: list[str], message: EmailMessage
) -> str:
    """Return the reply to the message; raises smtplib.SMTPException when it is not taken."""
    is_ascii = all(address.isascii() for address in (reverse_path, *recipients))
    options = [] if is_ascii else ["SMTPUTF8"]
    content = message.as_bytes(policy=SMTP if is_ascii else SMTPUTF8)
    _must(session.mail(reverse_path, options))
    for recipient in recipients:
        _must(session.rcpt(recipient))
    return _must(session.data(content))


def _must(answer: tuple[int, bytes]) -> str:
    code, text = answer
    if not 200 <= code < 300:
        raise smtplib.SMTPResponseException(code, text)
    return f"{code} {_decoded(text)}"


def _decoded(text: bytes | str) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


@contextmanager
def telling_what_failed(door: Door) -> Iterator[None]:
    try:
        yield
    except smtplib.SMTPServerDisconnected:
        fail(f"{door} hung up.", "The log of relay says why.", Exit.LATER)
    except smtplib.SMTPResponseException as error:
        reply = f"{error.smtp_code} {_decoded(error.smtp_error)}"
        if error.smtp_code // 100 == 4:
            fail(f"Not now: {reply}", "Try again later; `relay status` may say why.", Exit.LATER)
        fail(f"Refused: {reply}", "", Exit.REFUSED)
    except smtplib.SMTPException as error:
        fail(f"Refused: {error}", "", Exit.REFUSED)
    except OSError as error:
        why = error.strerror or str(error)
        fail(
            f"Nobody takes mail at {door}: {why.lower()}.",
            "Start relay with `relay run`, or say where it listens: --server HOST:PORT.",
            Exit.UNAVAILABLE,
        )

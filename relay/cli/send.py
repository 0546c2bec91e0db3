"""`relay send`: hands in a test message as an application would, by SMTP."""

from __future__ import annotations

import smtplib
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import make_msgid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.config import Config, read_settings
from relay.cli.exits import Exit, fail
from relay.cli.samples import RECIPIENT, SENDERS, Sample, make_sample
from relay.cli.terminal import say

if TYPE_CHECKING:
    from relay.listener.options import ListenerOptions

_SECONDS = 60.0
_MANY = 20
_FEW = 3  # replies that are shown one by one
_NULL = frozenset({"", "<>"})


def send(
    config: Config = None,
    kind: Annotated[
        Sample, typer.Option("--kind", "-k", help="What the message looks like.")
    ] = Sample.PLAIN,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", "-t", metavar="ADDRESS", help="Once for each recipient."),
    ] = None,
    sender: Annotated[
        str | None, typer.Option("--from", "-f", metavar="ADDRESS", help="<> for none.")
    ] = None,
    subject: Annotated[str | None, typer.Option("--subject", "-s", metavar="TEXT")] = None,
    attach: Annotated[
        list[Path] | None,
        typer.Option("--attach", "-a", metavar="FILE", exists=True, dir_okay=False),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Default: the first listener of the settings."),
    ] = None,
    number: Annotated[int, typer.Option("--count", "-n", min=1, help="How many messages.")] = 1,
) -> None:
    """Send a test message through relay, and show what it answers.

    In a rehearsal nothing leaves the machine and any address will do. Otherwise the message is
    really sent: say --to.
    """
    door = _parse_server(server) if server else _listener(config, has_recipient=bool(to))
    recipients = to or [RECIPIENT]
    author = SENDERS[kind] if sender in {None, *_NULL} else str(sender)
    try:
        message = make_sample(kind, author, recipients, subject, attach or [])
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", "", Exit.NOT_DONE)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    reverse_path = "" if sender in _NULL else author
    with _telling_what_failed(door), door.open() as session:
        _hand_in_all(session, reverse_path, recipients, message, number)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Door:
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
        tls = self.listener.tls.value if self.listener else "none"
        if tls == "implicit":
            context = _trust(self.listener)
            session: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, timeout=_SECONDS, context=context
            )
        else:
            session = smtplib.SMTP(self.host, self.port, timeout=_SECONDS)
        with session:
            if tls == "starttls":
                session.starttls(context=_trust(self.listener))
            if self.listener and self.listener.auth.value == "required":
                application = self.listener.applications[0]
                session.login(application.login, application.password())
            session.ehlo_or_helo_if_needed()
            yield session


def _listener(config: Path | None, *, has_recipient: bool) -> _Door:
    settings = read_settings(config)
    if not settings.rehearsal and not has_recipient:
        raise typer.BadParameter("say --to: this relay does not rehearse, it sends for real")
    listener = settings.listeners[0]
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- to connect, not to listen
    return _Door(host=here.get(listener.host, listener.host), port=listener.port, listener=listener)


def _parse_server(text: str) -> _Door:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port[:6]) <= 65535:
        raise typer.BadParameter(f"--server {text!r}: expected HOST:PORT")
    return _Door(host=host.strip("[]"), port=int(port))


def _trust(listener: ListenerOptions | None) -> ssl.SSLContext:
    """Return a context that trusts this listener's own certificate, whatever its name."""
    context = ssl.create_default_context(cafile=listener.certificate if listener else None)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _hand_in_all(
    session: smtplib.SMTP,
    reverse_path: str,
    recipients: list[str],
    message: EmailMessage,
    number: int,
) -> None:
    began = time.monotonic()
    reply = ""
    for _ in _counted(number):
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
def _telling_what_failed(door: _Door) -> Iterator[None]:
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


def _counted(number: int) -> Iterator[int]:
    """Count, with a bar on standard error when it takes long and a person is watching."""
    if number < _MANY or not sys.stderr.isatty():
        yield from range(number)
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(range(number), "sending", console=Console(stderr=True), transient=True)

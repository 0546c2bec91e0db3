"""Programs that hand in mail, each as a function: it sends, and returns what it has sent."""

from __future__ import annotations

import json
import smtplib
import ssl
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon import PATIENCE
from letters import crlf, hard_case, invoice, invoice_pdf, wire
from programs import program, run

SENDER = "shop@example.com"
LOGIN, PASSWORD = "shop", """p:s %s\\w$1"#'"""  # what careless quoting breaks
CRLF = b"\r\n"
_SCRIPTS = Path(__file__).with_name("clients")
_NODEMAILER = "/usr/share/nodejs/nodemailer/package.json"
_PHPMAILER = "/usr/share/php/libphp-phpmailer/autoload.php"


@dataclass(frozen=True, slots=True)
class Way:
    """A listener, as its clients see it."""

    name: str
    listener: int  # which of the settings
    security: str  # none, starttls, implicit
    mechanism: str | None  # how to sign in
    protocol: str  # what the trace field says (RFC 3848)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a client has to do."""

    way: Way
    port: int
    ca: Path
    to: str
    folder: Path  # to write in


Client = Callable[[Order], bytes]


def swaks(order: Order) -> bytes:
    """Send with swaks, which puts an empty line at the end."""
    letter = hard_case(order.to)
    options = ["--server", f"127.0.0.1:{order.port}", "--from", SENDER, "--to", order.to]
    options += {
        "none": [],
        "starttls": ["--tls", "--tls-verify", "--tls-ca-path", str(order.ca)],
        "implicit": ["--tls-on-connect", "--tls-verify", "--tls-ca-path", str(order.ca)],
    }[order.way.security]
    if order.way.mechanism:
        options += [
            "--auth",
            order.way.mechanism,
            "--auth-user",
            LOGIN,
            "--auth-password",
            PASSWORD,
        ]
    run("swaks", *options, "--data", "-", stdin=letter)
    return crlf(letter) + CRLF


def curl(order: Order) -> bytes:
    """Send a file with curl whose lines end with CRLF."""
    return _curl(order, crlf(hard_case(order.to)), order.to)


def curl_with_line_feeds(order: Order) -> bytes:
    """Send a file with curl whose lines end with LF, as most files here do.

    It looks for CRLF at the end, and adds one when there is none.
    """
    letter = wire(invoice(order.to)).replace(b"\r\n", b"\n")
    return _curl(order, letter, order.to) + CRLF


def _curl(order: Order, letter: bytes, *to: str) -> bytes:
    file = order.folder / "letter.eml"
    file.write_bytes(letter)
    scheme = "smtps" if order.way.security == "implicit" else "smtp"
    options = ["--silent", "--show-error", "--cacert", str(order.ca), "--upload-file", str(file)]
    options += [part for each in to for part in ("--mail-rcpt", each)]
    if order.way.security == "starttls":
        options.append("--ssl-reqd")
    if order.way.mechanism:
        options += [
            "--user",
            f"{LOGIN}:{PASSWORD}",
            "--login-options",
            f"AUTH={order.way.mechanism}",
        ]
    run("curl", *options, "--mail-from", SENDER, f"{scheme}://127.0.0.1:{order.port}")
    return crlf(letter)


def curl_for_two(order: Order) -> bytes:
    """Send one file with curl to two recipients."""
    return _curl(order, crlf(hard_case(order.to)), order.to, f"second.{order.to}")


def smtplib_sendmail(order: Order) -> bytes:
    """Send bytes with Python's smtplib, whose lines end with LF; it adds a CRLF."""
    letter = hard_case(order.to)
    with python(order) as smtp:
        assert smtp.sendmail(SENDER, [order.to], letter) == {}
    return crlf(letter) + CRLF


def smtplib_send_message(order: Order) -> bytes:
    """Send a message with an attachment with Python's smtplib."""
    letter = invoice(order.to)
    with python(order) as smtp:
        assert smtp.send_message(letter, SENDER, [order.to]) == {}
    return wire(letter)


@contextmanager
def python(order: Order, password: str = PASSWORD) -> Iterator[smtplib.SMTP]:
    """Give a session of smtplib that has signed in."""
    context = ssl.create_default_context(cafile=str(order.ca))
    if order.way.security == "implicit":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(
            "127.0.0.1", order.port, timeout=PATIENCE, context=context
        )
    else:
        smtp = smtplib.SMTP("127.0.0.1", order.port, timeout=PATIENCE)
    with smtp:
        if order.way.security == "starttls":
            smtp.starttls(context=context)
        if order.way.mechanism:
            smtp.ehlo_or_helo_if_needed()
            smtp.user, smtp.password = LOGIN, password
            name = order.way.mechanism
            smtp.auth(name, getattr(smtp, f"auth_{name.lower()}"))
        yield smtp


def nodemailer(order: Order) -> bytes:
    """Send with nodemailer."""
    return nodemailer_many(order, 1)[0]


def nodemailer_many(order: Order, letters: int) -> list[bytes]:
    """Send with nodemailer; more than one go over a pool of two connections."""
    program(_NODEMAILER)
    script = str(_SCRIPTS / "nodemailer_client.js")
    rendered = _script(order, "node", script, letters=letters)
    assert len(rendered) == letters
    return [crlf(letter) for letter in rendered]


def phpmailer(order: Order) -> bytes:
    """Send with PHPMailer by SMTP, which puts an empty line at the end."""
    program(_PHPMAILER)
    (rendered,) = _script(order, "php", str(_SCRIPTS / "phpmailer_client.php"))
    return rendered + CRLF


def php_mail(order: Order) -> None:
    """Send with PHPMailer by PHP's own mail(), which calls msmtp as its sendmail."""
    program(_PHPMAILER)
    sendmail = f"{program('msmtp')} -C {msmtp_settings(order)} -t -i"
    script = str(_SCRIPTS / "phpmailer_client.php")
    _script(order, "php", "-d", f"sendmail_path={sendmail}", script, by_mail=True)


def _script(order: Order, *command: str, **more: Any) -> list[bytes]:
    """Return what a script of ours prints, letter by letter; `more` is added to its orders."""
    attachment = order.folder / "attachment.pdf"
    attachment.write_bytes(invoice_pdf())
    orders: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": order.port,
        "security": order.way.security,
        "mechanism": order.way.mechanism,
        "ca": str(order.ca),
        "login": LOGIN,
        "password": PASSWORD,
        "to": order.to,
        "attachment": str(attachment),
    }
    # Debian's own Node finds Debian's libraries, others have to be told
    environ = {"NODE_PATH": "/usr/share/nodejs"}
    said = run(*command, stdin=json.dumps(orders | more).encode(), **environ)
    return [b64decode(line, validate=True) for line in said.splitlines()]


def msmtp(order: Order) -> bytes:
    """Send with msmtp, recipients as arguments."""
    letter = hard_case(order.to)
    run("msmtp", "-C", msmtp_settings(order), "-f", SENDER, "--", order.to, stdin=letter)
    return crlf(letter)


def msmtp_as_sendmail(order: Order) -> bytes:
    """Send with msmtp called as `sendmail -t`: recipients from the header."""
    letter = wire(invoice(order.to)).replace(b"\r\n", b"\n")
    sendmail = order.folder / "sendmail"
    sendmail.symlink_to(program("msmtp"))
    run(str(sendmail), "-C", msmtp_settings(order), "-f", SENDER, "-t", "-i", stdin=letter)
    return crlf(letter)


def msmtp_settings(order: Order) -> str:
    """Return the path of settings for msmtp."""
    on = {"none": "off", "starttls": "on", "implicit": "on"}[order.way.security]
    lines = [
        "account default",
        "host 127.0.0.1",
        f"port {order.port}",
        f"tls {on}",
        f"tls_starttls {'on' if order.way.security == 'starttls' else 'off'}",
        f"tls_trust_file {order.ca}",
        f"auth {(order.way.mechanism or 'off').lower()}",
    ]
    if order.way.mechanism:
        secret = order.folder / "secret"
        secret.write_text(PASSWORD)
        lines += [f"user {LOGIN}", f"passwordeval cat {secret}"]
    file = order.folder / "msmtprc"
    file.touch(0o600)
    file.write_text("\n".join([*lines, ""]))
    return str(file)


CLIENTS: tuple[Client, ...] = (
    swaks,
    curl,
    curl_with_line_feeds,
    smtplib_sendmail,
    smtplib_send_message,
    nodemailer,
    phpmailer,
    msmtp,
    msmtp_as_sendmail,
)

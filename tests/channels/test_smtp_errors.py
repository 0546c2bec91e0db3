"""What an exception comes to, as a reply."""

from __future__ import annotations

import socket
import ssl

import pytest
from aiosmtplib.errors import SMTPException, SMTPNotSupported, SMTPServerDisconnected

from relay.channels.smtp_errors import RejectedError, refused
from relay.channels.smtp_protocol import OutOfStep
from relay.mail.attempt import Refused
from relay.mail.reply import Phase, Reply


@pytest.mark.parametrize(
    ("error", "phase", "expected"),
    [
        (socket.gaierror(-2, "Name or service not known"), Phase.DNS, "451 4.4.3"),
        (UnicodeError("label too long"), Phase.DNS, "451 4.4.3"),
        (ConnectionRefusedError(111, "x"), Phase.CONNECT, "451 4.4.1"),
        (OSError(113, "x"), Phase.CONNECT, "451 4.4.1"),
        (TimeoutError(), Phase.CONNECT, "451 4.4.2"),
        (ssl.SSLCertVerificationError("x"), Phase.TLS, "454 4.7.5"),
        (ssl.SSLError("x"), Phase.MAIL, "454 4.7.5"),
        (SMTPNotSupported("x"), Phase.STARTTLS, "454 4.7.4"),
        (SMTPServerDisconnected("x"), Phase.RCPT, "451 4.4.2"),
        (ConnectionResetError(104, "x"), Phase.DATA, "451 4.4.2"),
        (OutOfStep("x"), Phase.MAIL, "451 4.5.0"),
        (SMTPException("x"), Phase.AUTH, "451 4.3.0"),
        (FileNotFoundError(2, "x"), Phase.AUTH, "451 4.3.0"),
        (ValueError("x"), Phase.AUTH, "451 4.3.0"),
        (ValueError("x"), Phase.MAIL, "554 5.6.0"),
        (UnicodeEncodeError("utf-8", "x", 0, 1, "x"), Phase.RCPT, "554 5.6.0"),
        (KeyError("not in the table"), Phase.MAIL, "451 4.3.0"),
        (MemoryError(), Phase.DATA, "451 4.3.0"),
    ],
)
def test_every_exception_is_a_reply(error, phase, expected):
    outcome = refused(error, phase)
    assert (outcome.phase, outcome.error) == (phase, type(error).__name__)
    assert f"{outcome.reply.code} {outcome.reply.status}" == expected
    assert outcome.reply.text


def test_what_a_server_said_stays_as_it_was_said():
    reply = Reply(421, "4.7.0", "too many")
    assert refused(RejectedError(Phase.RCPT, reply), Phase.DATA) == Refused(
        phase=Phase.RCPT, reply=reply
    )


def test_words_are_capped_and_without_controls():
    text = refused(SMTPException("a\x1bb" + "x" * 5000), Phase.MAIL).reply.text
    assert text.startswith("abxx")
    assert len(text) == 1000

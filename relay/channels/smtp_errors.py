"""One table: what the library, the operating system or OpenSSL raises, as the reply of a server."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass

from aiosmtplib.errors import (
    SMTPConnectError,
    SMTPException,
    SMTPNotSupported,
    SMTPServerDisconnected,
)

from relay.channels.smtp_protocol import OutOfStep
from relay.mail.attempt import Refused
from relay.mail.reply import Phase, Reply, make_reply

_PREPARING = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA})


@dataclass(frozen=True, slots=True)
class Row:
    """What one kind of exception comes to."""

    error: type[BaseException]
    code: int
    status: str
    phases: frozenset[Phase] = frozenset(Phase)


TABLE = (
    # A message that cannot be written down will not get better: it must not be tried for ever.
    Row(ValueError, 554, "5.6.0", _PREPARING),
    Row(socket.gaierror, 451, "4.4.3"),
    Row(UnicodeError, 451, "4.4.3", frozenset({Phase.DNS})),
    Row(ssl.SSLError, 454, "4.7.5"),
    Row(TimeoutError, 451, "4.4.2"),
    Row(SMTPConnectError, 451, "4.4.1"),
    Row(SMTPNotSupported, 454, "4.7.4"),
    Row(OutOfStep, 451, "4.5.0"),
    Row(SMTPServerDisconnected, 451, "4.4.2"),
    Row(ConnectionRefusedError, 451, "4.4.1"),
    Row(ConnectionError, 451, "4.4.2"),
    Row(OSError, 451, "4.4.1", frozenset({Phase.DNS, Phase.CONNECT})),
    Row(SMTPException, 451, "4.3.0"),
)
"""The first row that fits decides; what none fits is 451 4.3.0."""


class RejectedError(Exception):
    """The server, or a rule of ours, refused everything that was left to do."""

    def __init__(self, phase: Phase, reply: Reply) -> None:
        super().__init__(phase, reply)
        self.phase = phase
        self.reply = reply


def refused(error: BaseException, phase: Phase) -> Refused:
    """Return `error`, which came up at `phase`, as a refusal."""
    if isinstance(error, RejectedError):
        return Refused(phase=error.phase, reply=error.reply)
    for row in TABLE:
        if isinstance(error, row.error) and phase in row.phases:
            code, status = row.code, row.status
            break
    else:
        code, status = 451, "4.3.0"
    return Refused(
        phase=phase,
        reply=Reply(code, status, make_reply(code, in_words(error)).text),
        error=type(error).__name__,
        errno=_errno(error),
    )


def in_words(error: BaseException) -> str:
    """Return what went wrong as the reply dictionary and people know it."""
    number = _errno(error)
    if number is not None and not isinstance(error, socket.gaierror):
        return f"[Errno {number}] {os.strerror(number)}"  # without asyncio's own words
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__


def _errno(error: BaseException) -> int | None:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return error.errno
    return None

"""What a server answers, and at which step."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

MAX_TEXT = 1000  # characters kept of a reply; servers are hostile input

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STATUS = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")


class Phase(StrEnum):
    """The step of a delivery at which something was said or went wrong."""

    OAUTH = "oauth"
    DNS = "dns"
    CONNECT = "connect"  # TCP connection and greeting
    TLS = "tls"  # from the first byte
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # from the command to the final dot
    AFTER_DATA = "after-data"  # the reply to the final dot


@dataclass(frozen=True, slots=True)
class Reply:
    """RFC 5321 §4.2: a code, an enhanced status code (RFC 3463) when there is one, and a text."""

    code: int  # 200-599
    status: str | None  # "5.1.1"
    text: str  # lines joined by "\n"; without code and status; no control characters

    @property
    def is_positive(self) -> bool:
        """Return whether the server took it (2yz)."""
        return 200 <= self.code < 300

    @property
    def is_permanent(self) -> bool:
        """Return whether the code is 5yz."""
        return 500 <= self.code < 600

    def __str__(self) -> str:
        """Return it on one line, as a person reads it."""
        status = f" {self.status}" if self.status else ""
        return f"{self.code}{status} {' '.join(self.text.split())}".rstrip()


def make_reply(code: int, text: str) -> Reply:
    """Return the reply a server gave, with its status split off, capped and without controls."""
    text = _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))[:MAX_TEXT].strip()
    lines = text.split("\n")
    match = _STATUS.match(lines[0])
    if match is None:
        return Reply(code, None, text)
    status = match[1]
    lines = [line[len(status) :].lstrip() if line.startswith(status) else line for line in lines]
    return Reply(code, status, "\n".join(lines))

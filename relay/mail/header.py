"""The header of a message (RFC 5322 §2.2): read within bounds, and the fields we put in front."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

MAX_HEADER_BYTES = 64 * 1024  # beyond this a header is not read
MAX_FIELDS = 200
MAX_FIELD_BYTES = 8 * 1024

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_NOT_IN_DOMAIN = re.compile(r"[^A-Za-z0-9._:\[\]-]")  # of a name or an address literal


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderFacts:
    """What reception has to know of a header."""

    hops: int  # Received: fields
    has_date: bool  # True as well when the header is too long to know
    has_message_id: bool  # the same
    joint: bytes  # what has to stand between fields put in front and the content


@dataclass(frozen=True, slots=True)
class Field:
    """One field, unfolded."""

    name: bytes  # as written
    value: bytes  # without blanks around it


def header_end(head: bytes) -> int:
    """Return where the header ends, behind its last CRLF; -1 when `head` has no empty line."""
    if head.startswith(b"\r\n"):
        return 0
    end = head.find(b"\r\n\r\n")
    return end + 2 if end >= 0 else -1


def scan_header(content: bytes) -> HeaderFacts:
    """Return the facts of a header: of the first 64 KiB of a content, or all of a shorter one."""
    head = content[:MAX_HEADER_BYTES]
    end = header_end(head)
    known = end >= 0 or len(content) < MAX_HEADER_BYTES
    # RFC 822 allowed a blank before the colon.
    names = (b"\r\n" + (head[:end] if end >= 0 else head)).lower().replace(b" :", b":")
    return HeaderFacts(
        hops=names.count(b"\r\nreceived:"),
        has_date=not known or b"\r\ndate:" in names,
        has_message_id=not known or b"\r\nmessage-id:" in names,
        joint=_joint(head),
    )


def _joint(head: bytes) -> bytes:
    if not head or head.startswith(b"\r\n") or _FIELD.match(head):
        return b""
    if head.startswith((b"From ", b">From ")):
        return b"X-Mailbox-Line: "  # the separator line of a mailbox file, as Postfix keeps it
    return b"\r\n"  # no header at all: what comes is the body


def fields(head: bytes) -> Iterator[Field]:
    """Yield the fields of a header in order: at most 200, each unfolded and cut at 8 KiB.

    What is no field is passed over; ends at the empty line, or after 64 KiB.
    """
    end = header_end(head[:MAX_HEADER_BYTES])
    block = _FOLD.sub(b"", head[: end if end >= 0 else MAX_HEADER_BYTES])
    for line in block.split(b"\r\n", MAX_FIELDS)[:MAX_FIELDS]:
        match = _FIELD.match(line)
        if match:
            yield Field(match[1], line[match.end() : MAX_FIELD_BYTES].strip(b" \t"))


def date_time(at: datetime) -> str:
    """Return a moment as RFC 5322 §3.3 writes it, in UTC."""
    at = at.astimezone(UTC)
    time = f"{at.hour:02}:{at.minute:02}:{at.second:02}"
    return f"{_DAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]} {at.year} {time} +0000"


def protocol_name(*, extended: bool, tls: bool, authenticated: bool, smtputf8: bool) -> str:
    """Return the name of the protocol for the `with` clause (RFC 3848, RFC 6531 §4.3)."""
    if not extended:
        return "SMTP"
    name = "UTF8SMTP" if smtputf8 else "ESMTP"
    return f"{name}{'S' if tls else ''}{'A' if authenticated else ''}"


def received_field(
    *, helo: str, client: str, hostname: str, protocol: str, queue_id: str, at: datetime
) -> bytes:
    """Return the trace field (RFC 5321 §4.4), CRLF included.

    There is never a `for` clause: it would show one blind recipient to another. What the client
    said of itself cannot leave its place.
    """
    name = _NOT_IN_DOMAIN.sub("?", helo[:255]) or "unknown"
    literal = f"IPv6:{client}" if ":" in client else client
    peer = f" ([{literal}])" if client else ""
    return (
        f"Received: from {name}{peer}\r\n\tby {hostname} (relay) with {protocol} id {queue_id};\r\n"
        f"\t{date_time(at)}\r\n"
    ).encode("ascii", "replace")


def missing_fields(facts: HeaderFacts, *, hostname: str, queue_id: str, at: datetime) -> bytes:
    """Return the Date and Message-ID that a submission lacks (RFC 6409 §8.2, §8.3)."""
    date = "" if facts.has_date else f"Date: {date_time(at)}\r\n"
    message_id = "" if facts.has_message_id else f"Message-ID: <{queue_id}@{hostname}>\r\n"
    return f"{date}{message_id}".encode("ascii", "replace")

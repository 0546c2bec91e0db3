"""Delivery reports (RFC 3464) in words that the sender of the message understands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, formataddr
from enum import StrEnum

from relay.mail.reply import Reply

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class Action(StrEnum):
    """RFC 3464 §2.3.3, those that a relay reports."""

    FAILED = "failed"
    DELAYED = "delayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One recipient that the report is about."""

    forward_path: str
    reply: Reply
    cause: str  # plain words, "" for none
    upstream: str  # who said it: host:port, "" for us
    attempted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a report says."""

    action: Action
    number: str  # queue id of the report, for its Message-ID
    reporter: str  # host name of this relay
    sender: str  # address in From
    sender_name: str
    to: str  # the reverse-path of the message
    about: str  # queue id of the message
    subject: str  # of the message
    received_at: datetime
    retry_until: datetime | None  # of what is delayed
    now: datetime
    failures: tuple[Failure, ...]  # at least one
    header: bytes  # of the message, as much of it as is given back (RFC 3462 text/rfc822-headers)


def render(report: Report) -> bytes:
    """Return the report as content in wire format: multipart/report, UTF-8 where it needs to be."""
    boundary = f"report-{report.number}"
    status = "\r\n".join(_status_part(report))
    utf8 = not (status.isascii() and report.header.isascii())
    lines = [
        f"From: {formataddr((report.sender_name, report.sender))}",
        f"To: <{report.to}>",
        f"Subject: {TITLES[report.action]}",
        f"Date: {format_datetime(report.now)}",
        f"Message-ID: <{report.number}@{report.reporter}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        *_text_part(report),
        "",
        f"--{boundary}",
        f"Content-Type: message/{'global-' if utf8 else ''}delivery-status",
        *(["Content-Transfer-Encoding: 8bit"] if utf8 else []),
        "",
        status,
        "",
        f"--{boundary}",
        f"Content-Type: {'message/global-headers' if utf8 else 'text/rfc822-headers'}",
        *(["Content-Transfer-Encoding: 8bit"] if utf8 else []),
        "",
    ]
    head = "\r\n".join(lines).encode("utf-8", "replace")
    return head + b"\r\n" + report.header + f"\r\n--{boundary}--\r\n".encode()


TITLES = {
    Action.FAILED: "Your message could not be delivered",
    Action.DELAYED: "Your message is waiting to be delivered",
}


def _text_part(report: Report) -> list[str]:
    many = len(report.failures) > 1
    sent = f"{report.received_at:%Y-%m-%d %H:%M} UTC"
    subject = f' with the subject "{_clean(report.subject)}"' if report.subject else ""
    lines = [f"Your message{subject}, handed in on {sent},"]
    if report.action is Action.FAILED:
        lines += [
            f"could not be delivered to {'these recipients' if many else 'this recipient'}.",
            "It will not be tried again.",
        ]
    else:
        lines += [
            f"has not yet been delivered to {'these recipients' if many else 'this recipient'}.",
            "You need not do anything: it is kept and tried again"
            + (f" until {report.retry_until:%Y-%m-%d %H:%M} UTC." if report.retry_until else "."),
        ]
    for failure in report.failures:
        lines += ["", f"  {_clean(failure.forward_path)}"]
        if failure.cause:
            lines.append(f"    {_clean(failure.cause)}")
        by = f"{failure.upstream} answered" if failure.upstream else "Reason"
        lines.append(f"    {by}: {_clean(str(failure.reply))}")
    return [*lines, "", f"Reference: {report.about} on {report.reporter}"]


def _status_part(report: Report) -> list[str]:
    """RFC 3464 §2.2 and §2.3: fields of the message, then a block for each recipient."""
    lines = [
        f"Reporting-MTA: dns; {report.reporter}",
        f"Arrival-Date: {format_datetime(report.received_at)}",
    ]
    for failure in report.failures:
        kind = "rfc822" if failure.forward_path.isascii() else "utf-8"
        lines += [
            "",
            f"Final-Recipient: {kind}; {_clean(failure.forward_path)}",
            f"Action: {report.action}",
            f"Status: {_status(report.action, failure.reply)}",
            f"Last-Attempt-Date: {format_datetime(failure.attempted_at)}",
            f"Diagnostic-Code: smtp; {_clean(str(failure.reply))}",
        ]
        if failure.upstream:
            lines.append(f"Remote-MTA: dns; {failure.upstream.rsplit(':', 1)[0]}")
        if report.retry_until is not None:
            lines.append(f"Will-Retry-Until: {format_datetime(report.retry_until)}")
    return lines


def _status(action: Action, reply: Reply) -> str:
    """Return the status of a recipient; a reply that was only transient has become final."""
    wanted = "5" if action is Action.FAILED else "4"
    rest = reply.status[1:] if reply.status else ".0.0"
    return wanted + rest


def _clean(text: str) -> str:
    """Return text without anything that could end its line."""
    return _CONTROLS.sub(" ", text)


def header_of(content_head: bytes, limit: int = 16384) -> bytes:
    """Return the header block of content, cut at a line end, ending with CRLF."""
    end = content_head.find(b"\r\n\r\n")
    header = content_head[: end + 2] if 0 <= end <= limit else content_head[:limit]
    return header[: header.rfind(b"\r\n") + 2]

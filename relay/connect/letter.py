"""The message that a test sends in earnest: from the account to its owner."""

from __future__ import annotations

from datetime import datetime

from relay.channels.channel import Parcel
from relay.mail.address import domain_of
from relay.mail.header import date_time

_TEXT = """\
This is a test of the way {channel} of relay.\r
\r
It came by {upstream}. If you can read this in your inbox, mail goes out by it.\r
"""


def trial_letter(
    *, channel: str, upstream: str, sender: str, recipient: str, queue_id: str, at: datetime
) -> Parcel:
    """Return a short message; `queue_id` names it in its Message-ID."""
    header = (
        f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: Test of {channel} by relay\r\n"
        f"Date: {date_time(at)}\r\n"
        f"Message-ID: <{queue_id}.test@{domain_of(sender) or 'relay.invalid'}>\r\n"
        "Auto-Submitted: auto-generated\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    )
    text = header + "\r\n" + _TEXT.format(channel=channel, upstream=upstream)
    return Parcel(
        queue_id=queue_id,
        reverse_path=sender,
        forward_paths=(recipient,),
        content=text.encode(),
        body_8bit=not text.isascii(),
        smtputf8=not header.isascii(),
    )

"""Test mail: an invoice with its PDF, a newsletter, a few lines from one person to another."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from relay.cli.daemon import utc_now

if TYPE_CHECKING:
    from email.message import EmailMessage


class Sample(StrEnum):
    """What a test message looks like."""

    INVOICE = "invoice"
    NEWSLETTER = "newsletter"
    PLAIN = "plain"


SENDERS = {
    Sample.INVOICE: "billing@shop.example.com",
    Sample.NEWSLETTER: "news@shop.example.com",
    Sample.PLAIN: "ben@example.com",
}
RECIPIENT = "anna@example.net"

_A4 = "[0 0 595 842]"  # points
_FONTS = "<< /Font << /F1 5 0 R >> >>"
_INVOICE_LINES = (
    "Example Shop Ltd",
    "Invoice 2026-0042",
    "Invoice date: 2026-03-01",
    "Bill to: Anna Example",
    "1 x Garden chair, folding    100.00 EUR",
    "VAT 19 %    19.00 EUR",
    "Total 119.00 EUR",
    "Please pay within 14 days.",
)
_INVOICE_TEXT = """\
Dear Ms Example,

thank you for your order. Attached you find invoice 2026-0042.

Total: 119.00 EUR, payable within 14 days.

Example Shop Ltd
"""
_NEWSLETTER_TEXT = """\
Spring is here: 20 % off all garden furniture until Sunday!

Shop now: https://shop.example.com/spring

You receive this newsletter because you subscribed to it.
Unsubscribe: https://shop.example.com/unsubscribe
"""
_NEWSLETTER_HTML = """\
<html><body><table width="600"><tr><td>
<h1>Spring is here</h1>
<p>20 % off all garden furniture until Sunday!</p>
<p><a href="https://shop.example.com/spring">Shop now</a></p>
<p><small>You receive this newsletter because you subscribed to it.
<a href="https://shop.example.com/unsubscribe">Unsubscribe</a></small></p>
</td></tr></table></body></html>
"""
_PLAIN_TEXT = """\
Hi Anna,

Thursday is fine, half past twelve at the corner. I'll bring the photos!

Ben

On Mon, 2 Mar 2026 at 09:12, Anna Example <anna@example.net> wrote:
> Hi Ben,
> are you free for lunch on Thursday?
"""


def make_sample(
    sample: Sample, sender: str, recipients: list[str], subject: str | None, files: list[Path]
) -> EmailMessage:
    """Return a test message with `files` attached; raises OSError, ValueError for line ends."""
    from email.message import EmailMessage
    from email.utils import format_datetime, make_msgid
    from mimetypes import guess_type

    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(utc_now())
    message["Message-ID"] = make_msgid(domain="relay.invalid")
    match sample:
        case Sample.INVOICE:
            _make_invoice(message)
        case Sample.NEWSLETTER:
            _make_newsletter(message)
        case Sample.PLAIN:
            message["Subject"] = "Re: Lunch on Thursday?"
            message["In-Reply-To"] = message["References"] = "<lunch@example.com>"
            message.set_content(_PLAIN_TEXT)
    if subject is not None:
        message.replace_header("Subject", subject)
    for path in files:
        main, _, sub = (guess_type(path.name)[0] or "application/octet-stream").partition("/")
        message.add_attachment(path.read_bytes(), main, sub, filename=path.name)
    return message


def _make_invoice(message: EmailMessage) -> None:
    message["Subject"] = "Your invoice 2026-0042"
    message.set_content(_INVOICE_TEXT)
    message.add_attachment(
        make_pdf(_INVOICE_LINES), "application", "pdf", filename="invoice-2026-0042.pdf"
    )


def _make_newsletter(message: EmailMessage) -> None:
    message["Subject"] = "Spring is here: 20 % off"
    message["List-Id"] = "Example Shop News <news.shop.example.com>"
    message["List-Unsubscribe"] = "<https://shop.example.com/unsubscribe>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message["Precedence"] = "bulk"
    message.set_content(_NEWSLETTER_TEXT)
    message.add_alternative(_NEWSLETTER_HTML, "html")


def make_pdf(lines: tuple[str, ...]) -> bytes:
    """Return a PDF of one A4 page with `lines` of ASCII, large and readable (ISO 32000-1)."""
    escaped = (line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in lines)
    text = "BT /F1 14 Tf 20 TL 72 760 Td " + " ".join(f"({line}) Tj T*" for line in escaped) + " ET"
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox {_A4} /Contents 4 0 R /Resources {_FONTS} >>",
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    body = "%PDF-1.4\n"
    offsets = []
    for number, each in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{each}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    return (
        f"{body}xref\n0 {size}\n0000000000 65535 f \n{table}"
        f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    ).encode("ascii")

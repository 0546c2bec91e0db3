"""What the applications of the stories send: an invoice with its PDF, a newsletter, a hard case."""

from __future__ import annotations

import random
from email.message import EmailMessage
from email.policy import SMTP
from io import BytesIO
from textwrap import wrap

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

DATE = "Sat, 21 Nov 2026 12:00:00 +0100"


def invoice_pdf(number: str = "RE-2026-118") -> bytes:
    """Return a PDF of one page that is an invoice."""
    file = BytesIO()
    page = Canvas(file, pagesize=A4, invariant=True)
    lines = [
        "Muster GmbH, Hauptstr. 1, 10115 Berlin",
        f"Rechnung Nr. {number}",
        "Rechnungsdatum: 21.11.2026",
        "1 Gartenstuhl    100,00 EUR",
        "zzgl. 19 % USt.   19,00 EUR",
        "Gesamtbetrag     119,00 EUR",
        "Zahlbar bis 05.12.2026 auf IBAN DE02 1203 0000 0000 2020 51",
    ]
    for row, line in enumerate(lines):
        page.drawString(60, 780 - 20 * row, line)
    page.save()
    return file.getvalue()


def invoice(to: str, number: str = "RE-2026-118") -> EmailMessage:
    """Return an invoice as an application writes it: a few words and the PDF."""
    letter = _letter("Muster GmbH <rechnung@shop.example>", to, f"Ihre Rechnung {number}")
    letter["Message-ID"] = f"<{number}@shop.example>"
    letter.set_content(f"Sehr geehrte Frau Müller,\n\nanbei unsere Rechnung {number}.\n")
    letter.add_attachment(
        invoice_pdf(number), maintype="application", subtype="pdf", filename=f"{number}.pdf"
    )
    letter.set_boundary(f"=={number}==")
    return letter


def newsletter(to: str, number: int = 11) -> EmailMessage:
    """Return a newsletter: two forms of text, and how to be rid of it."""
    letter = _letter("Muster News <news@shop.example>", to, "20 % Rabatt auf alle Gartenstühle")
    letter["Message-ID"] = f"<news-{number}@shop.example>"
    letter["List-ID"] = "<news.shop.example>"
    letter["List-Unsubscribe"] = "<https://shop.example/unsubscribe/7>"
    letter["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    letter["Precedence"] = "bulk"
    letter.set_content(
        f"Ausgabe {number}: Nur diese Woche 20 % Rabatt. Newsletter abbestellen: ...\n"
    )
    letter.add_alternative(
        f"<html><body><h1>Ausgabe {number}</h1><p>Nur diese Woche <b>20 % Rabatt</b>.</p>"
        '<p><a href="https://shop.example/unsubscribe/7">abbestellen</a></p></body></html>',
        subtype="html",
    )
    letter.set_boundary(f"==news-{number}==")
    return letter


def wire(letter: EmailMessage) -> bytes:
    """Return a letter as it goes over the wire."""
    return letter.as_bytes(policy=SMTP)


def hard_case(to: str) -> bytes:
    """Return a letter with line feeds only, whose every byte is easily lost on the way.

    Dots at the beginning of lines, blanks at their end, the longest line allowed (RFC 5322
    §2.1.1), bytes that are not ASCII, a folded field in odd spelling, a boundary nobody uses.
    """
    noise = wrap(random.Random(118).randbytes(3000).hex(), 76)  # more than one segment of TCP
    head = f"""\
from: Shop   <shop@example.com>
TO: {to}
Subject: =?utf-8?Q?Gru=C3=9F?=
 =?utf-8?Q?_und_Kuss?=
Date: {DATE}
Message-ID: <hard-case@example.com>
X-Folded:\tone
\ttwo\x20\x20
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

.
..
.a line that begins with a dot
 .a line that does not
From the beginning of a line
blanks at the end \t\x20
Grüße, 1 €
"""
    long = "x" * 998
    return "\n".join([head + long, "", *noise, ".", "", "the end", ""]).encode()


def crlf(text: bytes) -> bytes:
    """Return lines as they go over the wire."""
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _letter(sender: str, to: str, subject: str) -> EmailMessage:
    letter = EmailMessage()
    letter["From"] = sender
    letter["To"] = to
    letter["Subject"] = subject
    letter["Date"] = DATE
    return letter

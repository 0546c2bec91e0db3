"""The mail that the bench sends: realistic, of the wanted size, and no two alike.

Every message begins with its Message-ID, so that the sink finds where the trace fields that were
put in front end.
"""

from __future__ import annotations

import base64
import io
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b

from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

ID_FIELD = b"Message-ID: <"
SMALL_BYTES = 2_000
LARGE_BYTES = 300_000
_PDFS = 8  # different ones; each message's copy is made unlike the others
_MARK = b"bench-mark-0000000000"
_DOTTED = 0.1  # the share of messages with a line that needs a transparency dot
_BASE64_LINE = 57  # bytes that make a line of 76 characters

_ENGLISH = (
    "the order delivery week please find our team meeting report project customer service price "
    "change thank you soon together autumn garden product quality office morning number contact "
    "question answer offer detail next Monday agreed payment address shop window"
)
_GERMAN = (
    "wir möchten Ihnen für das Gespräch danken und schicken nächste Woche die Größen der Räume "
    "damit alle prüfen können ob der Vorschlag zum Büro passt über Preise sprechen wir später"
)


@dataclass(frozen=True, slots=True)
class Mail:
    """A message as an application hands it over."""

    id: str  # of its Message-ID
    reverse_path: str
    forward_path: str
    wire: bytes  # after 354: transparency dots put in, final dot at the end
    size_bytes: int
    digest: bytes


def digest(content: bytes) -> bytes:
    """Return what stands for content when sink and generator compare notes."""
    return blake2b(content, digest_size=16).digest()


def mails(work: str, count: int, size_bytes: int, seed: int) -> list[Mail]:
    """Return `count` messages of about `size_bytes`; the same arguments give the same mail."""
    make = _small if size_bytes < 50_000 else _large
    # no secret: a bench that can be repeated
    chance = random.Random(zlib.crc32(f"{work}/{seed}".encode()))
    return [
        _mail(f"{work}.{seed}.{number}", make(number, size_bytes, chance), number)
        for number in range(count)
    ]


def _mail(name: str, parts: tuple[str, bytes], number: int) -> Mail:
    sender, rest = parts
    content = ID_FIELD + name.encode() + b"@bench.example.com>\r\n" + rest
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return Mail(
        id=name,
        reverse_path=sender,
        forward_path=f"customer{number % 977}@example.net",
        wire=stuffed + b".\r\n",
        size_bytes=len(content),
        digest=digest(content),
    )


def _head(sender: str, name: str, to: int, subject: str, *more: str) -> bytes:
    fields = (
        "Date: Sat, 21 Nov 2026 12:00:00 +0000",
        f"From: {name} <{sender}>",
        f"To: customer{to % 977}@example.net",
        f"Subject: {subject}",
        "MIME-Version: 1.0",
        *more,
    )
    return "\r\n".join(fields).encode("ascii") + b"\r\n\r\n"


def _prose(chance: random.Random, size_bytes: int) -> bytes:
    """Return lines of words of one language; now and then one begins with a dot."""
    words = chance.choice((_ENGLISH, _GERMAN)).split()
    lines = [b".. as agreed:"] if chance.random() < _DOTTED else []
    length = 0
    while length < size_bytes:
        line = " ".join(chance.choices(words, k=10)).encode()
        lines.append(line)
        length += len(line) + 2
    return b"\r\n".join(lines) + b"\r\n"


# -- 2 KB: four kinds of text -----------------------------------------------------------------

_TEXT = "Content-Type: text/plain; charset=utf-8"
_EIGHT_BIT = "Content-Transfer-Encoding: 8bit"


def _small(number: int, size_bytes: int, chance: random.Random) -> tuple[str, bytes]:
    sender, head, body = _KINDS[number % len(_KINDS)](number, chance)
    text = head + body
    return sender, text + _prose(chance, max(0, size_bytes - len(text) - 120))


def _invoice(number: int, chance: random.Random) -> tuple[str, bytes, bytes]:
    sender = "billing@shop.example.com"
    euros = chance.randrange(1000, 99999)
    head = _head(
        sender, "Example Shop", number, f"Your invoice 2026-{number:05}", _TEXT, _EIGHT_BIT
    )
    body = (
        f"Dear customer,\r\n\r\nthis is your invoice no. 2026-{number:05} of 21 November 2026.\r\n"
        f"Total amount due: EUR {euros // 100}.{euros % 100:02}, payable within 14 days to IBAN\r\n"
        "DE02 1203 0000 0000 2020 51. Please quote the invoice number.\r\n\r\n"
    )
    return sender, head, body.encode()


def _newsletter(number: int, chance: random.Random) -> tuple[str, bytes, bytes]:
    sender = "news@shop.example.com"
    token = chance.randbytes(12).hex()
    head = _head(
        sender,
        "Example Shop News",
        number,
        "Our offers of the week: 20% off everything",
        f"List-Unsubscribe: <https://shop.example.com/leave/{token}>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "Precedence: bulk",
        _TEXT,
        _EIGHT_BIT,
    )
    body = f"Hello!\r\n\r\nSave now: https://shop.example.com/sale?c={token}\r\n\r\n"
    return sender, head, body.encode()


def _person(number: int, chance: random.Random) -> tuple[str, bytes, bytes]:
    sender = "anna.keller@example.com"
    head = _head(
        sender,
        "Anna Keller",
        number,
        f"Re: our meeting on the {number % 28 + 1}th",
        f"In-Reply-To: <{chance.randbytes(8).hex()}@example.net>",
        _TEXT,
        _EIGHT_BIT,
    )
    return sender, head, b"Hi Tom,\r\n\r\nthanks for your call. Does Thursday suit you?\r\n\r\n"


def _notification(number: int, chance: random.Random) -> tuple[str, bytes, bytes]:
    sender = "noreply@app.example.com"
    token = chance.randbytes(16).hex()
    head = _head(
        sender,
        "Example App",
        number,
        "Reset your password",
        "Auto-Submitted: auto-generated",
        _TEXT,
        _EIGHT_BIT,
    )
    body = (
        "Somebody asked to reset the password of your account. If it was you, follow\r\n"
        f"https://app.example.com/reset/{token}\r\nThe link is valid for one hour.\r\n\r\n"
    )
    return sender, head, body.encode()


_KINDS: tuple[Callable[[int, random.Random], tuple[str, bytes, bytes]], ...] = (
    _invoice,
    _newsletter,
    _person,
    _notification,
)


# -- 300 KB: half of them a PDF, the others a photo or some file --------------------------------


def _large(number: int, size_bytes: int, chance: random.Random) -> tuple[str, bytes]:
    boundary = f"=_{chance.randbytes(12).hex()}"
    sender, head, body, attachment, kind = _with_attachment(number, size_bytes, chance)
    multipart = f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'
    text = (
        f"--{boundary}\r\n{_TEXT}\r\n{_EIGHT_BIT}\r\n\r\n".encode()
        + body
        + _prose(chance, 300)
        + f"--{boundary}\r\n{kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode()
    )
    end = f"--{boundary}--\r\n".encode()
    return sender, head[:-2] + multipart.encode() + text + _base64(attachment) + end


def _with_attachment(
    number: int, size_bytes: int, chance: random.Random
) -> tuple[str, bytes, bytes, bytes, str]:
    room = (size_bytes - 1_500) * _BASE64_LINE // 78
    if number % 2 == 0:
        sender = "billing@shop.example.com"
        name = f"invoice-2026-{number:05}.pdf"
        head = _head(sender, "Example Shop", number, f"Invoice 2026-{number:05}")
        mark = b"bench-mark-%010d" % chance.randrange(10**10)
        pdf = _pdf(number // 2 % _PDFS, room).replace(_MARK, mark)
        kind = f'Content-Type: application/pdf; name="{name}"\r\n'
        return sender, head, b"Please find your invoice attached.\r\n\r\n", pdf, _named(kind, name)
    sender = "anna.keller@example.com"
    head = _head(sender, "Anna Keller", number, "The pictures of yesterday")
    is_photo = number % 4 == 1
    data = (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" if is_photo else b"") + chance.randbytes(room)
    name = f"picture{number}.jpg" if is_photo else f"export{number}.bin"
    kind = f"Content-Type: {'image/jpeg' if is_photo else 'application/octet-stream'}\r\n"
    return sender, head, b"Hi, here they are.\r\n\r\n", data, _named(kind, name)


def _named(kind: str, name: str) -> str:
    return f'{kind}Content-Disposition: attachment; filename="{name}"'


def _base64(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


@cache
def _pdf(variant: int, size_bytes: int) -> bytes:
    """Return an invoice of one page with a picture that does not compress."""
    chance = random.Random(variant)
    side = int(((size_bytes - 3_000) * 4 / 5 / 3) ** 0.5)  # ASCII85 makes 5 bytes of 4
    noise = ImageReader(_ppm(side, chance))
    file = io.BytesIO()
    canvas = Canvas(file, invariant=1)
    canvas.setSubject(_MARK.decode())
    canvas.drawImage(noise, 400, 700, 120, 120)
    lines = ["INVOICE", f"No. 2026-{variant:05}", "Date: 21 November 2026", "Due: 5 December 2026"]
    lines += [f"{item + 1}  Product {chance.randrange(1000)}  EUR 12.50" for item in range(20)]
    lines += ["Total amount due: EUR 250.00 incl. VAT 19 %", "IBAN DE02 1203 0000 0000 2020 51"]
    for row, line in enumerate(lines):
        canvas.drawString(72, 650 - 20 * row, line)
    canvas.save()
    pdf = file.getvalue()
    assert pdf.count(_MARK) == 1
    return pdf


def _ppm(side: int, chance: random.Random) -> io.BytesIO:
    return io.BytesIO(b"P6 %d %d 255\n" % (side, side) + chance.randbytes(3 * side * side))

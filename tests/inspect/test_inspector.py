"""Messages become Evidence, whatever they are made of."""

import asyncio
import io
import zipfile
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from reportlab.pdfgen.canvas import Canvas

from relay.inspect.inspector import Inspector
from relay.inspect.lexica import load_lexicon
from relay.mail.message import Envelope, Origin, Spooled
from relay.policy.classify import ClassifyRules, classify
from relay.policy.evidence import Reading
from relay.policy.kinds import Kind
from relay.providers.sms import load_gateways

ENVELOPE = Envelope(reverse_path="shop@example.com", forward_paths=("anna@example.org",))
ORIGIN = Origin(listener="127.0.0.1:2525")
RULES = ClassifyRules(lexicon=load_lexicon())


def pdf(*lines: str, password: str | None = None) -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer, encrypt=password)
    for number, line in enumerate(lines):
        canvas.drawString(60, 780 - 18 * number, line)
    canvas.save()
    return buffer.getvalue()


INVOICE_PDF = pdf(
    "Rechnung",
    "Rechnungsnummer 2024-118",
    "Beschreibung Menge Preis Betrag",
    "Beratung 10 100,00 1.000,00",
    "MwSt 19% 190,00",
    "Gesamtbetrag 1.190,00 EUR",
    "Zahlbar bis 14.05.2024",
)


def message(text: str = "", subject: str = "", files=(), **fields: str) -> bytes:
    mail = EmailMessage(policy=SMTP)
    mail["From"] = fields.pop("sender", "shop@example.com")
    mail["To"] = "anna@example.org"
    mail["Subject"] = subject
    for name, value in fields.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    for name, content in files:
        mail.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return mail.as_bytes()


def inspect(content, envelope=ENVELOPE):
    async def run():
        inspector = Inspector(load_gateways(), workers=1)
        try:
            return await inspector.inspect(envelope, ORIGIN, content)
        finally:
            await inspector.close()

    return asyncio.run(run())


def test_an_invoice_in_a_pdf_is_read_and_told():
    evidence = inspect(message("Hallo", "Dokument", [("scan.pdf", INVOICE_PDF)]))
    [document] = evidence.documents
    assert document.reading is Reading.READ
    verdict = classify(evidence, RULES)
    assert verdict.kind is Kind.INVOICE
    assert "'rechnung' 2024-118" in str(verdict.reasons[0])
    assert "1.190,00" in str(verdict.reasons[0])


def test_content_in_a_file_reads_the_same(tmp_path):
    raw = message("Hallo", "Dokument", [("scan.pdf", INVOICE_PDF)])
    path = tmp_path / "content"
    path.write_bytes(raw)
    assert inspect(Spooled(str(path), len(raw))) == inspect(raw)


def test_an_archive_is_opened():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/b.pdf", INVOICE_PDF)
    evidence = inspect(message(files=[("files.zip", buffer.getvalue())]))
    [document] = evidence.documents
    assert document.where == "attachment files.zip, a/b.pdf"
    assert classify(evidence, RULES).kind is Kind.INVOICE


@pytest.mark.parametrize(
    ("content", "reading"),
    [
        pytest.param(pdf("secret", password="x"), Reading.ENCRYPTED, id="password"),
        pytest.param(pdf(" "), Reading.IMAGE_ONLY, id="no text"),
        pytest.param(b"%PDF-1.4 nonsense", Reading.UNREADABLE, id="damaged"),
    ],
)
def test_what_cannot_be_read_is_unsure_and_therefore_essential(content, reading):
    evidence = inspect(message("Hallo Anna", "Gruß", [("scan.pdf", content)]))
    assert evidence.documents[0].reading is reading
    assert classify(evidence, RULES).is_essential


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"Subject: =?utf-8?q?=?=\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=\r\n\r\nx",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 5_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        + b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" * 1_000,
        b"Content-Type: message/rfc822\r\n\r\n" * 1_000,
        b"Content-Type: text/html\r\n\r\n" + b"<a <" * 20_000,
        b"Content-Type: text/html\r\n\r\n" + b"<style" * 10_000,
        b"Subject: " + b"(" * 100_000 + b"\r\n\r\n",
        b"X: y\r\n" * 100_000,
    ],
)
def test_nothing_raises_and_nothing_takes_long(raw):
    evidence = inspect(raw)
    assert classify(evidence, RULES).reasons

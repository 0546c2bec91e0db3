"""Messages become Evidence, whatever they are made of."""

import asyncio
import io
import signal
import zipfile
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from reportlab.pdfgen.canvas import Canvas

from relay.inspect.assembly import assemble
from relay.inspect.documents import open_documents
from relay.inspect.inspection import Guide, Submission
from relay.inspect.inspector import Inspector
from relay.mail.message import Envelope, Origin, Spooled
from relay.policy.classify import classify
from relay.policy.evidence import Reading
from relay.policy.kinds import Kind
from relay.providers.sms import load_gateways

ENVELOPE = Envelope(reverse_path="shop@example.com", forward_paths=("anna@example.org",))
ORIGIN = Origin(listener="127.0.0.1:2525")
RULES = Guide().rules()


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


def evidence_of(raw):
    return open_documents(assemble(raw, len(raw), Submission()), raw)


def inspect(content, envelope=ENVELOPE):
    async def run():
        inspector = Inspector(load_gateways(), workers=1)
        try:
            return await inspector.inspect(envelope, ORIGIN, content)
        finally:
            await inspector.close()

    return asyncio.run(run())


def test_an_invoice_in_a_pdf_is_read_and_told():
    verdict = inspect(message("Hallo", "Dokument", [("scan.pdf", INVOICE_PDF)])).verdict
    assert verdict.kind is Kind.INVOICE
    assert "'rechnung' 2024-118" in str(verdict.reasons[0])
    assert "1.190,00" in str(verdict.reasons[0])


def test_content_in_a_file_reads_the_same(tmp_path):
    raw = message("Hallo", "Dokument", [("scan.pdf", INVOICE_PDF)])
    path = tmp_path / "content"
    path.write_bytes(raw)
    assert inspect(Spooled(str(path), len(raw))) == inspect(raw)


def test_a_library_call_needs_no_event_loop():
    inspector = Inspector(load_gateways())
    raw = message("Hallo", "Dokument", [("scan.pdf", INVOICE_PDF)])
    try:
        inspection = inspector.inspect_now(ENVELOPE, ORIGIN, raw)
    finally:
        inspector.close_now()
    assert inspection.verdict.kind is Kind.INVOICE


def test_an_archive_is_opened():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/b.pdf", INVOICE_PDF)
    evidence = evidence_of(message(files=[("files.zip", buffer.getvalue())]))
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
    evidence = evidence_of(message("Hallo Anna", "Gruß", [("scan.pdf", content)]))
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
    assert inspect(raw).verdict.reasons


def test_a_reader_that_is_too_slow_is_replaced_and_spoils_only_one_message(monkeypatch):
    raw = message("Hallo Anna", "Gruß", [("scan.pdf", INVOICE_PDF)], User_Agent="Thunderbird")

    async def run():
        inspector = Inspector(load_gateways(), workers=1)
        try:
            await inspector.inspect(ENVELOPE, ORIGIN, raw)
            (worker,) = inspector._pool._workers
            worker.process.send_signal(signal.SIGSTOP)
            monkeypatch.setattr("relay.inspect.pool.SECONDS_PER_MESSAGE", 1.0)
            looks = (inspector.inspect(ENVELOPE, ORIGIN, raw) for _ in range(3))
            return await asyncio.gather(*looks)
        finally:
            await inspector.close()

    late, *others = asyncio.run(run())
    assert late.verdict.unsure
    assert late.verdict.is_essential
    assert "longer than" in late.problems[0]
    for good in others:
        assert good.verdict.kind is Kind.INVOICE
        assert not good.problems


BOMBS = {
    "a sender of many dots": message("Hallo", sender=f"aa.bb{'.a' * 60}!@b.example"),
    "an introduction that is no address": message(f"<{'@' * 60_000}\n> Hallo\n"),
    "beginnings without an end": b"Content-Type: text/html\r\n\r\n" + b"<title <head " * 5_000,
}


@pytest.mark.parametrize("raw", BOMBS.values(), ids=list(BOMBS))
def test_no_text_takes_for_ever(raw):
    """These took seconds, or years, of the event loop."""
    assert inspect(raw).verdict.reasons


def test_a_text_that_took_a_worker_too_long_is_not_read_once_more(tmp_path, monkeypatch):
    raw = message("Rechnung 2024-118", "Dokument", [("scan.pdf", INVOICE_PDF)])
    path = tmp_path / "content"
    path.write_bytes(raw)
    read = []
    monkeypatch.setattr("relay.inspect.pool.SECONDS_PER_MESSAGE", 0.0)
    monkeypatch.setattr("relay.inspect.assembly.decode_text", lambda *_: read.append(1) or "")
    inspection = inspect(Spooled(str(path), len(raw)))
    assert not read
    assert inspection.verdict.is_essential
    assert inspection.subject == "Dokument"
    assert "longer than" in inspection.problems[-1]


def test_what_the_classifier_stumbles_over_is_taken_as_unsure(monkeypatch):
    def stumbling(evidence, rules):
        if evidence.subject:
            raise ValueError("a mistake of ours")
        return classify(evidence, rules)

    monkeypatch.setattr("relay.inspect.inspection.classify", stumbling)
    inspection = inspect(message("Hallo", "Rechnung 2024-118"))
    assert inspection.verdict.is_essential
    assert inspection.problems == ("the message could not be read (ValueError)",)


def test_what_the_owner_says_later_counts_for_what_comes_then():
    raw = message("Hallo", "Dokument", [("note.txt", b"Zwetschgenzettel 2024-118\r\n")])

    async def run():
        inspector = Inspector(load_gateways(), workers=1)
        try:
            before = await inspector.inspect(ENVELOPE, Origin(listener="x"), raw)
            await inspector.follow(Guide(application_kinds={"shop": Kind.QUOTE}))
            origin = Origin(listener="x", application="shop")
            return before, await inspector.inspect(ENVELOPE, origin, raw)
        finally:
            await inspector.close()

    before, after = asyncio.run(run())
    assert before.verdict.kind is not Kind.QUOTE
    assert after.verdict.kind is Kind.QUOTE


def test_fields_that_rules_ask_for_come_back_as_people_read_them():
    raw = message("Hallo", "Grüße", [("scan.pdf", INVOICE_PDF)], X_Office="=?utf-8?q?K=C3=B6ln?=")

    async def run():
        inspector = Inspector(load_gateways(), workers=1)
        try:
            names = ("subject", "x-office", "x-none")
            return await inspector.inspect(ENVELOPE, ORIGIN, raw, names)
        finally:
            await inspector.close()

    assert asyncio.run(run()).header == {"subject": "Grüße", "x-office": "Köln"}


def test_a_bomb_is_told_and_not_blown_up():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big.pdf", b"%PDF-" + bytes(30_000_000))
    inspection = inspect(message(files=[("files.zip", buffer.getvalue())]))
    assert inspection.verdict.unsure
    assert "big.pdf: could not be read" in str(inspection.verdict.reasons[1])


def test_entities_are_not_expanded():
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><Invoice>&b;</Invoice>'
    evidence = evidence_of(message(files=[("invoice.xml", bomb)]))
    assert evidence.documents[0].einvoice is None


@pytest.mark.parametrize(
    ("xml", "document", "number"),
    [
        (
            b"<?xml version='1.0'?><ubl:Invoice xmlns:ubl='urn:x'><ID>7</ID></ubl:Invoice>",
            "invoice",
            "7",
        ),
        (
            b"\xef\xbb\xbf<r:CrossIndustryInvoice xmlns:r='urn:x'><D><ID>R-1</ID>%s</D>%s"
            % (b"<TypeCode>381</TypeCode>", b"</r:CrossIndustryInvoice>"),
            "credit note",
            "R-1",
        ),
        (
            b"<p:FatturaElettronica xmlns:p='urn:y'><Numero>12</Numero></p:FatturaElettronica>",
            "invoice",
            "12",
        ),
    ],
)
def test_an_e_invoice_says_what_it_is(xml, document, number):
    evidence = evidence_of(message(files=[("file.xml", xml)]))
    einvoice = evidence.documents[0].einvoice
    assert einvoice is not None
    assert (einvoice.document, einvoice.number) == (document, number)
    assert classify(evidence, RULES).kind is Kind.INVOICE


def test_an_e_invoice_inside_a_pdf_is_read():
    import pypdfium2

    document = pypdfium2.PdfDocument(pdf("Beleg"))
    xml = b"<r:CrossIndustryInvoice xmlns:r='urn:x'><D><ID>R-9</ID></D></r:CrossIndustryInvoice>"
    document.new_attachment("factur-x.xml").set_data(xml)
    buffer = io.BytesIO()
    document.save(buffer)
    document.close()
    evidence = evidence_of(message(files=[("beleg.pdf", buffer.getvalue())]))
    verdict = classify(evidence, RULES)
    assert verdict.kind is Kind.INVOICE
    assert verdict.certainty >= 0.99
    assert "R-9" in str(verdict.reasons[0])


def test_the_new_text_is_set_apart_from_what_it_answers():
    text = "Passt, danke!\n\nAm Montag schrieb Anna <anna@example.org>:\n> Rechnung 4711\n> anbei"
    evidence = evidence_of(message(text, "Re: Rechnung 4711", In_Reply_To="<a@b>"))
    assert evidence.text == "Passt, danke!"
    assert "Rechnung 4711" in evidence.quoted


def test_telephones_are_known_by_their_gateway():
    envelope = Envelope(reverse_path="a@example.com", forward_paths=("5551234567@vtext.com",))
    assert inspect(message("Your code is 1234"), envelope).verdict.kind is Kind.SMS


def test_half_a_character_in_a_subject_does_not_come_through():
    assert inspect(b"Subject: =?utf-7?Q?Rechnung_+2AA-?=\r\n\r\n").subject == "Rechnung ?"

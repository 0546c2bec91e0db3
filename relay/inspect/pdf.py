"""The text of a PDF and the files embedded in it; pypdfium2's one door, in the worker only."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass

import pypdfium2 as pdfium

from relay.policy.evidence import Reading

MAX_PAGE_TEXT = 6_000  # characters
MAX_EMBEDDED = 10
MAX_EMBEDDED_BYTES = 4 * 1024 * 1024
_FIRST_PAGES = 2
_FEWEST_CHARACTERS = 12  # fewer on all pages: a scan


@dataclass(frozen=True, slots=True)
class Pdf:
    """What could be read of it."""

    reading: Reading
    title: str = ""
    pages: tuple[str, ...] = ()
    embedded: tuple[tuple[str, bytes], ...] = ()  # name, content


def read_pdf(raw: bytes) -> Pdf:
    """Return the text of the first two pages and the last one, and the XML files inside."""
    try:
        document = pdfium.PdfDocument(raw)
    except pdfium.PdfiumError as error:
        locked = "password" in str(error).lower() or "security" in str(error).lower()
        return Pdf(Reading.ENCRYPTED if locked else Reading.UNREADABLE)
    try:
        count = len(document)
        wanted = sorted({*range(min(_FIRST_PAGES, count)), count - 1} - {-1})
        pages = tuple(_page_text(document, index) for index in wanted)
        title = document.get_metadata_value("Title")[:200]
        embedded = _embedded(document)
    finally:
        document.close()
    has_text = sum(len(page.strip()) for page in pages) >= _FEWEST_CHARACTERS
    return Pdf(Reading.READ if has_text else Reading.IMAGE_ONLY, title, pages, embedded)


def _page_text(document: pdfium.PdfDocument, index: int) -> str:
    try:
        page = document[index]
    except pdfium.PdfiumError:
        return ""
    text_page = page.get_textpage()
    try:
        count = min(text_page.count_chars(), MAX_PAGE_TEXT)
        return str(text_page.get_text_range(0, count)) if count > 0 else ""
    finally:
        text_page.close()
        page.close()


def _embedded(document: pdfium.PdfDocument) -> tuple[tuple[str, bytes], ...]:
    found: list[tuple[str, bytes]] = []
    for index in range(min(document.count_attachments(), MAX_EMBEDDED)):
        try:
            attachment = document.get_attachment(index)
            name = str(attachment.get_name())
            if name.lower().endswith(".xml"):
                found.append((name, bytes(attachment.get_data())[:MAX_EMBEDDED_BYTES]))
        except pdfium.PdfiumError:
            continue
    return tuple(found)

"""What an attachment is, by its first bytes, and what can be read in it; runs in the worker."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace

from relay.inspect.assembly import Assembly, unreadable, where_is
from relay.inspect.decoding import decode_base64, decode_text, decode_transfer
from relay.inspect.einvoice import read_einvoice
from relay.inspect.html import read_html
from relay.inspect.office import read_office, read_old_office, read_rtf
from relay.inspect.pkcs7 import read_signed
from relay.inspect.structure import Buffer, Leaf, walk
from relay.inspect.tnef import SIGNATURE, read_tnef
from relay.policy.evidence import Document, EInvoice, Evidence, Reading

MAX_DOCUMENTS = 20
MAX_NESTING = 3
MAX_FILE_BYTES = 12 * 1024 * 1024
MAX_TEXT = 12_000
_HEAD_BYTES = 8_192  # encoded, of an attachment, by which it is known what it is

_XML_START = re.compile(rb"\s*<(?:\?xml|[A-Za-z_][\w.\-]*:?[A-Za-z]|!--)")
_HTML_START = re.compile(rb"\s*<(?:!doctype html|html|body|head|table|div|p)[\s>]", re.IGNORECASE)
_EDIFACT = re.compile(r"UN[AB].{0,300}?UNH\+[^+]{1,20}\+(INVOIC|ORDERS|QUOTES)", re.DOTALL)
_EDIFACT_KINDS = {"INVOIC": "invoice", "ORDERS": "order", "QUOTES": "quote"}
_DOCUMENT_NAMES = (".pdf", ".doc", ".docx", ".xls", ".xlsx", ".odt", ".ods", ".xml", ".zip", ".p7m")
_DOCUMENT_TYPES = frozenset({"application/pdf", "application/x-pdf", "application/zip"})
_TEXT_BYTES = bytes((9, 10, 12, 13, *range(32, 127), *range(128, 256)))
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
_BASE64_DER = re.compile(rb"\s*MI[A-Za-z0-9+/\r\n]{60}")


@dataclass(frozen=True, slots=True)
class File:
    """One attachment, decoded."""

    where: str
    name: str
    media_type: str  # as claimed
    raw: bytes


def open_documents(assembly: Assembly, buffer: Buffer) -> Evidence:
    """Return the evidence with what the attachments in `buffer` say."""
    reader = Reader()
    for leaf in assembly.attachments:
        head_end = min(leaf.end, leaf.start + _HEAD_BYTES)
        head = decode_transfer(buffer[leaf.start : head_end], leaf.encoding)
        try:
            file = File(where_is(leaf), leaf.name, _claimed(leaf), head)
            if head_end < leaf.end and reader.reads(file):
                raw = decode_transfer(buffer[leaf.start : leaf.end], leaf.encoding)
                file = replace(file, raw=raw)
            reader.read(file)
        except (MemoryError, RecursionError) as error:
            reader.problems.append(f"{where_is(leaf)}: {type(error).__name__}")
            reader.documents.append(unreadable(leaf))
    evidence = assembly.evidence
    return replace(
        evidence,
        documents=tuple(reader.documents),
        problems=(*evidence.problems, *reader.problems),
    )


def _claimed(leaf: Leaf) -> str:
    smime = leaf.parameters.get("smime-type", "")
    return f"{leaf.media_type}; {smime}" if smime else leaf.media_type


class Reader:
    """Reads the attachments of one message; counts what it has read."""

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self.problems: list[str] = []

    def read(self, file: File, depth: int = 0) -> None:
        """Add the documents that `file` is or holds."""
        if len(self.documents) >= MAX_DOCUMENTS:
            self._problem(f"more than {MAX_DOCUMENTS} documents")
            return
        if depth > MAX_NESTING:
            self._problem(f"archives nested deeper than {MAX_NESTING}")
            return
        if len(file.raw) > MAX_FILE_BYTES:
            self._add(file, file.media_type, Reading.UNREADABLE)
            self._problem(f"{file.where}: larger than {MAX_FILE_BYTES // 2**20} MiB")
            return
        try:
            self._reader_of(file)(file, depth)
        except (
            ValueError,
            LookupError,
            EOFError,
            OSError,
            zipfile.BadZipFile,
            RuntimeError,
        ) as error:
            self._add(file, file.media_type, Reading.UNREADABLE)
            self._problem(f"{file.where}: {type(error).__name__}")

    def reads(self, file: File) -> bool:
        """Return whether a file with this beginning is opened; most data is not."""
        return self._reader_of(file) not in (self._picture, self._unknown)

    def _reader_of(self, file: File) -> Callable[[File, int], None]:
        raw, name = file.raw, file.name.lower()
        if raw.startswith(_PICTURES):
            return self._picture
        if raw.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return self._zip
        if raw.startswith(SIGNATURE):
            return self._tnef
        if b"%PDF-" in raw[:1024]:
            return self._pdf
        if raw.startswith(b"{\\rtf"):
            return self._rtf
        if raw.startswith(b"\xd0\xcf\x11\xe0"):
            return self._old_office
        if name.endswith((".p7m", ".p7s")) or "pkcs7" in file.media_type or raw[:1] == b"\x30":
            return self._signed
        if file.media_type == "message/rfc822" or name.endswith(".eml"):
            return self._message
        if _HTML_START.match(raw[:200].removeprefix(b"\xef\xbb\xbf")):
            return self._html
        start = raw[:200].lstrip(b"\xef\xbb\xbf\xff\xfe\xfe\xff").replace(b"\0", b"")
        if _XML_START.match(start):
            return self._xml
        if file.media_type.startswith("text/") or _is_text(raw):
            return self._text
        return self._unknown

    def _problem(self, text: str) -> None:
        if text not in self.problems and len(self.problems) < 10:
            self.problems.append(text)

    def _add(
        self, file: File, media_type: str, reading: Reading, pages: tuple[str, ...] = ()
    ) -> None:
        self.documents.append(
            Document(
                where=file.where,
                name=file.name,
                media_type=media_type,
                reading=reading,
                pages=pages,
            )
        )

    def _pdf(self, file: File, _depth: int) -> None:
        from relay.inspect.pdf import read_pdf  # 20 MB that only a message with a PDF needs

        pdf = read_pdf(file.raw)
        einvoices = (read_einvoice(raw) for _, raw in pdf.embedded)
        self.documents.append(
            Document(
                where=file.where,
                name=file.name,
                media_type="application/pdf",
                reading=pdf.reading,
                title=pdf.title,
                pages=pdf.pages,
                einvoice=next((found for found in einvoices if found), None),
            )
        )

    def _zip(self, file: File, depth: int) -> None:
        with zipfile.ZipFile(io.BytesIO(file.raw)) as archive:
            text = read_office(archive)
            if text is not None:
                self._add(file, "application/office", Reading.READ, (text,))
                return
            members = [info for info in archive.infolist() if not info.is_dir()]
            for info in members[:MAX_DOCUMENTS]:
                where = f"{file.where}, {info.filename[:100]}"
                inner = File(where, info.filename, "application/octet-stream", b"")
                if info.flag_bits & 1:
                    self._add(inner, inner.media_type, Reading.ENCRYPTED)
                elif info.file_size > MAX_FILE_BYTES:
                    self._add(inner, inner.media_type, Reading.UNREADABLE)
                else:
                    with archive.open(info) as member:
                        raw = member.read(MAX_FILE_BYTES)
                    self.read(File(where, info.filename, inner.media_type, raw), depth + 1)

    def _tnef(self, file: File, depth: int) -> None:
        for name, raw in read_tnef(file.raw):
            inner = f"{file.where}, {name[:100]}"
            self.read(File(inner, name, "application/octet-stream", raw), depth + 1)

    def _rtf(self, file: File, _depth: int) -> None:
        self._add(file, "application/rtf", Reading.READ, (read_rtf(file.raw),))

    def _old_office(self, file: File, _depth: int) -> None:
        self._add(file, "application/msword", Reading.READ, (read_old_office(file.raw),))

    def _signed(self, file: File, depth: int) -> None:
        raw = file.raw
        if _BASE64_DER.match(raw[:200]):
            raw = decode_base64(raw)
        content = read_signed(raw)
        if content is None:
            if "enveloped" in file.media_type or file.name.lower().endswith(".p7m"):
                self._add(file, file.media_type, Reading.ENCRYPTED)
            return
        name = re.sub(r"\.p7m$", "", file.name, flags=re.IGNORECASE)
        if re.match(rb"(?i)(?:content-|mime-version)", content[:20]):
            self._message(File(file.where, name, "message/rfc822", content), depth)
        else:
            self.read(File(file.where, name, "application/octet-stream", content), depth + 1)

    def _message(self, file: File, depth: int) -> None:
        raw = file.raw
        if b"\r\n" not in raw[:4096]:
            raw = raw.replace(b"\n", b"\r\n")
        structure = walk(raw, len(raw))
        self.problems.extend(structure.problems)
        for leaf in structure.leaves:
            if leaf.media_type.startswith(("image/", "audio/", "video/")):
                continue
            content = decode_transfer(raw[leaf.start : leaf.end], leaf.encoding)
            where = f"{file.where}, {leaf.name}" if leaf.name else f"{file.where}, its text"
            self.read(File(where, leaf.name, leaf.media_type, content), depth + 1)

    def _html(self, file: File, _depth: int) -> None:
        page = read_html(decode_text(file.raw[: 16 * MAX_TEXT], None), is_answer=False)
        self._add(file, "text/html", Reading.READ, (page.text[:MAX_TEXT],))

    def _xml(self, file: File, _depth: int) -> None:
        einvoice = read_einvoice(file.raw)
        self.documents.append(
            Document(
                where=file.where, name=file.name, media_type="application/xml", einvoice=einvoice
            )
        )

    def _text(self, file: File, _depth: int) -> None:
        text = decode_text(file.raw[:MAX_TEXT], None)
        message = _EDIFACT.match(text)
        einvoice = (
            EInvoice(syntax="EDIFACT", document=_EDIFACT_KINDS[message[1]]) if message else None
        )
        self.documents.append(
            Document(
                where=file.where,
                name=file.name,
                media_type="text/plain",
                pages=(text,),
                einvoice=einvoice,
            )
        )

    def _picture(self, file: File, depth: int) -> None:
        """Leave pictures alone: a photo is no document, and nothing in it could be read."""

    def _unknown(self, file: File, _depth: int) -> None:
        """Tell of a file that claims to be a document and is none; other data is no document."""
        if file.name.lower().endswith(_DOCUMENT_NAMES) or file.media_type in _DOCUMENT_TYPES:
            self._add(file, file.media_type, Reading.UNREADABLE)


def _is_text(raw: bytes) -> bool:
    """Return whether `raw` is plain text whatever it is called."""
    head = raw[:4096]
    return bool(head) and b"\0" not in head and len(head.translate(None, _TEXT_BYTES)) == 0

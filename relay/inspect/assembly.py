"""From a message's bytes to Evidence, and the attachments that a worker still has to read."""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from relay.inspect.decoding import decode_header, decode_text, decode_transfer
from relay.inspect.html import read_html
from relay.inspect.inspection import Inspection, Submission, conclude
from relay.inspect.quoting import split_quoted
from relay.inspect.structure import Buffer, Fields, Leaf, Structure, walk
from relay.mail.message import Content, Spooled
from relay.policy.classify import ClassifyRules
from relay.policy.evidence import Attachment, Document, Evidence, Markup, Reading

MAX_SUBJECT = 300
MAX_VALUE = 400
MAX_TEXT = 12_000  # characters of the new text; the last quarter is its end
MAX_QUOTED = 2_000
MAX_TEXT_PARTS = 4
MAX_RAW_TEXT = 64 * 1024  # bytes of a text part
MAX_DOCUMENT_PARTS = 20
MAX_DOCUMENT_BYTES = 20 * 1024 * 1024  # encoded, all together

_NOT_DOCUMENTS = ("image/", "audio/", "video/", "font/")
_NOT_DOCUMENT_TYPES = frozenset(
    {
        "text/calendar",
        "application/ics",
        "text/vcard",
        "text/x-vcard",
        "application/pgp-signature",
        "application/pgp-encrypted",
        "application/pkcs7-signature",
        "application/x-pkcs7-signature",
        "message/delivery-status",
        "message/disposition-notification",
        "message/feedback-report",
        "text/rfc822-headers",
    }
)
_NOT_DOCUMENT_NAMES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".gif",
    ".ics",
    ".vcf",
    ".asc",
    ".p7s",
    ".sig",
    ".heic",
    ".mp4",
    ".mp3",
)
_ENCRYPTED = ("multipart/encrypted",)
_PKCS7 = ("application/pkcs7-mime", "application/x-pkcs7-mime")


@dataclass(slots=True)
class Assembly:
    """Evidence as far as it goes without opening attachments."""

    evidence: Evidence
    attachments: list[Leaf] = field(default_factory=list)  # to be opened, in order


@contextmanager
def opened(content: Content) -> Iterator[tuple[Buffer, int]]:
    """Give content and where it ends, a file without reading it; raises OSError."""
    match content:
        case Spooled(path=path, size_bytes=size):
            with (
                Path(path).open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            ):
                yield mapped, min(size, len(mapped))
        case _:
            yield content, len(content)


def assemble(
    buffer: Buffer, end: int, submission: Submission, *, reads_text: bool = True
) -> Assembly:
    """Return what the message in `buffer[:end]` shows by itself, or its header and outline."""
    structure = walk(buffer, end)
    headers = _headers(structure.fields)
    charset = next((leaf.parameters.get("charset") for leaf in structure.leaves), None)
    subject = decode_header(_first(structure.fields, "subject"), charset)[:MAX_SUBJECT]
    sender_name, sender = split_address(_first(structure.fields, "from"))
    is_answer = "in-reply-to" in headers or "references" in headers or _is_answer(subject)
    body = _Body(buffer, is_answer)
    documents: list[Leaf] = []
    for leaf in structure.leaves:
        if is_document(leaf):
            documents.append(leaf)
        elif leaf.media_type in ("text/plain", "text/html") and not leaf.forwarded:
            if reads_text:
                body.add(leaf)
        elif leaf.media_type in ("text/calendar", "application/ics"):
            body.calendar = body.calendar or leaf.parameters.get("method", "").upper()
    text, quoted = body.texts()
    evidence = Evidence(
        subject=subject,
        headers=headers,
        sender=sender,
        sender_name=sender_name,
        text=text,
        quoted=quoted[:MAX_QUOTED],
        markup=body.markup,
        attachments=tuple(
            Attachment(name=leaf.name, media_type=leaf.media_type)
            for leaf in structure.leaves[:50]
            if leaf.is_attachment and not leaf.forwarded
        ),
        calendar=body.calendar,
        report_type=_report_type(structure),
        encrypted=_is_encrypted(structure, text),
        recipients=submission.recipients,
        gateway=submission.gateway,
        null_reverse_path=submission.null_reverse_path,
        application=submission.application,
        listener=submission.listener,
        problems=tuple(structure.problems),
    )
    return _bounded(evidence, documents)


def concluded(
    evidence: Evidence, submission: Submission, rules: ClassifyRules, names: Collection[str]
) -> Inspection:
    """Return what follows; a mistake of ours makes a message unsure, it refuses none."""
    try:
        return conclude(evidence, rules, names)
    except Exception as error:
        return conclude(unread(submission, error).evidence, rules, names)


def unread(submission: Submission, error: Exception) -> Assembly:
    """Return what is known of a message that could not be read."""
    problem = f"the message could not be read ({type(error).__name__})"
    return Assembly(
        Evidence(
            recipients=submission.recipients,
            gateway=submission.gateway,
            null_reverse_path=submission.null_reverse_path,
            application=submission.application,
            listener=submission.listener,
            problems=(problem,),
        )
    )


def without_documents(assembly: Assembly, why: str) -> Evidence:
    """Return what is known when the attachments could not be opened."""
    evidence = assembly.evidence
    return replace(
        evidence,
        documents=tuple(map(unreadable, assembly.attachments)),
        problems=(*evidence.problems, why),
    )


def unreadable(leaf: Leaf) -> Document:
    """Return an attachment of which only the outside is known."""
    return Document(
        where=where_is(leaf),
        name=leaf.name,
        media_type=leaf.media_type,
        reading=Reading.UNREADABLE,
    )


def where_is(leaf: Leaf) -> str:
    """Return an attachment as people call it."""
    return f"attachment {leaf.name}" if leaf.name else f"part {leaf.media_type}"


def _bounded(evidence: Evidence, documents: list[Leaf]) -> Assembly:
    """Keep as many attachments as may be opened."""
    kept: list[Leaf] = []
    total = 0
    for leaf in documents:
        total += leaf.end - leaf.start
        if len(kept) >= MAX_DOCUMENT_PARTS or total > MAX_DOCUMENT_BYTES:
            left = len(documents) - len(kept)
            problem = f"{left} attachments were not opened: too many or too large"
            return Assembly(replace(evidence, problems=(*evidence.problems, problem)), kept)
        kept.append(leaf)
    return Assembly(evidence, kept)


def is_document(leaf: Leaf) -> bool:
    """Return whether `leaf` is to be opened: attached, and no picture, sound or signature."""
    kind, name = leaf.media_type, leaf.name.lower()
    if kind.startswith(_NOT_DOCUMENTS) or kind in _NOT_DOCUMENT_TYPES:
        return False
    if kind in ("text/plain", "text/html"):
        return leaf.disposition == "attachment" and not name.endswith(_NOT_DOCUMENT_NAMES)
    return not name.endswith(_NOT_DOCUMENT_NAMES)


class _Body:
    """The text parts of a message, joined."""

    def __init__(self, buffer: Buffer, is_answer: bool) -> None:
        self._buffer = buffer
        self._is_answer = is_answer
        self._plain: list[str] = []
        self._html: list[str] = []
        self._quoted: list[str] = []
        self.markup = Markup()
        self.calendar: str | None = None

    def add(self, leaf: Leaf) -> None:
        if len(self._plain) + len(self._html) >= MAX_TEXT_PARTS:
            return
        source = self._decoded(leaf)
        if leaf.media_type == "text/plain":
            text = source.replace("\r\n", "\n").replace("\r", "\n")
            new, quoted = split_quoted(text, is_answer=self._is_answer)
            self._plain.append(new.strip())
        else:
            page = read_html(source, is_answer=self._is_answer)
            new, quoted = split_quoted(page.text, is_answer=self._is_answer)
            quoted = page.quoted or quoted
            self.markup = page.markup
            self._html.append(new)
        if quoted:
            self._quoted.append(quoted)

    def _decoded(self, leaf: Leaf) -> str:
        end = min(leaf.end, leaf.start + MAX_RAW_TEXT)
        raw = decode_transfer(self._buffer[leaf.start : end], leaf.encoding)
        text = decode_text(raw, leaf.parameters.get("charset"))
        if leaf.end > end:  # the end holds what footers say
            tail = decode_transfer(self._buffer[leaf.end - 4096 : leaf.end], leaf.encoding)
            text += "\n" + decode_text(tail, leaf.parameters.get("charset"))
        return text

    def texts(self) -> tuple[str, str]:
        """Return new and quoted text; HTML counts where plain text is missing or says less."""
        plain, html = "\n".join(self._plain).strip(), "\n".join(self._html).strip()
        text = plain or html
        if plain and html and len(html) > 2 * len(plain):
            text = f"{plain}\n{html}"
        if len(text) > MAX_TEXT:
            text = text[: MAX_TEXT * 3 // 4] + "\n" + text[-MAX_TEXT // 4 :]
        return text, "\n".join(self._quoted)


def _headers(fields: Fields) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in fields:
        if name not in headers:
            headers[name] = value[:MAX_VALUE].decode("utf-8", "replace").strip()
    return headers


def _first(fields: Fields, wanted: str) -> bytes:
    return next((value for name, value in fields if name == wanted), b"")


def split_address(raw: bytes) -> tuple[str, str]:
    """Return display name and address of the first mailbox in a From field."""
    text = raw[:1000].decode("utf-8", "replace").replace("\r\n", "").strip()
    name, bracket, rest = text.partition("<")
    if not bracket:
        return "", text.split(",")[0].strip()
    return decode_header(name.strip(' "\t').encode())[:200], rest.partition(">")[0].strip()[:300]


def _is_answer(subject: str) -> bool:
    head = subject[:6].lower()
    return head.startswith(
        (
            "re:",
            "re :",
            "aw:",
            "sv:",
            "vs:",
            "antw:",
            "odp:",
            "ynt:",
            "fw:",
            "fwd:",
            "wg:",
            "tr:",
            "rv:",
            "ang:",
            "回复",
            "答复",
            "rif:",
            "r:",
            "i:",
            "ref:",
        )
    )


def _report_type(structure: Structure) -> str | None:
    for kind, parameters in structure.containers:
        if kind == "multipart/report":
            return parameters.get("report-type", "").lower()
    if any(leaf.media_type == "message/delivery-status" for leaf in structure.leaves):
        return "delivery-status"
    return None


def _is_encrypted(structure: Structure, text: str) -> bool:
    if any(kind in _ENCRYPTED for kind, _ in structure.containers):
        return True
    whole = None if structure.containers else next(iter(structure.leaves), None)
    if whole is not None and whole.media_type in _PKCS7:
        return whole.parameters.get("smime-type", "").lower() != "signed-data"
    return text.lstrip().startswith("-----BEGIN PGP MESSAGE-----")

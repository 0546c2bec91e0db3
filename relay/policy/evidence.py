"""What is known of a message before anything is concluded: all that `classify` looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Reading(StrEnum):
    """How far the content of an attachment could be read."""

    READ = "read"
    ENCRYPTED = "encrypted"  # a password or somebody's key is needed
    IMAGE_ONLY = "image only"  # pages without text, a scan
    UNREADABLE = "unreadable"  # damaged, too large, or reading took too long


@dataclass(frozen=True, slots=True, kw_only=True)
class EInvoice:
    """What a structured (XML) business document says of itself."""

    syntax: str  # "UBL", "CII", "FatturaPA", …
    document: str  # "invoice", "credit note", "order", "quote", "statement", "reminder"
    number: str = ""
    total: str = ""  # as written, with a decimal point
    currency: str = ""  # ISO 4217
    due: str = ""  # as written, mostly ISO 8601


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One attachment that could be a business document."""

    where: str  # "attachment rechnung.pdf", "attachment a.zip, b.pdf"
    name: str  # file name, "" when none was given
    media_type: str  # lower case, by what it is rather than by what was claimed
    reading: Reading = Reading.READ
    title: str = ""  # of its metadata
    pages: tuple[str, ...] = ()  # text; the first ones and the last one, each capped
    einvoice: EInvoice | None = None  # of the file itself or embedded in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Markup:
    """What the HTML body shows besides its text."""

    links: tuple[str, ...] = ()  # visible text of links and buttons
    link_count: int = 0
    image_count: int = 0
    has_layout: bool = False  # tables or fixed widths: made by a template
    schemas: tuple[str, ...] = ()  # schema.org types


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """Name and type of any attachment, read or not."""

    name: str
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything `classify` looks at; bounded in size whatever the message was."""

    subject: str = ""  # decoded, without controls, at most 300 characters
    headers: Mapping[str, str] = field(default_factory=dict)  # lower-case name: first value, capped
    sender: str = ""  # address in From, as written
    sender_name: str = ""  # decoded
    text: str = ""  # what the sender wrote now
    quoted: str = ""  # what it answers or forwards
    markup: Markup = Markup()
    documents: tuple[Document, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    calendar: str | None = None  # METHOD of an iCalendar part, "" when it has none
    report_type: str | None = None  # of multipart/report
    encrypted: bool = False  # the body itself: S/MIME or OpenPGP
    recipients: int = 1
    gateway: str | None = None  # e-mail-to-SMS gateway, when every recipient is at one
    null_reverse_path: bool = False
    application: str | None = None  # the login that authenticated
    listener: str = ""
    problems: tuple[str, ...] = ()  # limits that were hit and readers that failed, in words

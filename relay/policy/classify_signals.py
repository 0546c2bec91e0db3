"""Named signals of header, sender and shape: what speaks for a person, a program or a list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from relay.policy.classify_senders import (
    BULK_FIELDS,
    BULK_ROLE,
    CLIENT_FIELDS,
    COMPANY,
    MAIL_CLIENT,
    MAILING_PROGRAM,
    NO_REPLY,
    OFFICE,
    PROGRAM,
    PROGRAM_ROLE,
    small_letters,
)
from relay.policy.evidence import Evidence
from relay.policy.folding import fold
from relay.policy.kinds import Reason

_PERSON_LOCAL = re.compile(r"^[a-z]{2,}[._\-][a-z]{2,}(?:[._\-][a-z.]+(?:[_\-][a-z.]+)*)?\d{0,4}$")
_CODE = re.compile(r"\d(?<![\w.,/:\-]\d)\d{3,7}(?![\w.,/:\-])")  # `re` skips to the digits
URL = re.compile(r"https?://[^\s<>\"')]+")
_RE_PREFIX = re.compile(
    r"(?:re|aw|sv|vs|antw|odp|ynt|fwd?|wg|tr|rv|ang|rif|res|enc|回复|答复|转发|ref)\s?(?:\[\d+\])?\s?[:：]",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"[^\W\d_]+")
_BULLET = re.compile(r"[*•·▪►✓✔➤–—>\-\u2600-\u27bf\U0001f300-\U0001faff]\s?\S|\d{1,2}[.)] ")
_EMOJI = re.compile("[\u2600-\u27bf\U0001f300-\U0001faff]")

_ANSWERING = frozenset({"in-reply-to", "references"})


class Signal(NamedTuple):
    """One named observation; the weights say what it speaks for."""

    name: str
    value: float
    reason: Reason | None = None  # None: too small to be told


def header_signals(evidence: Evidence) -> Iterator[Signal]:
    """Yield what the fields of the header say of the sender."""
    headers = evidence.headers
    mailer = headers.get("x-mailer") or headers.get("user-agent") or ""
    if mailer:
        yield _mailer_signal(mailer)
    elif not CLIENT_FIELDS.isdisjoint(headers):
        yield Signal("client.traces", 1, Reason("header", "traces of a mail client"))
    elif not evidence.quoted and _ANSWERING.isdisjoint(headers):
        yield Signal("client.none", 1, Reason("header", "no trace of a mail client"))
    if not _ANSWERING.isdisjoint(headers):
        yield Signal("thread", 1, Reason("In-Reply-To", "answers another message"))
    if _RE_PREFIX.match(evidence.subject):
        yield Signal("subject.re", 1, Reason("Subject", "an answer or a forwarded message"))
    if evidence.quoted:
        yield Signal("quoted", 1, Reason("body", "quotes another message"))
    bulk = next(filter(headers.__contains__, BULK_FIELDS), None)
    if bulk:
        yield Signal("bulk.field", 1, Reason(bulk, "set by mailing programs"))
    if "list-unsubscribe" in headers:
        yield Signal("bulk.unsubscribe", 1, Reason("List-Unsubscribe", "can be unsubscribed from"))
    if "list-id" in headers or "list-post" in headers:
        yield Signal("bulk.list", 1, Reason("List-Id", "a mailing list"))
    precedence = headers.get("precedence", "").lower()
    if precedence in ("bulk", "junk", "list"):
        yield Signal(
            f"precedence.{'list' if precedence == 'list' else 'bulk'}",
            1,
            Reason("Precedence", precedence),
        )
    submitted = headers.get("auto-submitted", "no").lower()
    if submitted.startswith("auto-generated"):
        yield Signal("auto.generated", 1, Reason("Auto-Submitted", "made by a program"))
    if "x-auto-response-suppress" in headers:
        yield Signal("auto.suppress", 1, Reason("X-Auto-Response-Suppress", "made by a program"))
    if "x-php-originating-script" in headers or "x-php-script" in headers:
        yield Signal("program.trace", 1, Reason("header", "sent by a script"))


def _mailer_signal(mailer: str) -> Signal:
    what = Reason("X-Mailer", f"'{mailer[:60]}'")
    name = small_letters(mailer)
    if MAILING_PROGRAM.search(name):
        return Signal("mailer.list", 1, what)
    if PROGRAM.search(name) and not name.startswith("mozilla/5"):
        return Signal("mailer.program", 1, what)
    if MAIL_CLIENT.search(name):
        return Signal("mailer.client", 1, what)
    return Signal("mailer.unknown", 1, what)


def sender_signals(evidence: Evidence) -> Iterator[Signal]:
    """Yield what the address in From says."""
    local = evidence.sender.rpartition("@")[0]
    name = small_letters(local)
    if NO_REPLY.search(name):
        yield Signal("sender.noreply", 1, Reason("From", f"'{local}' takes no answers"))
    elif BULK_ROLE.match(name):
        yield Signal("sender.bulk", 1, Reason("From", f"'{local}' is for mailings"))
    elif PROGRAM_ROLE.match(name):
        yield Signal("sender.role", 1, Reason("From", f"'{local}' is no person"))
    elif OFFICE.match(name):
        yield Signal("sender.office", 1, Reason("From", f"'{local}' is an office"))
    elif _PERSON_LOCAL.match(name):
        yield Signal("sender.person", 1, Reason("From", f"'{local}' looks like a person's name"))
    yield from _name_signals(evidence.sender_name, local)
    if evidence.recipients > 5:
        yield Signal("recipients.many", 1, Reason("envelope", f"{evidence.recipients} recipients"))


def _name_signals(name: str, local: str) -> Iterator[Signal]:
    """Yield whether the display name is a person's: its words make up the address."""
    if not name:
        return
    if COMPANY.search(small_letters(name)):
        yield Signal("name.company", 1, Reason("From", f"'{name[:40]}' is an organisation"))
        return
    words = [word for word in _LETTERS.findall(fold(name)) if len(word) > 1]
    pieces = set(_LETTERS.findall(fold(local)))
    if 2 <= len(words) <= 5 and len(pieces.intersection(words)) >= 2:
        yield Signal("name.person", 1, Reason("From", f"'{name[:40]}' is a person"))
    elif len(words) >= 2 and pieces.intersection(words):
        yield Signal("name.partly", 1)


def shape_signals(evidence: Evidence) -> Iterator[Signal]:
    """Yield what length, links, pictures and layout say."""
    text, markup = evidence.text, evidence.markup
    if evidence.subject:
        if "!" in evidence.subject or "！" in evidence.subject:
            yield Signal("subject.exclaimed", 1)
        if not evidence.subject.isascii() and _EMOJI.search(evidence.subject):
            yield Signal("emoji", 1, Reason("Subject", "an emoji"))
        if "%" in evidence.subject:
            yield Signal("subject.percent", 1, Reason("Subject", "a percentage"))
    if markup.has_layout:
        yield Signal("layout", 1, Reason("HTML", "laid out by a template"))
    urls = len(URL.findall(text)[:30])
    links = max(markup.link_count, urls)
    if links == 0:
        yield Signal("links.none", 1)
    elif links <= 2:
        yield Signal("links.few", 1)
    elif links >= 8:
        yield Signal("links.many", 1, Reason("HTML", f"{links} links"))
    if markup.image_count >= 4:
        yield Signal("images.many", 1, Reason("HTML", f"{markup.image_count} pictures"))
    yield from _prose_signals(text)
    if not text.isascii() and len(_EMOJI.findall(text)[:9]) >= 3:
        yield Signal("emoji", 1, Reason("body", "emoji"))
    if len(text) < 900 and _CODE.search(text[:600]):
        yield Signal("code", 1)
    if evidence.calendar is not None:
        yield Signal("calendar", 1, Reason("calendar", evidence.calendar.lower() or "an event"))
    for schema in markup.schemas:
        yield _schema_signal(schema)


def _prose_signals(text: str) -> Iterator[Signal]:
    """Yield what length, lists and loudness say, whatever the language."""
    size = len(text)
    if size > 2500:
        yield Signal("long", 1, Reason("body", "long"))
    elif size > 900:
        yield Signal("longish", 1)
    elif size < 250:
        yield Signal("short", 1)
    if size > 500 and _digits(text) < 0.012 * size:
        yield Signal("prose", 1, Reason("body", "running text with hardly a number"))
    lines = list(filter(None, map(str.strip, text[:4000].splitlines())))
    if sum(1 for line in lines if not line[0].isalpha() and _BULLET.match(line)) >= 3:
        yield Signal("bullets", 1, Reason("body", "a list of points"))
    if text.count("!") + text.count("！") >= 4:
        yield Signal("exclaimed", 1, Reason("body", "many exclamation marks"))
    if sum(1 for line in filter(str.isupper, lines) if len(line) > 8) >= 2:
        yield Signal("shouted", 1, Reason("body", "lines in capitals"))
    if lines and len(lines[0]) <= 45 and lines[0][-1] in ",!،，：:、。":
        yield Signal("greeting", 1)


def _digits(text: str) -> int:
    raw = text.encode("utf-8", "surrogatepass")
    return len(raw) - len(raw.translate(None, delete=b"0123456789"))


def _schema_signal(schema: str) -> Signal:
    reason = Reason("schema.org", schema)
    match schema:
        case "Invoice":
            return Signal("schema.invoice", 1, reason)
        case "Order" | "ParcelDelivery" | "EmailMessage" | "ConfirmAction" | "ViewAction":
            return Signal("schema.notification", 1, reason)
        case _ if schema.endswith("Reservation"):
            return Signal("schema.notification", 1, reason)
        case "DiscountOffer" | "PromotionCard":
            return Signal("schema.promotion", 1, reason)
        case _:
            return Signal("schema.other", 0)

"""Named signals: what speaks for a person, a program or a list, and what the words are about."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from relay.policy.classify_document import KIND_OF, spoken
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
)
from relay.policy.evidence import Evidence, Reading
from relay.policy.folding import fold
from relay.policy.kinds import Kind, Reason
from relay.policy.lexicon import Lexicon
from relay.policy.phrases import Concept, Hit, Scan

MAX_BODY = 6_000  # characters of the new text that words are looked for in
MAX_TAIL = 1_500  # and of its end, where footers are

_PERSON_LOCAL = re.compile(r"^[a-z]{2,}[._\-][a-z]{2,}(?:[._\-][a-z.]+)*\d{0,4}$", re.IGNORECASE)
_CODE = re.compile(r"(?<![\w.,/:\-])\d{4,8}(?![\w.,/:\-])")
_URL = re.compile(r"https?://[^\s<>\"')]+")
_RE_PREFIX = re.compile(
    r"(?:re|aw|sv|vs|antw|odp|ynt|fwd?|wg|tr|rv|ang|rif|res|enc|回复|答复|转发|ref)\s?(?:\[\d+\])?\s?[:：]",
    re.IGNORECASE,
)
_EXCLAIMED = re.compile(r"[!！]")
_LETTERS = re.compile(r"[^\W\d_]+")
_BULLET = re.compile(r"[*•·▪►✓✔➤–—>\-\u2600-\u27bf\U0001f300-\U0001faff]\s?\S|\d{1,2}[.)] ")
_EMOJI = re.compile("[\u2600-\u27bf\U0001f300-\U0001faff]")

_SHORT_MAIL = 500  # characters of one that only says that a document is there
_OPENING = 30  # words of its beginning
_BUSY = frozenset({Concept.ACCOUNT, Concept.ACTIVITY, Concept.PAID, Concept.PROMOTION})
_BRIEF = 700  # characters up to which one word about an account or an order tells much
_DILUTED = frozenset({Concept.ACCOUNT, Concept.ACTIVITY})
_MOST_IN_SUBJECT = 2.0  # how much all phrases of one concept may count together
_MOST_IN_BODY = {Concept.PROMOTION: 5.0, Concept.PERSONAL: 4.0, Concept.ACTIVITY: 2.5}
_ANSWERING = frozenset({"in-reply-to", "references"})
_ENGLISH = frozenset({"en"})


@dataclass(frozen=True, slots=True)
class Signal:
    """One named observation; the weights say what it speaks for."""

    name: str
    value: float
    reason: Reason | None = None  # None: too small to be told


@dataclass(frozen=True, slots=True)
class Words:
    """Phrases found in the places of a message."""

    subject: list[Hit]
    body: list[Hit]
    links: list[Hit]
    names: list[Hit]  # of attachments
    folded: str  # the new text, as far as it was looked at
    scan: Scan  # of it


def find_words(evidence: Evidence, lexicon: Lexicon) -> Words:
    """Return the phrases in subject, new text, link texts and file names.

    Words of languages that the text is not in are left out, but for English names of documents and,
    around English text, names of documents in any language: programs mix so.
    """
    text = evidence.text
    if len(text) > MAX_BODY + MAX_TAIL:
        text = f"{text[:MAX_BODY]}\n{text[-MAX_TAIL:]}"
    names = " . ".join(attachment.name for attachment in evidence.attachments)
    folded = fold(text)
    body = lexicon.scan(folded)
    subject = lexicon.find(fold(evidence.subject))
    return Words(
        subject=spoken(subject, body.languages, foreign_names=body.languages == _ENGLISH),
        body=spoken(body.hits, body.languages),
        links=lexicon.find(fold(" . ".join(evidence.markup.links)))
        if evidence.markup.links
        else [],
        names=lexicon.find(fold(names.replace("_", " "))) if names else [],
        folded=folded,
        scan=body,
    )


def hints_of(words: Words) -> dict[Kind, float]:
    """Return what the message calls the document that it carries, kind by kind."""
    hints: dict[Kind, float] = {}
    for hits, plain, numbered in (
        (words.subject, 1.0, 1.5),
        (words.body, 0.4, 0.7),
        (words.links, 0.7, 0.9),
    ):
        seen: set[tuple[Kind, Concept]] = set()
        for hit in hits:
            kind = Kind.RECEIPT if hit.concept is Concept.PAID else KIND_OF.get(hit.concept)
            if kind is None or kind is Kind.NOTIFICATION or (kind, hit.concept) in seen:
                continue
            seen.add((kind, hit.concept))
            value = (numbered if hit.number else plain) * hit.weight
            hints[kind] = hints.get(kind, 0.0) + value
    return hints


def header_signals(evidence: Evidence) -> Iterator[Signal]:
    """Yield what the fields of the header say of the sender."""
    headers = evidence.headers
    mailer = headers.get("x-mailer") or headers.get("user-agent") or ""
    if mailer:
        yield _mailer_signal(mailer)
    elif any(name in headers for name in CLIENT_FIELDS):
        yield Signal("client.traces", 1, Reason("header", "traces of a mail client"))
    elif not evidence.quoted and _ANSWERING.isdisjoint(headers):
        yield Signal("client.none", 1, Reason("header", "no trace of a mail client"))
    if not _ANSWERING.isdisjoint(headers):
        yield Signal("thread", 1, Reason("In-Reply-To", "answers another message"))
    if _RE_PREFIX.match(evidence.subject):
        yield Signal("subject.re", 1, Reason("Subject", "an answer or a forwarded message"))
    if evidence.quoted:
        yield Signal("quoted", 1, Reason("body", "quotes another message"))
    bulk = next((name for name in BULK_FIELDS if name in headers), None)
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
    if MAILING_PROGRAM.search(mailer):
        return Signal("mailer.list", 1, what)
    if PROGRAM.search(mailer) and not re.match(r"mozilla/5", mailer, re.IGNORECASE):
        return Signal("mailer.program", 1, what)
    if MAIL_CLIENT.search(mailer):
        return Signal("mailer.client", 1, what)
    return Signal("mailer.unknown", 1, what)


def sender_signals(evidence: Evidence) -> Iterator[Signal]:
    """Yield what the address in From says."""
    local = evidence.sender.rpartition("@")[0]
    if NO_REPLY.search(local):
        yield Signal("sender.noreply", 1, Reason("From", f"'{local}' takes no answers"))
    elif BULK_ROLE.match(local):
        yield Signal("sender.bulk", 1, Reason("From", f"'{local}' is for mailings"))
    elif PROGRAM_ROLE.match(local):
        yield Signal("sender.role", 1, Reason("From", f"'{local}' is no person"))
    elif OFFICE.match(local):
        yield Signal("sender.office", 1, Reason("From", f"'{local}' is an office"))
    elif _PERSON_LOCAL.match(local):
        yield Signal("sender.person", 1, Reason("From", f"'{local}' looks like a person's name"))
    yield from _name_signals(evidence.sender_name, local)
    if evidence.recipients > 5:
        yield Signal("recipients.many", 1, Reason("envelope", f"{evidence.recipients} recipients"))


def _name_signals(name: str, local: str) -> Iterator[Signal]:
    """Yield whether the display name is a person's: its words make up the address."""
    if not name:
        return
    if COMPANY.search(name):
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
        if _EXCLAIMED.search(evidence.subject):
            yield Signal("subject.exclaimed", 1)
        if _EMOJI.search(evidence.subject):
            yield Signal("emoji", 1, Reason("Subject", "an emoji"))
        if "%" in evidence.subject:
            yield Signal("subject.percent", 1, Reason("Subject", "a percentage"))
    if markup.has_layout:
        yield Signal("layout", 1, Reason("HTML", "laid out by a template"))
    urls = len(_URL.findall(text)[:30])
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
    if len(_EMOJI.findall(text)[:9]) >= 3:
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
    digits = sum(map(text.count, "0123456789"))
    if size > 500 and digits < 0.012 * size:
        yield Signal("prose", 1, Reason("body", "running text with hardly a number"))
    lines = [line.strip() for line in text[:4000].splitlines() if line.strip()]
    if sum(1 for line in lines if _BULLET.match(line)) >= 3:
        yield Signal("bullets", 1, Reason("body", "a list of points"))
    if text.count("!") + text.count("！") >= 4:
        yield Signal("exclaimed", 1, Reason("body", "many exclamation marks"))
    if sum(1 for line in lines if len(line) > 8 and line.isupper()) >= 2:
        yield Signal("shouted", 1, Reason("body", "lines in capitals"))
    if lines and len(lines[0]) <= 45 and lines[0][-1] in ",!،，：:、。":
        yield Signal("greeting", 1)


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


def word_signals(evidence: Evidence, words: Words) -> Iterator[Signal]:
    """Yield what the words speak of, place by place."""
    unreadable = any(document.reading is not Reading.READ for document in evidence.documents)
    yield from _document_words("subject", words.subject)
    yield from _document_words("body", words.body)
    yield from _document_words("link", words.links)
    if unreadable:
        yield from _document_words("name", words.names)
    dilution = max(0.4, min(1.0, _BRIEF / max(len(words.folded), 1)))
    for place, where, hits in (("subject", "Subject", words.subject), ("body", "body", words.body)):
        for concept, (weight, phrase) in _weigh(hits).items():
            if concept not in KIND_OF and concept is not Concept.OTHER_DOCUMENT:
                most = _MOST_IN_BODY.get(concept, 3.0) if place == "body" else _MOST_IN_SUBJECT
                value = min(weight, most)
                if place == "body" and concept in _DILUTED:
                    value *= dilution
                yield Signal(f"{place}.{concept}", value, Reason(where, f"'{phrase}'"))
    for concept in (
        Concept.UNSUBSCRIBE,
        Concept.ACCOUNT,
        Concept.ACTIVITY,
        Concept.PROMOTION,
        Concept.VIEW,
    ):
        found = next((hit for hit in words.links if hit.concept is concept), None)
        if found is not None:
            yield Signal(f"link.{concept}", 1, Reason("link", f"'{found.found}'"))


def offered(evidence: Evidence, words: Words) -> Iterator[Signal]:
    """Yield the document that a short mail opens with and shows the way to."""
    links = evidence.markup.link_count or _URL.search(evidence.text)
    if len(words.folded) > _SHORT_MAIL or not links:
        return
    if any(hit.concept in _BUSY for hit in words.subject):
        return
    kinds = {KIND_OF[hit.concept] for hit in words.body if hit.concept in KIND_OF}
    first = next((hit for hit in words.body if hit.concept in KIND_OF), None)
    shows = any(hit.concept is Concept.VIEW for hit in (*words.body, *words.links))
    if first is None or len(kinds) != 1 or first.at > _OPENING or not shows:
        return
    reason = Reason("body", f"'{first.found}' and a link to it")
    name = "offer" if _is_sale_word(first) else str(KIND_OF[first.concept])
    yield Signal(f"offered.{name}", first.weight, reason)


def _is_sale_word(hit: Hit) -> bool:
    """Return whether a quote's name is as well the word for a sale, and no number stands by it."""
    return hit.concept is Concept.QUOTE and hit.weight < 1 and hit.number is None


def only_talks(words: Words) -> bool:
    """Return whether the message speaks of several sorts of documents and means none of them.

    So do articles and offers of software for invoices; a mail that carries a document names one.
    """
    hits = (*words.subject, *words.body)
    if any(hit.number and hit.concept in KIND_OF for hit in hits):
        return False
    in_subject, in_body = (
        {KIND_OF[hit.concept] for hit in group if hit.concept in KIND_OF} - {Kind.NOTIFICATION}
        for group in (words.subject, words.body)
    )
    return len(in_subject) >= 2 or (not in_subject and len(in_body) >= 2)


def _weigh(hits: list[Hit]) -> dict[Concept, tuple[float, str]]:
    """Return for each concept the weight of its different phrases and the first one."""
    weights: dict[Concept, tuple[float, str]] = {}
    seen: set[tuple[str, Concept]] = set()
    for hit in hits:
        if (hit.found, hit.concept) in seen:
            continue
        seen.add((hit.found, hit.concept))
        weight, phrase = weights.get(hit.concept, (0.0, hit.found))
        weights[hit.concept] = (weight + hit.weight, phrase)
    return weights


def _document_words(place: str, hits: list[Hit]) -> Iterator[Signal]:
    where = {"subject": "Subject", "body": "body", "link": "link", "name": "file name"}[place]
    numbered: Counter[str] = Counter()
    for hit in hits:
        kind = KIND_OF.get(hit.concept)
        if kind is None:
            continue
        word = "numbered" if hit.number else "word"
        name = f"{place}.offer" if _is_sale_word(hit) else f"{place}.{word}.{kind}"
        if numbered[name]:
            continue
        numbered[name] += 1
        what = f"'{hit.found}' {hit.number}" if hit.number else f"'{hit.found}'"
        yield Signal(name, hit.weight, Reason(where, what))

"""The words of a message: where they stand, what they call it, and the signals that they give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from relay.policy.classify_document import KIND_OF, spoken
from relay.policy.classify_signals import URL, Signal
from relay.policy.classify_weights import WEIGHTS
from relay.policy.evidence import Evidence, Reading
from relay.policy.folding import fold
from relay.policy.kinds import Kind, Reason
from relay.policy.lexicon import Lexicon
from relay.policy.phrases import Concept, Hit, Scan

MAX_BODY = 6_000  # characters of the new text that words are looked for in
MAX_TAIL = 1_500  # and of its end, where footers are

_SHORT_MAIL = 500  # characters of one that only says that a document is there
_OPENING = 30  # words of its beginning
_PAPERS = {concept: kind for concept, kind in KIND_OF.items() if kind is not Kind.NOTIFICATION}
_HINTED = _PAPERS | {Concept.PAID: Kind.RECEIPT}
_LINKED = (
    Concept.UNSUBSCRIBE,
    Concept.ACCOUNT,
    Concept.ACTIVITY,
    Concept.PROMOTION,
    Concept.VIEW,
)
_TOPICS = frozenset(  # besides documents
    concept
    for concept in Concept
    if f"subject.{concept}" in WEIGHTS or f"body.{concept}" in WEIGHTS
)
_BUSY = frozenset({Concept.ACCOUNT, Concept.ACTIVITY, Concept.PAID, Concept.PROMOTION})
_BRIEF = 700  # characters up to which one word about an account or an order tells much
_DILUTED = frozenset({Concept.ACCOUNT, Concept.ACTIVITY})
_MOST_IN_SUBJECT = 2.0  # how much all phrases of one concept may count together
_MOST_IN_BODY = {Concept.PROMOTION: 5.0, Concept.PERSONAL: 4.0, Concept.ACTIVITY: 2.5}
_ENGLISH = frozenset({"en"})


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
        seen: set[Concept] = set()
        for hit in hits:
            kind = _HINTED.get(hit.concept)
            if kind is None or hit.concept in seen:
                continue
            seen.add(hit.concept)
            value = (numbered if hit.number else plain) * hit.weight
            hints[kind] = hints.get(kind, 0.0) + value
    return hints


def word_signals(evidence: Evidence, words: Words) -> Iterator[Signal]:
    """Yield what the words speak of, place by place."""
    unreadable = any(document.reading is not Reading.READ for document in evidence.documents)
    yield from _document_words("subject", words.subject)
    yield from _document_words("body", words.body)
    yield from _document_words("link", words.links)
    if unreadable:
        yield from _document_words("name", words.names)
    yield from _topic_signals(words)
    yield from _link_signals(words.links)


def _topic_signals(words: Words) -> Iterator[Signal]:
    dilution = max(0.4, min(1.0, _BRIEF / max(len(words.folded), 1)))
    for place, where, hits in (("subject", "Subject", words.subject), ("body", "body", words.body)):
        for concept, (weight, phrase) in _weigh(hits).items():
            most = _MOST_IN_BODY.get(concept, 3.0) if place == "body" else _MOST_IN_SUBJECT
            value = min(weight, most)
            if place == "body" and concept in _DILUTED:
                value *= dilution
            yield Signal(f"{place}.{concept}", value, Reason(where, f"'{phrase}'"))


def _link_signals(hits: list[Hit]) -> Iterator[Signal]:
    found: dict[Concept, str] = {}
    for hit in hits:
        found.setdefault(hit.concept, hit.found)
    for concept in _LINKED:
        if concept in found:
            yield Signal(f"link.{concept}", 1, Reason("link", f"'{found[concept]}'"))


def offered(evidence: Evidence, words: Words) -> Iterator[Signal]:
    """Yield the document that a short mail opens with and shows the way to."""
    if len(words.folded) > _SHORT_MAIL:
        return
    if not evidence.markup.link_count and not URL.search(evidence.text):
        return
    if any(hit.concept in _BUSY for hit in words.subject):
        return
    kinds = _kinds(words.body, KIND_OF)
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
    in_subject = _kinds(words.subject, _PAPERS)
    return len(in_subject) >= 2 or (not in_subject and len(_kinds(words.body, _PAPERS)) >= 2)


def _kinds(hits: list[Hit], kind_of: Mapping[Concept, Kind]) -> set[Kind]:
    return {kind_of[hit.concept] for hit in hits if hit.concept in kind_of}


def _weigh(hits: list[Hit]) -> dict[Concept, tuple[float, str]]:
    """Return for each topic the weight of its different phrases and the first one."""
    weights: dict[Concept, tuple[float, str]] = {}
    seen: set[tuple[str, Concept]] = set()
    for hit in hits:
        if hit.concept not in _TOPICS or (hit.found, hit.concept) in seen:
            continue
        seen.add((hit.found, hit.concept))
        weight, phrase = weights.get(hit.concept, (0.0, hit.found))
        weights[hit.concept] = (weight + hit.weight, phrase)
    return weights


def _document_words(place: str, hits: list[Hit]) -> Iterator[Signal]:
    where = {"subject": "Subject", "body": "body", "link": "link", "name": "file name"}[place]
    seen: set[str] = set()
    for hit in hits:
        kind = KIND_OF.get(hit.concept)
        if kind is None:
            continue
        word = "numbered" if hit.number else "word"
        name = f"{place}.offer" if _is_sale_word(hit) else f"{place}.{word}.{kind}"
        if name in seen:
            continue
        seen.add(name)
        what = f"'{hit.found}' {hit.number}" if hit.number else f"'{hit.found}'"
        yield Signal(name, hit.weight, Reason(where, what))

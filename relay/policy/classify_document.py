"""What one document is: by its name where a title stands, and by the shape of its numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from relay.policy.classify_amounts import Sums, read_sums
from relay.policy.evidence import Document, EInvoice, Reading
from relay.policy.folding import fold
from relay.policy.kinds import Kind, Reason
from relay.policy.lexicon import Lexicon
from relay.policy.phrases import Concept, Hit, Scan
from relay.policy.wording import split_words

MAX_PAGE = 4_000  # characters of a page that words are looked for in
TITLE_AREA = 700
_SPEAKS = 8  # common words that tell the language of a document, which has few sentences
_TITLED = 2.0  # and from which the name stands where a title does
_NAMED = 1.0  # score from which a document has a name
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff]")
_RUNNING_LINE = 65  # characters; lines of a form are shorter
_SHORT_LINE = 45  # characters of a line that is a title

KIND_OF = {
    Concept.INVOICE: Kind.INVOICE,
    Concept.CREDIT_NOTE: Kind.INVOICE,
    Concept.PROFORMA: Kind.INVOICE,
    Concept.REMINDER: Kind.INVOICE,
    Concept.QUOTE: Kind.QUOTE,
    Concept.STATEMENT: Kind.STATEMENT,
    Concept.RECEIPT: Kind.RECEIPT,
    Concept.ORDER: Kind.NOTIFICATION,
}
"""The kind of message that a document of this name makes."""

_KIND_OF_EINVOICE = {
    "invoice": Kind.INVOICE,
    "credit note": Kind.INVOICE,
    "reminder": Kind.INVOICE,
    "quote": Kind.QUOTE,
    "statement": Kind.STATEMENT,
    "receipt": Kind.RECEIPT,
    "order": Kind.NOTIFICATION,
}
LABELS = (Concept.TOTAL, Concept.TAX, Concept.DUE, Concept.COLUMN, Concept.BANK, Concept.BALANCE)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a document seems to be."""

    kind: Kind | None  # None: readable, and no business document
    certainty: float
    reasons: tuple[Reason, ...]
    is_table: bool = False  # sums of money that add up, whatever it is called


def spoken(hits: list[Hit], languages: frozenset[str], *, foreign_names: bool = False) -> list[Hit]:
    """Return the words of `languages`, none known meaning any, and names of documents.

    These may be in English as well, or with `foreign_names` in any language.
    """
    if not languages:
        return hits
    return [
        hit
        for hit in hits
        if not hit.languages
        or not languages.isdisjoint(hit.languages)
        or (hit.concept in KIND_OF and (foreign_names or "en" in hit.languages))
    ]


def judge_document(
    document: Document, lexicon: Lexicon, hints: Mapping[Kind, float]
) -> Finding | None:
    """Return what `document` is, None when it could not be read.

    `hints` are what the message calls it: they decide between names that are near each other.
    """
    if document.einvoice is not None:
        return _judge_einvoice(document, document.einvoice)
    if document.reading is not Reading.READ:
        return None
    if not document.pages:
        return Finding(None, 0.5, (Reason(document.where, "no business document that we know"),))
    page = "PDF page 1" if document.media_type == "application/pdf" else "its text"
    text = "\n".join((document.title, *document.pages))
    return judge_text(text, f"{document.where}, {page}", lexicon, hints)


def _judge_einvoice(document: Document, einvoice: EInvoice) -> Finding:
    facts = [f"e-invoice in XML ({einvoice.syntax}), {einvoice.document}"]
    if einvoice.number:
        facts.append(f"number {einvoice.number}")
    if einvoice.total:
        facts.append(f"total {einvoice.total} {einvoice.currency}".rstrip())
    if einvoice.due:
        facts.append(f"due {einvoice.due}")
    kind = _KIND_OF_EINVOICE.get(einvoice.document, Kind.INVOICE)
    return Finding(kind, 0.995, (Reason(document.where, ", ".join(facts)),))


def judge_text(text: str, where: str, lexicon: Lexicon, hints: Mapping[Kind, float]) -> Finding:
    """Return what a document with this text is."""
    folded = fold(text[: 3 * MAX_PAGE])
    return judge_scanned(folded, lexicon.scan(folded), where, lexicon, hints)


def judge_scanned(
    folded: str, scan: Scan, where: str, lexicon: Lexicon, hints: Mapping[Kind, float]
) -> Finding:
    """Return what a document is whose text was folded and scanned already."""
    hits = spoken(scan.hits, scan.languages if scan.common >= _SPEAKS else frozenset())
    head = folded[:TITLE_AREA]
    head_hits = _hits_in(head, hits, scan)
    sums = read_sums(folded)
    if not folded.isascii() and _RIGHT_TO_LEFT.search(folded):
        mirrored = _mirrored(folded)
        head = f"{head}\n{mirrored[:TITLE_AREA]}"
        head_hits.extend(lexicon.find(mirrored[:TITLE_AREA]))
        hits = [*hits, *lexicon.find(mirrored)]
        sums = sums if sums.is_table else max(sums, read_sums(mirrored), key=_rank)
    if not any(hit.concept in KIND_OF for hit in head_hits):
        head_hits.extend(lexicon.find_skeletons(head, KIND_OF))
    names = _name(head, head_hits, hits)
    labels = len({hit.concept for hit in hits if hit.concept in LABELS})
    shape = _shape(sums, labels)
    if names.best < _NAMED:
        return _nameless(sums, labels, shape, where, hints)
    kind = _decide(names.scores, hints, sums, hits)
    other = _weight(hits, Concept.OTHER_DOCUMENT, head_hits)
    if _only_mentions(folded, names, sums, labels) or (shape < 1.5 and other > names.best):
        return Finding(None, 0.6, (Reason(where, "reads as another kind of document"),))
    certainty = 0.55 + min(names.best, 5.0) * 0.045 + min(shape, 4.0) * 0.06
    if shape < 1.0:
        certainty = min(certainty, 0.7)
    hit = names.hits.get(kind) or next(iter(names.hits.values()))
    reasons = (Reason(where, _say(hit, sums, hits)),)
    return Finding(kind, min(certainty, 0.985), reasons, _is_table(sums))


def _hits_in(head: str, hits: list[Hit], scan: Scan) -> list[Hit]:
    """Return those of `hits` that stand in the beginning of what was scanned."""
    words = len(split_words(head).words)
    return [hit for hit in hits if hit.at < words or scan.words <= hit.at < scan.words + len(head)]


def _mirrored(text: str) -> str:
    """Return `text` with each line backwards: PDF files may hold Hebrew and Arabic as they look."""
    return "\n".join(line[::-1] for line in text.splitlines())


def _rank(sums: Sums) -> tuple[bool, int]:
    return sums.is_table, sums.amounts


def _only_mentions(folded: str, names: _Names, sums: Sums, labels: int) -> bool:
    """Return whether a document is spoken of and not shown: running text, or no money at all."""
    if sums.is_table or any(hit.number for hit in names.hits.values()):
        return False
    if names.best < _TITLED and not sums.amounts and labels < 2:
        return True
    lines = [line.strip() for line in folded[: 3 * TITLE_AREA].splitlines()]
    running = sum(len(line) for line in lines if len(line) > _RUNNING_LINE)
    return running > 0.5 * sum(map(len, lines)) or not (
        sums.currencies or sums.has_total or labels >= 3
    )


def _decide(
    scores: Mapping[Kind, float], hints: Mapping[Kind, float], sums: Sums, hits: list[Hit]
) -> Kind:
    """Return the kind of a named document that carries sums."""
    total = {kind: score + hints.get(kind, 0.0) for kind, score in scores.items()}
    for kind, hint in hints.items():
        if kind not in total and hint >= 1.0:
            total[kind] = hint
    if max(hints.values(), default=0.0) >= 1.0:
        total.pop(Kind.NOTIFICATION, None)  # an order by its name; the message calls it otherwise
    if sums.amounts <= 2 and not sums.is_table and hints.get(Kind.RECEIPT, 0.0) >= 1.0:
        total[Kind.RECEIPT] = total.get(Kind.RECEIPT, 0.0) + 1.0
    balances = sum(1 for hit in hits if hit.concept is Concept.BALANCE)
    listed = sums.dated_lines >= 3 and (balances >= 3 or Kind.STATEMENT in scores)
    if not sums.is_table and (sums.is_aged or listed):
        total[Kind.STATEMENT] = total.get(Kind.STATEMENT, 0.0) + 2.0
    return max(total, key=lambda kind: total[kind])


@dataclass(frozen=True, slots=True)
class _Names:
    """How strongly each kind is named, and by which phrase."""

    scores: dict[Kind, float]
    hits: dict[Kind, Hit]

    @property
    def best(self) -> float:
        return max(self.scores.values(), default=0.0)


def _name(head: str, head_hits: list[Hit], hits: list[Hit]) -> _Names:
    """Return what the document is called, a title counting most."""
    scores: dict[Kind, float] = {}
    best: dict[Kind, tuple[float, Hit]] = {}
    titles = [line.strip() for line in head.splitlines() if 0 < len(line.strip()) <= _SHORT_LINE]
    words = max(len(head.split()), 1)
    for in_head, group in ((True, head_hits), (False, hits)):
        for hit in group:
            kind = KIND_OF.get(hit.concept)
            if kind is None:
                continue
            value = _value(hit, titles, words) if in_head else 0.3 * hit.weight
            value += 0.7 if hit.number is not None else 0.0
            if not in_head:
                value = min(value, 0.5)
            scores[kind] = scores.get(kind, 0.0) + value / (1 + scores.get(kind, 0.0) * 0.15)
            if kind not in best or value > best[kind][0]:
                best[kind] = (value, hit)
    return _Names(scores, {kind: hit for kind, (_, hit) in best.items()})


def _value(hit: Hit, titles: list[str], words: int) -> float:
    """Return what a phrase in the title area counts: more when early, most when it is a title."""
    early = 1 - 0.5 * min(hit.at / words, 1)
    is_title = any(title.startswith(hit.found) for title in titles)
    return hit.weight * (1.2 * early + (1.6 if is_title else 0.0))


def _weight(hits: list[Hit], concept: Concept, head_hits: list[Hit]) -> float:
    return sum(1.5 for hit in head_hits if hit.concept is concept) + sum(
        0.3 for hit in hits if hit.concept is concept
    )


def _shape(sums: Sums, labels: int) -> float:
    """Return how much the numbers look like a bill's, 0 to about 6."""
    shape = min(sums.amounts, 6) * 0.25 + min(sums.currencies, 4) * 0.15 + labels * 0.35
    shape += 1.0 if sums.is_table else 0.0
    shape += 0.4 if sums.has_iban else 0.0
    return shape + (0.4 if sums.has_vat_id else 0.0)


def _nameless(
    sums: Sums, labels: int, shape: float, where: str, hints: Mapping[Kind, float]
) -> Finding:
    """Return what the numbers alone say; the message may give the name."""
    named = max(hints, key=lambda kind: hints[kind]) if hints else Kind.INVOICE
    bonus = min(hints.get(named, 0.0), 2.0) * 0.06
    is_account = sums.dated_lines >= 3 and sums.amounts >= 4 and sums.currencies > 0
    if sums.is_aged or (is_account and not sums.is_table):
        words = f"lines with dates and sums as in an account, up to {sums.largest}"
        return Finding(Kind.STATEMENT, 0.72 + bonus, (Reason(where, words),))
    if sums.is_table and (sums.currencies or labels >= 2 or sums.has_total):
        words = f"positions that multiply and add up, {sums.largest} the largest sum"
        return Finding(named, 0.72 + bonus, (Reason(where, words),))
    if shape >= 2.2 and sums.amounts >= 2:
        reason = Reason(where, f"sums of money up to {sums.largest}")
        return Finding(named, 0.6 + bonus, (reason,), _is_table(sums))
    if hints and shape >= 1.6:
        return Finding(named, 0.5 + bonus, (Reason(where, "some sums of money"),))
    return Finding(None, 0.8, (Reason(where, "no name and no sums of a business document"),))


def _is_table(sums: Sums) -> bool:
    return sums.is_table or (sums.has_total and sums.currencies > 0)


def _say(hit: Hit, sums: Sums, hits: list[Hit]) -> str:
    words = [f"'{hit.found}'"]
    if hit.number:
        words[0] = f"'{hit.found}' {hit.number}"
    if sums.largest:
        words.append(f"sums up to {sums.largest}")
    if sums.is_table:
        words.append("positions that add up")
    due = next((other for other in hits if other.concept is Concept.DUE), None)
    if due is not None:
        words.append(f"'{due.found}'")
    if sums.has_iban:
        words.append("an IBAN")
    return ", ".join(words)

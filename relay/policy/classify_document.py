"""What one document is: by its name where a title stands, and by the shape of its numbers."""

from __future__ import annotations

from dataclasses import dataclass

from relay.policy.classify_amounts import Sums, read_sums
from relay.policy.evidence import Document, EInvoice, Reading
from relay.policy.kinds import Kind, Reason
from relay.policy.lexicon import Concept, Hit, Lexicon, fold

MAX_PAGE = 4_000  # characters of a page that words are looked for in
TITLE_AREA = 700
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
_LABELS = (Concept.TOTAL, Concept.TAX, Concept.DUE, Concept.COLUMN, Concept.BANK, Concept.BALANCE)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a document seems to be."""

    kind: Kind | None  # None: readable, and no business document
    certainty: float
    reasons: tuple[Reason, ...]


def judge_document(document: Document, lexicon: Lexicon) -> Finding | None:
    """Return what `document` is, None when it could not be read."""
    if document.einvoice is not None:
        return _judge_einvoice(document, document.einvoice)
    if document.reading is not Reading.READ:
        return None
    if not document.pages:
        return Finding(None, 0.5, (Reason(document.where, "no business document that we know"),))
    page = "PDF page 1" if document.media_type == "application/pdf" else "its text"
    return judge_text(
        "\n".join((document.title, *document.pages)), f"{document.where}, {page}", lexicon
    )


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


def judge_text(text: str, where: str, lexicon: Lexicon) -> Finding:
    """Return what a document with this text is."""
    folded = fold(text[: 3 * MAX_PAGE])
    head_hits = lexicon.find(folded[:TITLE_AREA])
    hits = lexicon.find(folded)
    sums = read_sums(folded)
    scores, best_hits = _name_scores(folded[:TITLE_AREA], head_hits, hits)
    labels = len({hit.concept for hit in hits if hit.concept in _LABELS})
    shape = _shape(sums, labels)
    ranked = sorted(scores.items(), key=lambda item: item[1], reverse=True)
    if not ranked or ranked[0][1] < 1.0:
        return _nameless(sums, labels, shape, where)
    kind, score = ranked[0]
    if kind is Kind.INVOICE and _is_statement(scores, hits, sums):
        kind = Kind.STATEMENT
    other = _weight(hits, Concept.OTHER_DOCUMENT, head_hits)
    if shape < 1.5 and other > score:
        return Finding(None, 0.6, (Reason(where, "reads as another kind of document"),))
    certainty = 0.55 + min(score, 5.0) * 0.045 + min(shape, 4.0) * 0.06
    reason = Reason(where, _say(best_hits.get(kind) or best_hits[ranked[0][0]], sums, hits))
    if shape < 1.0:
        certainty = min(certainty, 0.7)
    return Finding(kind, min(certainty, 0.985), (reason,))


def _name_scores(
    head: str, head_hits: list[Hit], hits: list[Hit]
) -> tuple[dict[Kind, float], dict[Kind, Hit]]:
    """Return how strongly each kind is named, titles most, and its most telling phrase."""
    scores: dict[Kind, float] = {}
    best: dict[Kind, tuple[float, Hit]] = {}
    titles = [line.strip() for line in head.splitlines() if 0 < len(line.strip()) <= _SHORT_LINE]
    words = max(len(head.split()), 1)
    for in_head, group in ((True, head_hits), (False, hits)):
        for hit in group:
            kind = KIND_OF.get(hit.concept)
            if kind is None:
                continue
            value = 0.3 * hit.phrase.weight
            if in_head:
                early = 1 - 0.5 * min(hit.at / words, 1)
                is_title = any(
                    title.startswith(hit.found) and len(title) < len(hit.found) + 22
                    for title in titles
                )
                value = hit.phrase.weight * (1.2 * early + (1.6 if is_title else 0))
            if hit.number is not None:
                value += 0.7
            if not in_head:
                value = min(value, 0.5)
            scores[kind] = scores.get(kind, 0) + value / (1 + scores.get(kind, 0) * 0.15)
            if kind not in best or value > best[kind][0]:
                best[kind] = (value, hit)
    return scores, {kind: hit for kind, (_, hit) in best.items()}


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


def _is_statement(scores: dict[Kind, float], hits: list[Hit], sums: Sums) -> bool:
    balances = sum(1 for hit in hits if hit.concept is Concept.BALANCE)
    return scores.get(Kind.STATEMENT, 0) >= 1.5 and balances >= 3 and not sums.is_table


def _nameless(sums: Sums, labels: int, shape: float, where: str) -> Finding:
    if sums.is_table and (sums.currencies or labels >= 2 or sums.has_total):
        words = f"positions that multiply and add up, {sums.largest} the largest sum"
        return Finding(Kind.INVOICE, 0.72, (Reason(where, words),))
    if shape >= 2.2 and sums.amounts >= 2:
        return Finding(Kind.INVOICE, 0.6, (Reason(where, f"sums of money up to {sums.largest}"),))
    return Finding(None, 0.8, (Reason(where, "no name and no sums of a business document"),))


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

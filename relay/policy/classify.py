"""What a message is and why: declared, certain by its facts, shown by a document, or weighed.

The steps are tried in this order and the first that can answer does:

1. the owner's word: a trusted `X-Relay-Kind`, or a default for the application;
2. facts that leave no choice: a text message's gateway, a report;
3. documents: whoever sends an invoice, whatever the prose says, an invoice is sent;
4. the weights of all signals together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.policy.classify_document import Finding, judge_document
from relay.policy.classify_facts import called_a_report, certain
from relay.policy.classify_weighing import Weighed, weigh
from relay.policy.classify_words import find_words, hints_of
from relay.policy.evidence import Evidence, Reading
from relay.policy.kinds import Kind, Reason, Verdict
from relay.policy.lexicon import Lexicon

KIND_FIELD = "x-relay-kind"

_KINDS = frozenset(Kind)
_SURE_DOCUMENT = 0.68  # certainty from which a document decides alone
_DECIDED = {
    Kind.INVOICE: 0.7,
    Kind.QUOTE: 0.7,
    Kind.STATEMENT: 0.7,
    Kind.RECEIPT: 0.7,
    Kind.MARKETING: 0.97,
    Kind.DIRECT: 2.0,  # never: what cannot be read may be the invoice
}
"""Certainty from which an attachment that could not be read leaves no doubt; else 0.9."""
_GUESS = 0.4  # certainty below which nothing is known
_FACELESS = 0.62  # and below which direct mail without a trace of a mail client is doubted
_UNSURE = 0.6  # the most that is claimed when unsure
_TEXT = 0.99  # and the most of what was weighed


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyRules:
    """What the owner and the lexicon say; the same for all messages."""

    lexicon: Lexicon
    trust_kind_field: frozenset[str] = frozenset()
    """Listeners and applications that may declare a kind."""
    application_kinds: Mapping[str, Kind] = field(default_factory=dict)
    """What the applications send, by login."""


def classify(evidence: Evidence, rules: ClassifyRules) -> Verdict:
    """Return what the message is; unsure when what decides could not be read."""
    verdict = _declared(evidence, rules) or certain(evidence)
    if verdict is not None:
        return verdict
    words = find_words(evidence, rules.lexicon)
    report = called_a_report(evidence, words)
    if report is not None:
        return report
    unread = _is_unread(evidence)
    hints = hints_of(words) if evidence.documents or unread else {}
    judged = (judge_document(document, rules.lexicon, hints) for document in evidence.documents)
    findings = [finding for finding in judged if finding is not None]
    best = _best(findings)
    if best is not None:
        return _of_document(best, evidence)
    weighed = weigh(evidence, words, findings, hints, rules.lexicon, unread=unread)
    is_doubtful = unread or bool(evidence.problems) or any(one.is_table for one in findings)
    return _conclude(weighed, evidence, is_doubtful=is_doubtful)


def _declared(evidence: Evidence, rules: ClassifyRules) -> Verdict | None:
    declared = evidence.headers.get(KIND_FIELD, "").strip().lower()
    sources = {evidence.listener, evidence.application}
    if declared in _KINDS and not rules.trust_kind_field.isdisjoint(sources - {None}):
        reason = Reason("X-Relay-Kind", f"declared as {declared}")
        return Verdict(kind=Kind(declared), certainty=1.0, reasons=(reason,))
    kind = rules.application_kinds.get(evidence.application or "")
    if kind is not None:
        reason = Reason("application", f"all mail of '{evidence.application}' is {kind}")
        return Verdict(kind=kind, certainty=1.0, reasons=(reason,))
    return None


def _best(findings: list[Finding]) -> Finding | None:
    """Return the document that decides: an invoice or quote before others."""
    return max(
        (
            finding
            for finding in findings
            if finding.kind is not None and finding.certainty >= _SURE_DOCUMENT
        ),
        key=lambda finding: (finding.kind in (Kind.INVOICE, Kind.QUOTE), finding.certainty),
        default=None,
    )


def _of_document(best: Finding, evidence: Evidence) -> Verdict:
    """Return the verdict of a document."""
    assert best.kind is not None
    reasons = _with_problems(best.reasons, evidence)
    return Verdict(kind=best.kind, certainty=best.certainty, reasons=reasons)


def _conclude(weighed: Weighed, evidence: Evidence, *, is_doubtful: bool) -> Verdict:
    """Return the verdict of the scales; unsure when an attachment may be more than it seems."""
    kind, certainty = weighed.kind, weighed.certainty
    is_unread = is_doubtful and certainty < _DECIDED.get(kind, 0.9)
    is_faceless = weighed.is_faceless and kind is Kind.DIRECT and certainty < _FACELESS
    unsure = is_unread or is_faceless or certainty < _GUESS
    return Verdict(
        kind=kind,
        certainty=min(certainty, _UNSURE if unsure else _TEXT),
        reasons=_with_problems(weighed.reasons, evidence),
        unsure=unsure,
    )


def _is_unread(evidence: Evidence) -> bool:
    return evidence.encrypted or any(
        document.reading is not Reading.READ for document in evidence.documents
    )


def _with_problems(reasons: tuple[Reason, ...], evidence: Evidence) -> tuple[Reason, ...]:
    """Add what could not be read to the reasons."""
    unread = [
        Reason(document.where, f"could not be read: {document.reading}")
        for document in evidence.documents
        if document.reading is not Reading.READ
    ]
    if evidence.encrypted:
        unread.append(Reason("body", "encrypted"))
    problems = [Reason("reading", problem) for problem in evidence.problems]
    return (*reasons, *unread[:3], *problems[:3])

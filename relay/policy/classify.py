"""What a message is and why: declared, certain by its facts, shown by a document, or weighed.

The steps are tried in this order and the first that can answer does:

1. the owner's word: a trusted `X-Relay-Kind`, or a default for the application;
2. facts that leave no choice: a text message's gateway, a report;
3. documents: whoever sends an invoice, whatever the prose says, an invoice is sent;
4. the weights of all signals together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.policy.classify_document import LABELS, Finding, judge_document, judge_scanned
from relay.policy.classify_signals import (
    Signal,
    Words,
    find_words,
    header_signals,
    hints_of,
    only_talks,
    sender_signals,
    shape_signals,
    word_signals,
)
from relay.policy.classify_weights import BASE, WEIGHTS
from relay.policy.evidence import Evidence, Reading
from relay.policy.kinds import Kind, Reason, Verdict
from relay.policy.lexicon import Lexicon
from relay.policy.phrases import Concept

KIND_FIELD = "x-relay-kind"
_SURE_DOCUMENT = 0.68
_DAEMONS = ("mailer-daemon", "postmaster", "mail-daemon", "mailerdaemon", "mdaemon", "mmdf")
_ANSWERS = frozenset({"thread", "quoted", "subject.re"})
_MACHINE = frozenset(
    {"auto.generated", "auto.suppress", "sender.noreply", "sender.role", "mailer.program"}
)
_SURE_BODY = 0.8
_TEMPERATURE = 1.3  # the weights are surer of themselves than they may be
_SHORTEST_DOCUMENT = 150  # characters of a body that may be an invoice
_DECIDED = {
    Kind.INVOICE: 0.7,
    Kind.QUOTE: 0.7,
    Kind.STATEMENT: 0.7,
    Kind.RECEIPT: 0.7,
    Kind.MARKETING: 0.97,
    Kind.DIRECT: 2.0,  # never: what cannot be read may be the invoice
}
"""Certainty from which an attachment that could not be read leaves no doubt."""
_FACELESS = 0.62  # certainty below which direct mail without a trace of a mail client is doubted
_GUESS = 0.4  # certainty below which nothing is known
_UNSURE = 0.6  # the most that is claimed of a message that could not be read whole
_MAX_REASONS = 5
_ASKING = frozenset({"mailer.client", "thread", "quoted", "subject.re", "talks"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyRules:
    """What the owner and the lexicon say; the same for all messages."""

    lexicon: Lexicon
    trust_kind_field: frozenset[str] = (
        frozenset()
    )  # listeners and applications that may declare a kind
    application_kinds: Mapping[str, Kind] = field(
        default_factory=dict
    )  # login: kind of what it sends


def classify(evidence: Evidence, rules: ClassifyRules) -> Verdict:
    """Return what the message is; unsure when what decides could not be read."""
    verdict = _declared(evidence, rules) or _certain(evidence)
    if verdict is not None:
        return verdict
    words = find_words(evidence, rules.lexicon)
    report = _automatic_answer(evidence, words)
    if report is not None:
        return report
    hints = hints_of(words)
    findings = [
        finding
        for document in evidence.documents
        if (finding := judge_document(document, rules.lexicon, hints)) is not None
    ]
    return _by_document(evidence, findings) or _weighed(evidence, words, hints, findings, rules)


def _declared(evidence: Evidence, rules: ClassifyRules) -> Verdict | None:
    declared = evidence.headers.get(KIND_FIELD, "").strip().lower()
    sources = {evidence.listener, evidence.application}
    if declared in list(Kind) and not rules.trust_kind_field.isdisjoint(sources - {None}):
        reason = Reason("X-Relay-Kind", f"declared as {declared}")
        return Verdict(kind=Kind(declared), certainty=1.0, reasons=(reason,))
    kind = rules.application_kinds.get(evidence.application or "")
    if kind is not None:
        reason = Reason("application", f"all mail of '{evidence.application}' is {kind}")
        return Verdict(kind=kind, certainty=1.0, reasons=(reason,))
    return None


def _certain(evidence: Evidence) -> Verdict | None:
    if evidence.gateway is not None:
        reason = Reason("recipient", evidence.gateway)
        return Verdict(kind=Kind.SMS, certainty=0.99, reasons=(reason,))
    headers = evidence.headers
    if evidence.report_type is not None:
        reason = Reason("Content-Type", f"a report ({evidence.report_type or 'of no type'})")
        return Verdict(kind=Kind.REPORT, certainty=0.99, reasons=(reason,))
    if headers.get("auto-submitted", "").lower().startswith("auto-replied"):
        return Verdict(
            kind=Kind.REPORT,
            certainty=0.99,
            reasons=(Reason("Auto-Submitted", "an automatic answer"),),
        )
    if evidence.null_reverse_path:
        reason = Reason("envelope", "no reverse-path: nothing that is to be answered")
        return Verdict(kind=Kind.REPORT, certainty=0.97, reasons=(reason,))
    return None


def _automatic_answer(evidence: Evidence, words: Words) -> Verdict | None:
    """Return the verdict on vacation notes and old-fashioned bounces."""
    headers = evidence.headers
    local = evidence.sender.rpartition("@")[0].lower()
    name = evidence.sender_name.lower()
    if local in _DAEMONS or name.startswith(("mail delivery", "mailer-daemon", "mailer daemon")):
        reason = Reason("From", f"'{local}' reports on mail")
        return Verdict(kind=Kind.REPORT, certainty=0.97, reasons=(reason,))
    for name in (
        "x-autoreply",
        "x-autorespond",
        "x-autoresponder",
        "x-autoreply-from",
        "x-mail-autoreply",
        "x-autogenerated",
        "x-failed-recipients",
    ):
        if name in headers:
            return Verdict(
                kind=Kind.REPORT, certainty=0.97, reasons=(Reason(name, "an automatic answer"),)
            )
    automatic = headers.get("precedence", "").lower() in ("auto_reply", "auto-reply", "autoreply")
    if automatic:
        return Verdict(
            kind=Kind.REPORT, certainty=0.97, reasons=(Reason("Precedence", "an automatic answer"),)
        )
    for concept in (Concept.AUTO_REPLY, Concept.UNDELIVERED):
        hit = next((hit for hit in words.subject if hit.concept is concept), None)
        if hit is None:
            continue
        is_first = hit.at == 0
        backed = "x-auto-response-suppress" in headers or "in-reply-to" in headers
        if (concept is Concept.UNDELIVERED and is_first) or (
            is_first and (":" in evidence.subject or backed)
        ):
            return Verdict(
                kind=Kind.REPORT, certainty=0.93, reasons=(Reason("Subject", f"'{hit.found}'"),)
            )
    return None


def _by_document(evidence: Evidence, findings: list[Finding]) -> Verdict | None:
    best = max(
        (finding for finding in findings if finding.kind is not None),
        key=lambda finding: (finding.kind in (Kind.INVOICE, Kind.QUOTE), finding.certainty),
        default=None,
    )
    if best is None or best.kind is None or best.certainty < _SURE_DOCUMENT:
        return None
    return Verdict(
        kind=best.kind, certainty=best.certainty, reasons=_with_problems(best.reasons, evidence)
    )


def _weighed(
    evidence: Evidence,
    words: Words,
    hints: Mapping[Kind, float],
    findings: list[Finding],
    rules: ClassifyRules,
) -> Verdict:
    """Return the kind that all signals together speak for."""
    signals = [
        *header_signals(evidence),
        *sender_signals(evidence),
        *shape_signals(evidence),
        *word_signals(evidence, words),
    ]
    if only_talks(words):
        signals.append(Signal("talks", 1, Reason("text", "speaks of several sorts of documents")))
    machine = any(signal.name in _MACHINE for signal in signals)
    scores = dict(BASE)
    asking = any(signal.name in _ASKING for signal in signals)
    carries = any(finding.kind is not None for finding in findings) or _unread(evidence)
    told: dict[Kind, list[tuple[float, Reason]]] = {kind: [] for kind in scores}
    for signal in signals:
        damp = 0.3 if asking and not carries and _names_document(signal) else 1.0
        if machine and signal.name in _ANSWERS:
            damp = 0.4  # programs answer, too: tickets, forums, reviews
        for kind, weight in WEIGHTS.get(signal.name, {}).items():
            gain = weight * signal.value * damp
            scores[kind] += gain
            if signal.reason is not None and gain > 0:
                told[kind].append((gain, signal.reason))
    if _unread(evidence):
        for kind, hint in hints.items():
            scores[kind] += 2.5 * min(hint, 1.6)
    for finding in findings:
        _add_finding(finding, scores, told)
    table = any(finding.is_table for finding in findings)
    if not findings and not asking:
        _add_finding_of_body(words, rules, scores, told)
    doubtful = table or _unread(evidence)
    names = {signal.name for signal in signals}
    faceless = "client.none" in names and "subject.re" not in names
    return _conclude(evidence, scores, told, doubtful=doubtful, faceless=faceless)


def _names_document(signal: Signal) -> bool:
    return signal.name.startswith(
        ("subject.numbered", "body.numbered", "subject.word", "body.word")
    )


def _add_finding(
    finding: Finding, scores: dict[Kind, float], told: dict[Kind, list[tuple[float, Reason]]]
) -> None:
    if finding.kind is None:
        scores[Kind.DIRECT] += 1.5
        for kind in (Kind.INVOICE, Kind.QUOTE, Kind.STATEMENT, Kind.RECEIPT):
            scores[kind] -= 3.0
        told[Kind.DIRECT].extend((1.5, reason) for reason in finding.reasons)
        return
    gain = 6 * finding.certainty
    scores[finding.kind] += gain
    told[finding.kind].extend((gain, reason) for reason in finding.reasons)


def _add_finding_of_body(
    words: Words,
    rules: ClassifyRules,
    scores: dict[Kind, float],
    told: dict[Kind, list[tuple[float, Reason]]],
) -> None:
    """Let a body that is itself an invoice count like a document, somewhat less."""
    labels = {hit.concept for hit in words.body if hit.concept in LABELS}
    if len(labels) < 2 or len(words.folded) < _SHORTEST_DOCUMENT:
        return
    finding = judge_scanned(words.folded, words.scan, "body", rules.lexicon, {})
    if finding.kind is None or finding.certainty < _SURE_BODY:
        return
    gain = 3.5 * finding.certainty
    scores[finding.kind] += gain
    told[finding.kind].extend((gain, reason) for reason in finding.reasons)


def _unread(evidence: Evidence) -> bool:
    return evidence.encrypted or any(
        document.reading is not Reading.READ for document in evidence.documents
    )


def _conclude(
    evidence: Evidence,
    scores: dict[Kind, float],
    told: dict[Kind, list[tuple[float, Reason]]],
    *,
    doubtful: bool,
    faceless: bool,
) -> Verdict:
    """Return the strongest kind; unsure when an attachment may be more than it seems."""
    kind = max(scores, key=lambda candidate: scores[candidate])
    top = scores[kind]
    certainty = 1 / sum(math.exp((score - top) / _TEMPERATURE) for score in scores.values())
    reasons = tuple(
        reason for _, reason in sorted(told[kind], key=lambda item: item[0], reverse=True)
    )[:_MAX_REASONS] or (Reason("message", "nothing that speaks for another kind"),)
    decided = certainty >= _DECIDED.get(kind, 0.9)
    unread = (doubtful or bool(evidence.problems)) and not decided
    unsure = (
        unread or certainty < _GUESS or (faceless and kind is Kind.DIRECT and certainty < _FACELESS)
    )
    return Verdict(
        kind=kind,
        certainty=min(certainty, _UNSURE if unsure else 0.99),
        reasons=_with_problems(reasons, evidence),
        unsure=unsure,
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
    return (
        *reasons,
        *unread[:3],
        *(Reason("reading", problem) for problem in evidence.problems[:3]),
    )

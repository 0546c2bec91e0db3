"""The scales: signals, and documents that do not decide alone, weighed for every kind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.policy.classify_document import LABELS, Finding, judge_scanned
from relay.policy.classify_signals import Signal, header_signals, sender_signals, shape_signals
from relay.policy.classify_weights import BASE, WEIGHTS
from relay.policy.classify_words import Words, offered, only_talks, word_signals
from relay.policy.evidence import Evidence
from relay.policy.kinds import Kind, Reason
from relay.policy.lexicon import Lexicon

MAX_REASONS = 5
_TEMPERATURE = 1.3  # the weights are surer of themselves than they may be
_NO_PAPER = {Kind.INVOICE: -3.0, Kind.QUOTE: -3.0, Kind.STATEMENT: -3.0, Kind.RECEIPT: -3.0}
_ASKING = frozenset({"mailer.client", "thread", "quoted", "subject.re", "talks"})
_ANSWERS = frozenset({"thread", "quoted", "subject.re"})
_MACHINE = frozenset(
    {"auto.generated", "auto.suppress", "sender.noreply", "sender.role", "mailer.program"}
)
_NAMING = (
    "subject.numbered",
    "body.numbered",
    "subject.word",
    "body.word",
    "offered",
    "subject.offer",
    "body.offer",
)
_BULK = frozenset(
    {
        "bulk.field",
        "bulk.unsubscribe",
        "precedence.bulk",
        "mailer.list",
        "sender.bulk",
        "subject.percent",
        "subject.promotion",
        "body.unsubscribe",
        "link.unsubscribe",
        "link.promotion",
    }
)
_MUCH_PROMOTION = 1.5  # weight of advertising words from which an offer is a sale
_SHORTEST_DOCUMENT = 150  # characters of a body that may be an invoice
_SURE_BODY = 0.8


@dataclass(frozen=True, slots=True)
class Weighed:
    """What came out."""

    kind: Kind
    certainty: float
    reasons: tuple[Reason, ...]
    is_faceless: bool  # nothing shows that a person's mail client wrote it


class _Scales:
    """Scores of the kinds, and what was put on for each."""

    def __init__(self) -> None:
        self._scores = dict(BASE)
        self._told: dict[Kind, list[tuple[float, Reason]]] = {kind: [] for kind in BASE}

    def put(self, gains: Mapping[Kind, float], reason: Reason | None = None) -> None:
        for kind, gain in gains.items():
            self._scores[kind] += gain
            if gain > 0 and reason is not None:
                self._told[kind].append((gain, reason))

    def put_signal(self, signal: Signal, damp: float) -> None:
        name, value, reason = signal
        weights = WEIGHTS.get(name, {})
        if value != 1 or damp != 1:
            weights = {kind: weight * value * damp for kind, weight in weights.items()}
        self.put(weights, reason)

    def put_finding(self, finding: Finding, weight: float) -> None:
        if finding.kind is not None:
            for reason in finding.reasons:
                self.put({finding.kind: weight * finding.certainty}, reason)
            return
        self.put(_NO_PAPER)
        for reason in finding.reasons:
            self.put({Kind.DIRECT: 1.5}, reason)

    def read(self, *, is_faceless: bool) -> Weighed:
        """Return the heaviest kind; certainty is its share when scores are logarithms of odds."""
        kind = max(self._scores, key=lambda candidate: self._scores[candidate])
        top = self._scores[kind]
        odds = sum(math.exp((score - top) / _TEMPERATURE) for score in self._scores.values())
        told = sorted(self._told[kind], key=lambda item: item[0], reverse=True)
        reasons = tuple(reason for _, reason in told[:MAX_REASONS])
        nothing = (Reason("message", "nothing that speaks for another kind"),)
        return Weighed(kind, 1 / odds, reasons or nothing, is_faceless)


def weigh(
    evidence: Evidence,
    words: Words,
    findings: Sequence[Finding],
    hints: Mapping[Kind, float],
    lexicon: Lexicon,
    *,
    unread: bool,
) -> Weighed:
    """Return the kind that all signals together speak for; `unread`: an attachment is closed to us.

    Whoever asks or answers is not sending the document that he names, unless he attaches something;
    and programs answer, too: tickets, forums, reviews.
    """
    signals = [
        *header_signals(evidence),
        *sender_signals(evidence),
        *shape_signals(evidence),
        *word_signals(evidence, words),
        *offered(evidence, words),
    ]
    if only_talks(words):
        signals.append(Signal("talks", 1, Reason("text", "speaks of several sorts of documents")))
    names = {signal.name for signal in signals}
    is_asking = not names.isdisjoint(_ASKING)
    carries = unread or any(finding.kind is not None for finding in findings)
    is_selling = not names.isdisjoint(_BULK) or any(
        signal.name == "body.promotion" and signal.value >= _MUCH_PROMOTION for signal in signals
    )
    scales = _Scales()
    for signal in signals:
        damp = 1.0
        if is_asking and not carries and signal.name.startswith(_NAMING):
            damp = 0.3
        elif is_selling and signal.name.endswith("offer"):
            damp = 0.15
        elif is_selling and signal.name.startswith("offered") and signal.value <= 1:
            damp = 0.3
        elif is_selling and signal.name.startswith("link.word"):
            damp = 0.6
        elif signal.name in _ANSWERS and not names.isdisjoint(_MACHINE):
            damp = 0.4
        scales.put_signal(signal, damp)
    if is_selling and not any(".numbered." in name for name in names):
        scales.put({Kind.INVOICE: -1.5, Kind.QUOTE: -1.5})
    if unread:
        scales.put({kind: 2.5 * min(hint, 1.6) for kind, hint in hints.items()})
    for finding in findings:
        scales.put_finding(finding, 6.0)
    body = None if findings or is_asking else _judge_body(words, lexicon)
    if body is not None:
        scales.put_finding(body, 3.5)
    return scales.read(is_faceless="client.none" in names and "subject.re" not in names)


def _judge_body(words: Words, lexicon: Lexicon) -> Finding | None:
    """Return what the text is when it is itself a document, as an invoice in HTML is."""
    labels = {hit.concept for hit in words.body if hit.concept in LABELS}
    if len(labels) < 2 or len(words.folded) < _SHORTEST_DOCUMENT:
        return None
    finding = judge_scanned(words.folded, words.scan, "body", lexicon, {})
    return finding if finding.kind is not None and finding.certainty >= _SURE_BODY else None

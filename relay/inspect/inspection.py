"""One look at a message: what is known beforehand, and what comes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from relay.inspect.decoding import decode_header
from relay.inspect.lexica import load_lexicon
from relay.mail.message import Envelope, Origin
from relay.policy.classify import ClassifyRules, classify
from relay.policy.evidence import EInvoice, Evidence
from relay.policy.kinds import Kind, Verdict
from relay.policy.phrases import Phrase
from relay.policy.rules import MailFacts

MAX_EINVOICES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """What the owner says of what mail is."""

    phrases: tuple[Phrase, ...] = ()  # besides those that the package ships
    trusted: frozenset[str] = frozenset()  # listeners and applications that may declare a kind
    application_kinds: Mapping[str, Kind] = field(default_factory=dict)  # by login

    def rules(self) -> ClassifyRules:
        """Return what `classify` needs; takes as long as some hundred messages."""
        return ClassifyRules(
            lexicon=load_lexicon(self.phrases),
            trust_kind_field=self.trusted,
            application_kinds=self.application_kinds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What the session tells of a message, as far as it counts for what the message is."""

    recipients: int = 1
    gateway: str | None = None  # e-mail-to-SMS gateway, when every recipient is at one
    null_reverse_path: bool = False
    application: str | None = None
    listener: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a message is, and what rules and people may want to know of it."""

    verdict: Verdict
    subject: str
    header: Mapping[str, str]  # of the fields that were asked for, as people read them
    einvoices: tuple[EInvoice, ...]  # what structured documents say, each once
    problems: tuple[str, ...]  # limits that were hit and readers that failed, in words


def conclude(evidence: Evidence, rules: ClassifyRules, names: Collection[str]) -> Inspection:
    """Return what follows from `evidence`; `names` are the fields wanted, in lower case."""
    said = (document.einvoice for document in evidence.documents)
    einvoices = dict.fromkeys(each for each in said if each is not None)
    return Inspection(
        verdict=classify(evidence, rules),
        subject=evidence.subject,
        header={name: _value(evidence, name) for name in names if name in evidence.headers},
        einvoices=tuple(einvoices)[:MAX_EINVOICES],
        problems=evidence.problems,
    )


def _value(evidence: Evidence, name: str) -> str:
    """Return a field as people read it; the subject with the charset of the body if need be."""
    return evidence.subject if name == "subject" else decode_header(evidence.headers[name].encode())


def copies_of(
    inspection: Inspection, envelope: Envelope, origin: Origin, size_bytes: int
) -> tuple[MailFacts, ...]:
    """Return what rules may ask of each recipient's copy, in the order of the envelope."""
    header = {name: (value,) for name, value in inspection.header.items()}
    return tuple(
        MailFacts(
            kind=inspection.verdict.kind,
            reverse_path=envelope.reverse_path,
            forward_path=forward_path,
            header=header,
            application=origin.application,
            listener=origin.listener,
            size_bytes=size_bytes,
        )
        for forward_path in envelope.forward_paths
    )

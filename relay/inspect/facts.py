"""What is known of a message on its way in: what rules may ask, what its documents say."""

from __future__ import annotations

from collections.abc import Iterable

from relay.inspect.decoding import decode_header
from relay.mail.message import Envelope, Origin
from relay.policy.evidence import EInvoice, Evidence
from relay.policy.kinds import Kind
from relay.policy.rules import MailFacts

MAX_FACTS = 10


def facts_of(evidence: Evidence) -> tuple[EInvoice, ...]:
    """Return what the structured documents say of themselves, each once, at most MAX_FACTS."""
    said = (document.einvoice for document in evidence.documents)
    return tuple(dict.fromkeys(each for each in said if each is not None))[:MAX_FACTS]


def copies_of(
    evidence: Evidence,
    envelope: Envelope,
    origin: Origin,
    size_bytes: int,
    kind: Kind,
    names: Iterable[str],
) -> tuple[MailFacts, ...]:
    """Return the facts of each recipient's copy, in the order of the envelope.

    `names` are the fields that the rules ask for, in lower case.
    """
    header = {name: (_value(evidence, name),) for name in names if name in evidence.headers}
    return tuple(
        MailFacts(
            kind=kind,
            reverse_path=envelope.reverse_path,
            forward_path=forward_path,
            header=header,
            application=origin.application,
            listener=origin.listener,
            size_bytes=size_bytes,
        )
        for forward_path in envelope.forward_paths
    )


def _value(evidence: Evidence, name: str) -> str:
    """Return a field as people read it; the subject with the charset of the body if need be."""
    return evidence.subject if name == "subject" else decode_header(evidence.headers[name].encode())

"""What the owner's rules may ask of a message on its way in."""

from __future__ import annotations

from collections.abc import Iterable

from relay.inspect.decoding import decode_header
from relay.mail.message import Envelope, Origin
from relay.policy.evidence import Evidence
from relay.policy.kinds import Kind
from relay.policy.rules import MailFacts


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

"""Rules that are proposed, as the owner may paste them into his settings."""

from __future__ import annotations

import json

from relay.policy.corrections import Proposal


def as_rule(proposal: Proposal) -> str:
    """Return the YAML of one item of `classification.rules`, in two lines."""
    when: list[str] = []
    if proposal.application is not None:
        when.append(f"application: {_text(proposal.application)}")
    if proposal.sender is not None:
        when.append(f"sender: {_text(proposal.sender)}")
    if proposal.subjects:
        subjects = ", ".join(map(_text, proposal.subjects))
        subjects = f"[{subjects}]" if len(proposal.subjects) > 1 else subjects
        when.append(f"header: {{Subject: {subjects}}}")
    return f"- when: {{{', '.join(when)}}}\n  kind: {proposal.kind}"


def _text(value: str) -> str:
    """Return a text in quotes; what cannot be shown is escaped as YAML 1.2 §5.7 has it."""
    return "".join(map(_char, json.dumps(value, ensure_ascii=False)))


def _char(char: str) -> str:
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"

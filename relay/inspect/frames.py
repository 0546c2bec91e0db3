"""What the daemon and its readers say to each other: JSON behind its length.

A reader is sent the owner's Guide once, then a request for each message, followed by the content
unless that is in a file; it answers each with an Inspection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from relay.inspect.inspection import MAX_EINVOICES, Guide, Inspection, Submission
from relay.mail.message import Content, Spooled
from relay.policy.evidence import EInvoice
from relay.policy.kinds import Kind, Reason, Verdict
from relay.policy.phrases import Concept, Phrase

LENGTH_BYTES = 4
_MAX_REASONS, _MAX_PROBLEMS, _MAX_TEXT = 50, 100, 2_000
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
READY: Mapping[str, Any] = {}
"""What a reader says first, once it knows the guide."""


def frame(value: Mapping[str, Any]) -> bytes:
    """Return `value` as it is sent."""
    body = json.dumps(value).encode("ascii")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def length_of(head: bytes | bytearray) -> int:
    """Return how many bytes follow the first LENGTH_BYTES."""
    return int.from_bytes(head[:LENGTH_BYTES], "big")


def guide_frame(guide: Guide) -> bytes:
    """Return what a reader is told first."""
    return frame(
        {
            "phrases": [
                (phrase.text, phrase.concept, phrase.language, phrase.weight)
                for phrase in guide.phrases
            ],
            "trusted": sorted(guide.trusted),
            "application_kinds": dict(guide.application_kinds),
        }
    )


def parse_guide(value: Mapping[str, Any]) -> Guide:
    """Return the guide behind `guide_frame`."""
    return Guide(
        phrases=tuple(
            Phrase(text, Concept(concept), language, weight)
            for text, concept, language, weight in value["phrases"]
        ),
        trusted=frozenset(value["trusted"]),
        application_kinds={login: Kind(kind) for login, kind in value["application_kinds"].items()},
    )


def request_frame(submission: Submission, content: Content, names: Collection[str]) -> bytes:
    """Return the question what a message is; content in memory goes with it."""
    asked: dict[str, Any] = {"submission": asdict(submission), "names": list(names)}
    match content:
        case Spooled(path=path, size_bytes=size):
            return frame(asked | {"path": path, "size": size})
        case _:
            return frame(asked | {"size": len(content)}) + content


def inspection_frame(inspection: Inspection) -> bytes:
    """Return the answer."""
    return frame(asdict(inspection))


def parse_inspection(body: bytes) -> Inspection:
    """Return the inspection behind `inspection_frame`.

    It comes from a process that reads hostile mail: nothing in it is believed to be of the right
    type or size. Raises ValueError, KeyError, TypeError, RecursionError.
    """
    value = json.loads(body)
    verdict = value["verdict"]
    certainty = float(verdict["certainty"])
    reasons = _list(verdict["reasons"], _MAX_REASONS)
    if not 0 <= certainty <= 1 or not reasons:
        raise ValueError("a verdict without certainty or reasons")
    return Inspection(
        verdict=Verdict(
            kind=Kind(verdict["kind"]),
            certainty=certainty,
            reasons=tuple(
                Reason(_text(reason["where"]), _text(reason["what"])) for reason in reasons
            ),
            unsure=verdict["unsure"] is True,
        ),
        subject=_text(value["subject"]),
        header={_text(name): _text(text) for name, text in dict(value["header"]).items()},
        einvoices=tuple(
            EInvoice(**{name: _text(text) for name, text in said.items()})
            for said in _list(value["einvoices"], MAX_EINVOICES)
        ),
        problems=tuple(map(_text, _list(value["problems"], _MAX_PROBLEMS))),
    )


def _list(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value[:most]


def _text(value: Any) -> str:
    """Return text that can be kept and shown: of one line, without half characters."""
    if not isinstance(value, str):
        raise TypeError("no text")
    return _CONTROLS.sub(" ", value[:_MAX_TEXT]).encode("utf-8", "replace").decode()

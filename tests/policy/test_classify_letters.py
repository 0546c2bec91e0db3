"""Letters of every kind, written for this test; each block of the files in `letters` is a case."""

import re
from pathlib import Path

import pytest

from relay.inspect.assembly import assemble
from relay.inspect.lexica import load_lexicon
from relay.mail.message import Envelope, Origin
from relay.policy.classify import ClassifyRules, classify

RULES = ClassifyRules(lexicon=load_lexicon())
ENVELOPE = Envelope(reverse_path="app@example.com", forward_paths=("x@example.org",))
ORIGIN = Origin(listener="127.0.0.1:2525")
TYPE = "To: x@example.org\nContent-Type: text/plain; charset=utf-8\n"


def letters():
    for path in sorted((Path(__file__).parent / "letters").glob("*.txt")):
        for block in re.split(r"(?m)^= ", path.read_text("utf-8"))[1:]:
            title, _, raw = block.partition("\n")
            raw, _, also = raw.partition("\n~ ")
            kind, _, what = title.partition(": ")
            yield pytest.param(raw, {kind, *also.strip().split("|")}, id=f"{kind}: {what}")


@pytest.mark.parametrize(("raw", "kinds"), list(letters()))
def test_a_letter_is_what_it_says(raw, kinds):
    content = (TYPE + raw).replace("\n", "\r\n").encode()
    verdict = classify(assemble(content, len(content), ENVELOPE, ORIGIN, None).evidence, RULES)
    assert verdict.kind in kinds, [str(reason) for reason in verdict.reasons]
    assert verdict.reasons

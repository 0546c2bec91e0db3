"""What documents are by their text alone: business documents, and what looks a little like them."""

import re
from pathlib import Path

import pytest

from relay.inspect.lexica import load_lexicon
from relay.policy.classify_document import judge_document
from relay.policy.evidence import Document

LEXICON = load_lexicon()
SURE = 0.68  # from which a document decides alone


def papers():
    text = (Path(__file__).parent / "papers" / "papers.txt").read_text("utf-8")
    for block in re.split(r"(?m)^= ", text)[1:]:
        title, _, raw = block.partition("\n")
        raw, _, also = raw.partition("\n~ ")
        kind, _, what = title.partition(": ")
        yield pytest.param(raw, kind, also.strip().split("|"), id=f"{kind}: {what}")


@pytest.mark.parametrize(("text", "kind", "also"), list(papers()))
def test_a_paper_is_what_it_says(text, kind, also):
    paper = Document(where="a.pdf", name="a.pdf", media_type="application/pdf", pages=(text,))
    finding = judge_document(paper, LEXICON, {})
    assert finding is not None
    if kind == "none":
        assert finding.kind is None
    else:
        assert finding.kind in {kind, *also}
        assert finding.certainty >= SURE

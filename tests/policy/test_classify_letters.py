"""Letters of every kind, written for this test; each block of the files in `letters` is a case."""

import re
from html import escape
from pathlib import Path

import pytest

from relay.inspect.assembly import assemble
from relay.inspect.inspection import Guide, Submission
from relay.policy.classify import classify

RULES = Guide().rules()
HTML = "To: x@example.org\nContent-Type: text/html; charset=utf-8\n"
TEMPLATE = """<html><head><meta name="viewport" content="width=device-width"></head><body>
<table width="600" role="presentation"><tr><td>%s</td></tr></table></body></html>"""
LINK = re.compile(r"(\S[^.!?]*?)[::]?\s*(https?://\S+)$")
TYPE = "To: x@example.org\nContent-Type: text/plain; charset=utf-8\n"


def letters():
    for path in sorted((Path(__file__).parent / "letters").glob("*.txt")):
        for block in re.split(r"(?m)^= ", path.read_text("utf-8"))[1:]:
            title, _, raw = block.partition("\n")
            raw, _, also = raw.partition("\n~ ")
            kind, _, what = title.partition(": ")
            yield pytest.param(raw, {kind, *also.strip().split("|")}, id=f"{kind}: {what}")


def verdict_on(raw: str):
    content = raw.replace("\n", "\r\n").encode()
    return classify(assemble(content, len(content), Submission()).evidence, RULES)


@pytest.mark.parametrize(("raw", "kinds"), list(letters()))
def test_a_letter_is_what_it_says(raw, kinds):
    verdict = verdict_on(TYPE + raw)
    assert verdict.kind in kinds, [str(reason) for reason in verdict.reasons]
    assert verdict.reasons


@pytest.mark.parametrize(("raw", "kinds"), list(letters()))
def test_a_template_does_not_change_what_a_program_s_letter_is(raw, kinds):
    if "direct" in kinds:
        return  # people write without templates
    fields, _, text = raw.partition("\n\n")
    lines = [LINK.sub(r'<a href="\2">\1</a>', escape(line)) for line in text.splitlines()]
    body = "".join(f"<p>{line}</p>\n" for line in lines)
    verdict = verdict_on(f"{HTML}{fields}\n\n{TEMPLATE % body}")
    assert verdict.kind in kinds, [str(reason) for reason in verdict.reasons]

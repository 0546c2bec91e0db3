"""The text that an HTML body shows, its links and its markup; every scan is linear."""

from __future__ import annotations

import html
import re
from contextlib import suppress
from dataclasses import dataclass

from relay.policy.evidence import Markup

MAX_LINKS = 40
MAX_LINK_TEXT = 80
_LAYOUT_SHOWS = 8_000  # characters within which a template shows itself

_SKIPPED = re.compile(r"<(style|script|head|title|!--)", re.IGNORECASE)
_ENDS = {
    name: re.compile(rf"</{name}\s*>", re.IGNORECASE)
    for name in ("style", "script", "head", "title")
} | {"!--": re.compile("-->")}
_LINK = re.compile(r"<a\b([^<>]*)>([^<]*(?:<(?!/?a\b)[^<]*)*)", re.IGNORECASE)
_BUTTON = re.compile(r"<button\b[^<>]*>([^<]*)", re.IGNORECASE)
_BLOCK = re.compile(
    r"</?(?:p|br|div|tr|li|h[1-6]|table|ul|ol|blockquote|hr|center)\b[^<>]*>", re.IGNORECASE
)
_CELL = re.compile(r"</?t[dh]\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_INVISIBLE = re.compile("[\u034f\u200b-\u200f\ufeff]")  # fills the preview of newsletters
_LAYOUT = re.compile(  # in small letters: much faster than to compare without case
    r"role=.?presentation|<table\b|width[:=].?.?\d{3}|max-width|@media|viewport|bgcolor"
)
_SCHEMA = re.compile(
    r"\"@type\"\s{0,9}:\s{0,9}\"([A-Za-z]{3,40})\"|itemtype=.?https?://schema\.org/([A-Za-z]{3,40})"
)
_QUOTE = re.compile(
    r"""<blockquote | class=.?(?:gmail_quote|moz-cite-prefix|yahoo_quoted)
    | id=.?(?:divRplyFwdMsg|appendonsend|OLK_SRC_BODY|mail-editor-reference)
    | border-top:\s?solid\ \#(?:e1e1e1|b5c4df)""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Page:
    """An HTML body, taken apart."""

    text: str
    quoted: str
    markup: Markup


def read_html(source: str, *, is_answer: bool) -> Page:
    """Return what `source` shows; in an answer the quoted message is set apart."""
    schemas: tuple[str, ...] = ()
    if "schema.org" in source:
        schemas = tuple(dict.fromkeys(a or b for a, b in _SCHEMA.findall(source)[:20]))
    has_layout = len(_LAYOUT.findall(source[:_LAYOUT_SHOWS].lower())) >= 3
    body = _without_hidden(source)
    quoted = ""
    if is_answer and (cut := _QUOTE.search(body)):
        start = body.rfind("<", 0, cut.start() + 1)
        body, quoted = body[:start], show(body[start:])
    found = _LINK.findall(body)
    links = tuple(
        text
        for _, inner in found[:MAX_LINKS]
        if (text := show(inner[:1000]).strip()) and len(text) <= MAX_LINK_TEXT
    )
    buttons = tuple(text for raw in _BUTTON.findall(body)[:5] if (text := show(raw).strip()))
    markup = Markup(
        links=links + buttons,
        link_count=len(found),
        image_count=body.count("<img") + body.count("<IMG"),
        has_layout=has_layout,
        schemas=schemas,
    )
    return Page(show(body), quoted, markup)


def show(source: str) -> str:
    """Return the text of a piece of HTML, a line for a block."""
    text = _BLOCK.sub("\n", " ".join(source.split()))
    text = _TAG.sub("", _CELL.sub(" ", text))
    if "&" in text:
        with suppress(ValueError):  # a character reference of thousands of digits
            text = html.unescape(text)
    if not text.isascii():
        text = _INVISIBLE.sub("", text)
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _without_hidden(source: str) -> str:
    """Return `source` without styles, scripts, its head and comments."""
    kept: list[str] = []
    unclosed: set[str] = set()  # not to be looked for again and again
    position = 0
    while match := _SKIPPED.search(source, position):
        kept.append(source[position : match.start()])
        name = match[1].lower()
        end = None if name in unclosed else _ENDS[name].search(source, match.end())
        if end is None:
            unclosed.add(name)
            if name in ("style", "script", "!--"):
                return " ".join(kept)
            position = match.end()
        else:
            position = end.end()
    kept.append(source[position:])
    return " ".join(kept)

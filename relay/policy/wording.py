"""A folded text as a row of words, and where figures stand in it."""

from __future__ import annotations

import re
from typing import NamedTuple

_WORD = re.compile(r"[^\W\d_]+|\d[\w.,/:\-]*|[#№%]")
_FIGURE = re.compile(r"([0-9#%](?:(?<=[0-9])[\w.,/:\-]+)?)", re.ASCII)
_LETTERS = "".join(chr(code) if chr(code).islower() else " " for code in range(128))


class Wording(NamedTuple):
    """Words in their order: of letters alone, figures, and the signs that stand by them."""

    words: list[str]
    figures: list[int]  # places of the words that are not of letters, ascending


def split_words(folded: str) -> Wording:
    """Return the words of a folded text."""
    if not folded.isascii():
        words = _WORD.findall(folded)
        return Wording(words, [at for at, word in enumerate(words) if not word.isalpha()])
    # the same, in half the time
    letters, *rest = _FIGURE.split(folded)
    words = letters.translate(_LETTERS).split()
    figures = []
    for figure, letters in zip(rest[::2], rest[1::2], strict=True):
        figures.append(len(words))
        words.append(figure)
        words += letters.translate(_LETTERS).split()
    return Wording(words, figures)

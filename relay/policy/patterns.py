"""Patterns of words: how a phrase is looked for, and which ones may begin at a word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from relay.policy.phrases import Concept
from relay.policy.wording import split_words

_MAX_GAP = 4  # words that `...` may stand for
SILENT = frozenset({Concept.TRAP, Concept.NUMBER})
"""What is not told: it only keeps other phrases from being found."""


class Pattern(NamedTuple):
    """A phrase as it is looked for; there are many, so tuples."""

    concept: Concept
    weight: float
    languages: frozenset[str]
    words: tuple[str, ...]
    rank: tuple[int, int]  # more words first, then more characters


@dataclass(frozen=True, slots=True)
class Starts:
    """The patterns that begin with a word, sorted by what has to follow it."""

    alone: tuple[Pattern, ...]  # of this word only, what they tell
    followed: Mapping[str, tuple[Pattern, ...]]  # by the next word, `loose` included
    loose: tuple[Pattern, ...]  # whose next word is open


def starts_of(patterns: list[Pattern]) -> Starts:
    """Return the `patterns` that may begin at the same word, sorted out."""
    single: dict[Concept, Pattern] = {}
    followed: dict[str, list[Pattern]] = {}
    loose: list[Pattern] = []
    for pattern in patterns:
        if len(pattern.words) == 1:
            other = single.get(pattern.concept)
            single[pattern.concept] = _joined(pattern, other) if other else pattern
        elif "*" in pattern.words[1] or pattern.words[1] == "...":
            loose.append(pattern)
        else:
            followed.setdefault(pattern.words[1], []).append(pattern)
    alone = sorted(single.values(), key=lambda pattern: pattern.rank, reverse=True)
    longest = {second: _longest_first(group + loose) for second, group in followed.items()}
    return Starts(telling(alone), longest, _longest_first(loose))


def _longest_first(patterns: list[Pattern]) -> tuple[Pattern, ...]:
    return tuple(sorted(patterns, key=lambda pattern: -len(pattern.words)))


def _joined(one: Pattern, other: Pattern) -> Pattern:
    """Return two patterns of the same concept as one of all their languages."""
    return one._replace(
        weight=max(one.weight, other.weight),
        languages=one.languages | other.languages,
        rank=max(one.rank, other.rank),
    )


def telling(patterns: Iterable[Pattern]) -> tuple[Pattern, ...]:
    """Return one of the `patterns` of a place for each concept, the first ones before a trap."""
    told: dict[Concept, Pattern] = {}
    for pattern in patterns:
        if pattern.concept is Concept.TRAP:
            break
        if pattern.concept not in SILENT:
            told.setdefault(pattern.concept, pattern)
    return tuple(told.values())


def pattern_words(folded: str) -> Iterator[str]:
    """Yield the words of a folded phrase; those that stand for any beginning or ending keep `*`."""
    for piece in folded.split():
        if piece.isalpha() or piece == "...":
            yield piece
            continue
        words = split_words(piece).words
        if piece.startswith("*") and words:
            words[0] = "*" + words[0]
        if piece.endswith("*") and words:
            words[-1] += "*"
        yield from words


def end_of_match(pattern: tuple[str, ...], words: list[str], index: int) -> int:
    """Return the index of the last word that `pattern`, whose first word matches, covers, or -1."""
    at = index + 1
    position = 1
    while position < len(pattern):
        wanted = pattern[position]
        if wanted == "...":
            position += 1
            wanted = pattern[position] if position < len(pattern) else ""
            for skip in range(_MAX_GAP + 1):
                if at + skip < len(words) and _is_word(wanted, words[at + skip]):
                    at += skip
                    break
            else:
                return -1
        elif at >= len(words) or not _is_word(wanted, words[at]):
            return -1
        at += 1
        position += 1
    return at - 1


def _is_word(wanted: str, word: str) -> bool:
    if word == wanted:
        return True
    if wanted.endswith("*"):
        return word.startswith(wanted[:-1])
    return wanted.startswith("*") and word.endswith(wanted[1:])

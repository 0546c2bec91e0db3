"""The words of business mail in all languages at once, and a fast search for them.

A lexicon is made of phrases. A word of a phrase may end in `*` (any ending), begin with `*` (any
beginning, for compounds), and `...` stands for up to four words between. Scripts that set no spaces
between words, or glue articles and particles to them, are searched for as plain strings.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import chain, islice, repeat
from typing import NamedTuple

from relay.policy.folding import SIGNS, any_of, fold, skeleton
from relay.policy.identifiers import number_around, number_near
from relay.policy.phrases import Concept, Hit, Phrase, Scan

MAX_WORD = 40  # characters of a word that are looked at
_MAX_MEMO = 50_000  # words; forgotten all at once
_MAX_GAP = 4  # words that `...` may stand for
_FEWEST_COMMON = 4  # different common words that tell a language
_ALSO = 0.5  # a language with this share of the best one's common words may be meant, too
_WORD = re.compile(r"[^\W\d_]+|\d[\w.,/:\-]*|[#№%]")
_ASCII_WORD = re.compile(r"[a-z]+|\d[\w.,/:\-]*|[#%]", re.ASCII)  # the same, in half the time
_GLUED = re.compile(
    r"[\u0590-\u109f\u1780-\u17ff\u2d80-\u2ddf\u3040-\ua4cf\uac00-\ud7af\uf900-\ufdff]"
)
_FEWEST_LETTERS = 4  # of a skeleton that still tells a word


class _Pattern(NamedTuple):
    phrase: Phrase
    words: tuple[str, ...]
    rank: tuple[int, int]  # more words first, then more characters
    languages: frozenset[str]


class Lexicon:
    """Phrases of all languages, made ready for search; it does not change once made."""

    __slots__ = (
        "_common",
        "_exact",
        "_glued",
        "_glued_patterns",
        "_memo",
        "_prefix",
        "_skeletons",
        "_suffix",
        "languages",
    )

    def __init__(self, phrases: Iterable[Phrase]) -> None:
        """Take `phrases`; of equal ones with the same concept the first is kept."""
        self._common: dict[str, list[str]] = {}
        self._exact: dict[str, list[_Pattern]] = {}
        self._prefix: dict[str, list[_Pattern]] = {}
        self._suffix: dict[str, list[_Pattern]] = {}
        self._glued_patterns: dict[str, list[_Pattern]] = {}
        self._memo: dict[str, _Starts | None] = {}
        self._glued: re.Pattern[str] | None = None
        self._skeletons: tuple[re.Pattern[str], dict[str, _Pattern]] | None = None
        kept: dict[tuple[str, Concept], tuple[Phrase, list[str]]] = {}
        all_phrases = list(phrases)
        folded_texts = fold("\n".join(phrase.text for phrase in all_phrases)).split("\n")
        for phrase, folded in zip(all_phrases, folded_texts, strict=True):
            if phrase.concept is Concept.COMMON:
                self._common.setdefault(folded, []).append(phrase.language)
            else:
                kept.setdefault((folded, phrase.concept), (phrase, []))[1].append(phrase.language)
        sets: dict[tuple[str, ...], frozenset[str]] = {}
        for (folded, _), (phrase, languages) in kept.items():
            key = tuple(languages) if "" not in languages else ()
            self._add(phrase, folded, sets.setdefault(key, frozenset(key)))
        self.languages = tuple(dict.fromkeys(phrase.language for phrase in all_phrases))

    def _add(self, phrase: Phrase, folded: str, languages: frozenset[str]) -> None:
        if not folded.isascii() and _GLUED.search(folded):
            key = folded.replace("*", "").strip()
            pattern = _Pattern(phrase, (key,), (1, len(key)), frozenset())
            self._glued_patterns.setdefault(key, []).append(pattern)
            return
        words = tuple(_pattern_words(folded))
        if not words:
            return
        pattern = _Pattern(phrase, words, (len(words), sum(map(len, words))), languages)
        first = words[0]
        if first[0] == "*":
            self._suffix.setdefault(first[1:], []).append(pattern)
        elif first[-1] == "*":
            self._prefix.setdefault(first[:-1], []).append(pattern)
        else:
            self._exact.setdefault(first, []).append(pattern)

    def find(self, text: str) -> list[Hit]:
        """Return the phrases in `text`, which must be folded; the longest one at each place."""
        return self._find(text, _words(text))

    def scan(self, text: str) -> Scan:
        """Return the phrases in `text`, which must be folded, and the languages it is in."""
        words = _words(text)
        return Scan(self._find(text, words), *self._languages_of(words))

    def _languages_of(self, words: list[str]) -> tuple[frozenset[str], int]:
        counts: dict[str, int] = {}
        common = self._common
        for word in set(words):
            for language in common.get(word, ()):
                counts[language] = counts.get(language, 0) + 1
        most = max(counts.values(), default=0)
        if most < _FEWEST_COMMON:
            return frozenset(), most
        return frozenset(name for name, count in counts.items() if count >= most * _ALSO), most

    def _find(self, text: str, words: list[str]) -> list[Hit]:
        memo = self._memo
        hits: list[Hit] = []
        taken = -1
        followers = chain(islice(words, 1, None), ("",))
        found = zip(map(memo.get, words, repeat(_UNKNOWN)), followers, strict=False)
        for index, (starts, follower) in enumerate(found):
            if starts is None:
                continue
            known = self._starting_with(words[index]) if starts is _UNKNOWN else starts
            if known is None or index <= taken:
                continue
            alone, followed, loose = known
            longer = followed.get(follower, _NOTHING) + loose
            if longer:
                taken = _take_longest(longer, alone, words, index, hits)
            elif alone:
                taken = index
                _add(alone, words, index, index, hits)
        if not text.isascii() and _GLUED.search(text):
            hits.extend(self._find_glued(text, len(words)))
        return hits

    def _starting_with(self, word: str) -> _Starts | None:
        """Return the patterns that may begin at `word`, None for the many words that begin none."""
        found = list(self._exact.get(word, ()))
        short = word[:MAX_WORD]
        for length in range(2, len(short) + 1):
            found.extend(self._prefix.get(short[:length], ()))
            if length < len(short):
                found.extend(self._suffix.get(short[-length:], ()))
        if len(self._memo) >= _MAX_MEMO:
            self._memo.clear()
        starts = self._memo[word] = _starts(found) if found else None
        return starts

    def find_skeletons(self, text: str, concepts: Container[Concept]) -> list[Hit]:
        """Return phrases of `concepts` in folded `text` by their consonants alone."""
        if not SIGNS.search(text):
            return []
        if self._skeletons is None:
            known: dict[str, _Pattern] = {}
            for key, patterns in self._glued_patterns.items():
                bare = skeleton(key)
                if (
                    bare != key
                    and len(bare) >= _FEWEST_LETTERS
                    and patterns[0].phrase.concept in concepts
                ):
                    known.setdefault(bare, patterns[0])
            self._skeletons = (re.compile(any_of(known) if known else r"(?!)"), known)
        expression, known = self._skeletons
        bare = skeleton(text)
        hits: list[Hit] = []
        for match in expression.finditer(bare):
            number = number_around(bare, match.start(), match.end())
            phrase = known[match[0]].phrase
            hits.append(Hit(phrase, match[0], match.start(), number, frozenset()))
        return hits

    def _find_glued(self, text: str, offset: int) -> Iterator[Hit]:
        if self._glued is None:
            self._glued = re.compile(
                any_of(self._glued_patterns) if self._glued_patterns else r"(?!)"
            )
        for match in self._glued.finditer(text):
            for pattern in self._glued_patterns[match[0]]:
                if pattern.phrase.concept is Concept.TRAP:
                    continue
                number = number_around(text, match.start(), match.end())
                yield Hit(pattern.phrase, match[0], offset + match.start(), number, frozenset())


def _words(folded: str) -> list[str]:
    return (_ASCII_WORD if folded.isascii() else _WORD).findall(folded)


class _Starts(NamedTuple):
    """The patterns that begin with a word, sorted by what has to follow it."""

    alone: tuple[_Pattern, ...]  # of this word only, the most telling first
    followed: Mapping[str, tuple[_Pattern, ...]]  # by the next word
    loose: tuple[_Pattern, ...]  # whose next word is open


_NOTHING: tuple[_Pattern, ...] = ()
_UNKNOWN: _Starts | None = _Starts((), {}, ())


def _starts(patterns: list[_Pattern]) -> _Starts:
    single: dict[Concept, _Pattern] = {}
    followed: dict[str, tuple[_Pattern, ...]] = {}
    loose: list[_Pattern] = []
    for pattern in patterns:
        if len(pattern.words) == 1:
            other = single.get(pattern.phrase.concept)
            single[pattern.phrase.concept] = _joined(pattern, other) if other else pattern
        elif "*" in pattern.words[1] or pattern.words[1] == "...":
            loose.append(pattern)
        else:
            second = pattern.words[1]
            followed[second] = (*followed.get(second, ()), pattern)
    alone = sorted(single.values(), key=lambda pattern: pattern.rank, reverse=True)
    return _Starts(tuple(alone), followed, tuple(loose))


def _joined(one: _Pattern, other: _Pattern) -> _Pattern:
    """Return two patterns of the same concept as one of all their languages."""
    phrase = max(one.phrase, other.phrase, key=lambda phrase: phrase.weight)
    languages = one.languages | other.languages
    return _Pattern(phrase, one.words, max(one.rank, other.rank), languages)


def _take_longest(
    longer: tuple[_Pattern, ...],
    alone: tuple[_Pattern, ...],
    words: list[str],
    index: int,
    hits: list[Hit],
) -> int:
    """Add the best patterns that match at `index`; return the last word they cover, or -1."""
    matching = [
        (pattern, end)
        for pattern in longer
        if (end := _match_words(pattern.words, words, index)) >= 0
    ]
    if not matching:
        _add(alone, words, index, index, hits)
        return index if alone else -1
    length = max(pattern.rank[0] for pattern, _ in matching)
    best = [(pattern, end) for pattern, end in matching if pattern.rank[0] == length]
    last = max(end for _, end in best)
    _add([pattern for pattern, _ in best], words, index, last, hits)
    return last


def _add(
    chosen: Iterable[_Pattern], words: list[str], index: int, last: int, hits: list[Hit]
) -> None:
    """Add a hit for each concept of `chosen`, which cover the words from `index` to `last`."""
    seen: Concept | None = None
    for pattern in chosen:
        concept = pattern.phrase.concept
        if concept is Concept.TRAP:
            break
        if concept is not seen:
            seen = concept
            found = words[index] if last == index else " ".join(words[index : last + 1])
            number = number_near(words, index, last)
            hits.append(Hit(pattern.phrase, found, index, number, pattern.languages))


def _pattern_words(folded: str) -> Iterator[str]:
    if folded.isalpha():
        yield folded
        return
    for piece in folded.split():
        if piece == "...":
            yield piece
            continue
        words = _WORD.findall(piece)
        if piece.startswith("*") and words:
            words[0] = "*" + words[0]
        if piece.endswith("*") and words:
            words[-1] += "*"
        yield from words


def _match_words(pattern: tuple[str, ...], words: list[str], index: int) -> int:
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
    if wanted.endswith("*"):
        return word.startswith(wanted[:-1])
    if wanted.startswith("*"):
        return word.endswith(wanted[1:])
    return word == wanted

"""The words of business mail in all languages at once, and a fast search for them.

A lexicon is made of phrases. A word of a phrase may end in `*` (any ending), begin with `*` (any
beginning, for compounds), and `...` stands for up to four words between. Scripts that set no spaces
between words, or glue articles and particles to them, are searched for as plain strings.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator

from relay.policy.folding import SIGNS, any_of, fold, skeleton
from relay.policy.identifiers import number_around, number_near
from relay.policy.patterns import (
    SILENT,
    Pattern,
    Starts,
    end_of_match,
    pattern_words,
    starts_of,
    telling,
)
from relay.policy.phrases import NUMBERED, Concept, Hit, Phrase, Scan
from relay.policy.wording import Wording, split_words

MAX_WORD = 40  # characters of a word that are looked at
_MAX_MEMO = 50_000  # words; forgotten all at once
_FEWEST_COMMON = 4  # different common words that tell a language
_ALSO = 0.5  # a language with this share of the best one's common words may be meant, too
_GLUED = re.compile(
    r"[\u0590-\u109f\u1780-\u17ff\u2d80-\u2ddf\u3040-\ua4cf\uac00-\ud7af\uf900-\ufdff]"
)
_FEWEST_LETTERS = 4  # of a skeleton that still tells a word


class Lexicon:
    """Phrases of all languages, made ready for search; it does not change once made."""

    __slots__ = (
        "_common",
        "_glued",
        "_glued_patterns",
        "_skeletons",
        "_starts",
        "languages",
    )

    def __init__(self, phrases: Iterable[Phrase]) -> None:
        """Take `phrases`; of equal ones with the same concept the first is kept."""
        self._common: dict[str, list[str]] = {}
        self._glued_patterns: dict[str, list[Pattern]] = {}
        self._starts = _Beginnings()
        self._glued: re.Pattern[str] | None = None
        self._skeletons: tuple[re.Pattern[str], dict[str, Pattern]] | None = None
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
            rank = (1, len(key))
            pattern = Pattern(phrase.concept, phrase.weight, frozenset(), (key,), rank)
            self._glued_patterns.setdefault(key, []).append(pattern)
            return
        words = tuple(pattern_words(folded))
        if not words:
            return
        rank = (len(words), sum(map(len, words)))
        self._starts.add(Pattern(phrase.concept, phrase.weight, languages, words, rank))

    def find(self, text: str) -> list[Hit]:
        """Return the phrases in `text`, which must be folded; the longest one at each place."""
        return self._find(text, split_words(text))

    def scan(self, text: str) -> Scan:
        """Return the phrases in `text`, which must be folded, and the languages it is in."""
        wording = split_words(text)
        hits = self._find(text, wording)
        return Scan(hits, *self._languages_of(wording.words), len(wording.words))

    def _languages_of(self, words: list[str]) -> tuple[frozenset[str], int]:
        counts: dict[str, int] = {}
        for languages in filter(None, map(self._common.get, set(words))):
            for language in languages:
                counts[language] = counts.get(language, 0) + 1
        most = max(counts.values(), default=0)
        if most < _FEWEST_COMMON:
            return frozenset(), most
        return frozenset(name for name, count in counts.items() if count >= most * _ALSO), most

    def _find(self, text: str, wording: Wording) -> list[Hit]:
        words = wording.words
        final = len(words) - 1
        hits: list[Hit] = []
        taken = -1
        for index, starts in enumerate(map(self._starts.__getitem__, words)):
            if starts is None or index <= taken:
                continue
            follower = words[index + 1] if index < final else ""
            longer = starts.followed.get(follower, starts.loose)
            if longer:
                taken = _take_longest(longer, starts.alone, wording, index, hits)
            elif starts.alone:
                _add(starts.alone, wording, index, index, hits)
        if not text.isascii() and _GLUED.search(text):
            hits.extend(self._find_glued(text, len(words)))
        return hits

    def find_skeletons(self, text: str, concepts: Container[Concept]) -> list[Hit]:
        """Return phrases of `concepts` in folded `text` by their consonants alone."""
        if not SIGNS.search(text):
            return []
        if self._skeletons is None:
            known: dict[str, Pattern] = {}
            for key, patterns in self._glued_patterns.items():
                bare = skeleton(key)
                if bare != key and len(bare) >= _FEWEST_LETTERS and patterns[0].concept in concepts:
                    known.setdefault(bare, patterns[0])
            self._skeletons = (re.compile(any_of(known) if known else r"(?!)"), known)
        expression, known = self._skeletons
        bare = skeleton(text)
        hits: list[Hit] = []
        for match in expression.finditer(bare):
            number = number_around(bare, match.start(), match.end())
            concept, weight, languages, *_ = known[match[0]]
            hits.append(Hit(concept, weight, match[0], match.start(), number, languages))
        return hits

    def _find_glued(self, text: str, offset: int) -> Iterator[Hit]:
        if self._glued is None:
            self._glued = re.compile(
                any_of(self._glued_patterns) if self._glued_patterns else r"(?!)"
            )
        for match in self._glued.finditer(text):
            for pattern in self._glued_patterns[match[0]]:
                concept, weight, languages, *_ = pattern
                if concept in SILENT:
                    continue
                is_numbered = concept in NUMBERED
                number = number_around(text, match.start(), match.end()) if is_numbered else None
                yield Hit(concept, weight, match[0], offset + match.start(), number, languages)


class _Beginnings(dict[str, "Starts | None"]):
    """What may begin at a word, None for most; kept once it was asked for."""

    def __init__(self) -> None:
        self._exact: dict[str, list[Pattern]] = {}
        self._prefix: dict[str, list[Pattern]] = {}
        self._suffix: dict[str, list[Pattern]] = {}

    def add(self, pattern: Pattern) -> None:
        first = pattern.words[0]
        if first[0] == "*":
            self._suffix.setdefault(first[1:], []).append(pattern)
        elif first[-1] == "*":
            self._prefix.setdefault(first[:-1], []).append(pattern)
        else:
            self._exact.setdefault(first, []).append(pattern)

    def __missing__(self, word: str) -> Starts | None:
        starts = self._look_up(word)
        if len(word) <= MAX_WORD:
            if len(self) >= _MAX_MEMO:
                self.clear()
            self[word] = starts
        return starts

    def _look_up(self, word: str) -> Starts | None:
        found = list(self._exact.get(word, ()))
        short = word[:MAX_WORD]
        for length in range(2, len(short) + 1):
            found.extend(self._prefix.get(short[:length], ()))
            if length < len(short):
                found.extend(self._suffix.get(short[-length:], ()))
        return starts_of(found) if found else None


def _take_longest(
    longer: tuple[Pattern, ...],
    alone: tuple[Pattern, ...],
    wording: Wording,
    index: int,
    hits: list[Hit],
) -> int:
    """Add the best patterns that match at `index`; return the last word they cover, or -1."""
    best: list[Pattern] = []
    last = -1
    for pattern in longer:
        if best and len(pattern.words) < len(best[0].words):
            break
        end = end_of_match(pattern.words, wording.words, index)
        if end >= 0:
            best.append(pattern)
            last = max(last, end)
    if best:
        _add(telling(best), wording, index, last, hits)
    else:
        _add(alone, wording, index, index, hits)
    return last


def _add(
    chosen: tuple[Pattern, ...], wording: Wording, index: int, last: int, hits: list[Hit]
) -> None:
    """Add a hit for each of `chosen`, which cover the words from `index` to `last`."""
    words = wording.words
    found = words[index] if last == index else " ".join(words[index : last + 1])
    for concept, weight, languages, _, _ in chosen:
        number = number_near(wording, index, last) if concept in NUMBERED else None
        hits.append(Hit(concept, weight, found, index, number, languages))

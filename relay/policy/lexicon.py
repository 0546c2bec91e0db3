"""The words of business mail in all languages at once, and a fast search for them.

A lexicon is made of phrases. A word of a phrase may end in `*` (any ending), begin with `*` (any
beginning, for compounds), and `...` stands for up to four words between. Scripts that set no spaces
between words, or glue articles and particles to them, are searched for as plain strings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

MAX_WORD = 40  # characters of a word that are looked at
_MAX_MEMO = 50_000  # words; forgotten all at once
_DIGITS = frozenset("0123456789")
_MAX_GAP = 4  # words that `...` may stand for
_FEWEST_COMMON = 4  # different common words that tell a language
_ALSO = 0.5  # a language with this share of the best one's common words may be meant, too
_WORD = re.compile(r"[^\W\d_]+|\d[\w.,/:\-]*|[#№%]")
_GLUED = re.compile(
    r"[\u0590-\u109f\u1780-\u17ff\u2d80-\u2ddf\u3040-\ua4cf\uac00-\ud7af\uf900-\ufdff]"
)
_DROPPED = re.compile(
    "[\u00ad\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)
_SIGNS = re.compile(  # of the scripts of India, Thailand, Laos, Cambodia and Myanmar
    "[\u0900-\u0903\u093a-\u094f\u0962\u0963\u0981-\u0983\u09bc-\u09d7\u0a01-\u0a03\u0a3c-\u0a51"
    "\u0a81-\u0a83\u0abc-\u0acd\u0b82\u0bbe-\u0bd7\u0c00-\u0c04\u0c3e-\u0c56\u0c81-\u0c83\u0cbc-\u0cd6"
    "\u0d00-\u0d03\u0d3b-\u0d57\u0dca-\u0ddf\u0e30-\u0e3a\u0e40-\u0e45\u0e47-\u0e4e\u0eb0-\u0ebc"
    "\u0ec0-\u0ec4\u0ec8-\u0ece\u102b-\u103e\u17b4-\u17d3]"
)
_FEWEST_LETTERS = 4  # of a skeleton that still tells a word
_UNIFIED = str.maketrans(
    {"ı": "i", "ي": "ی", "ى": "ی", "ك": "ک", "ة": "ه", "ە": "ه", "’": "'", "ʻ": "'", "ʼ": "'"}
    | {
        chr(zero + digit): str(digit)
        for zero in (0x660, 0x6F0, 0x966, 0x9E6, 0xBE6, 0xE50, 0xED0, 0x17E0, 0x1040)
        for digit in range(10)
    }
)
_PLAIN_NUMBER = re.compile(r"\d{3,}")
_AMOUNT = re.compile(r"\d{1,3}(?:[.,]\d{3})+(?:[.,]\d{1,2})?|\d+[.,]\d{1,2}")
_DATE = re.compile(
    r"\d{1,4}([./\-])\d{1,2}\1\d{1,4}|\d{1,2}:\d\d.*|\d{4}-(?:0\d|1[0-2])|\d{1,2}/\d{4}|\d{1,2}/\d{1,2}"
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_NEAR_NUMBER = re.compile(r"\d[\w.,/:\-]*")
_UNITS = frozenset(
    [
        "%",
        "eur",
        "usd",
        "gbp",
        "chf",
        "kr",
        "sek",
        "nok",
        "dkk",
        "pln",
        "zl",
        "kc",
        "czk",
        "huf",
        "ft",
        "lei",
        "ron",
        "rub",
        "руб",
        "грн",
        "tl",
        "try",
        "lv",
        "bgn",
        "euro",
        "euros",
        "dollars",
        "days",
        "day",
        "tage",
        "tagen",
        "jours",
        "dias",
        "dagen",
        "giorni",
        "day's",
        "min",
        "minutes",
        "hours",
    ]
)


class Concept(StrEnum):
    """What a phrase speaks of."""

    COMMON = "common"  # small words that tell the language
    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"
    PROFORMA = "proforma"
    REMINDER = "reminder"  # of an unpaid invoice
    QUOTE = "quote"
    STATEMENT = "statement"
    RECEIPT = "receipt"
    ORDER = "order"  # orders, delivery notes, requests for prices, work reports
    OTHER_DOCUMENT = "other_document"  # contract, minutes, menu, programme …
    TOTAL = "total"
    TAX = "tax"
    DUE = "due"
    COLUMN = "column"  # headings of a table of positions
    BALANCE = "balance"  # words of accounts: balance, open items, ageing
    BANK = "bank"
    NUMBER = "number"  # "No.", what stands between a document's name and its number
    VIEW = "view"  # view, open, download, pay
    ATTACHED = "attached"
    PAID = "paid"  # money was received, refunded, donated
    ACCOUNT = "account"  # password, sign-in, verification, security
    ACTIVITY = "activity"  # order, shipment, booking, ticket, comment, task
    AUTOMATIC = "automatic"  # "this message was made automatically", "do not reply"
    UNSUBSCRIBE = "unsubscribe"
    PROMOTION = "promotion"
    AUTO_REPLY = "auto_reply"
    UNDELIVERED = "undelivered"
    PERSONAL = "personal"  # greetings and closings of people
    TRAP = "trap"  # holds another phrase but means nothing here


class Phrase(NamedTuple):
    """One entry of a lexicon; there are many, so tuples (they are made three times as fast)."""

    text: str  # as a person wrote it in the file
    concept: Concept
    language: str
    weight: float = 1.0


class Hit(NamedTuple):
    """A phrase that was found."""

    phrase: Phrase
    found: str  # the words as they stand in the (folded) text
    at: int  # rises with the place in the text
    number: str | None  # an identifier with digits next to it
    languages: frozenset[str]  # that have the phrase; empty where the script says enough

    @property
    def concept(self) -> Concept:
        """Return what it speaks of."""
        return self.phrase.concept

    def is_of(self, languages: frozenset[str]) -> bool:
        """Return whether it belongs to one of `languages`; none known means any."""
        return not languages or not self.languages or not languages.isdisjoint(self.languages)


class _Pattern(NamedTuple):
    phrase: Phrase
    words: tuple[str, ...]
    rank: tuple[int, int]  # more words first, then more characters
    languages: frozenset[str]


@dataclass(frozen=True, slots=True)
class Scan:
    """What a lexicon sees in a text."""

    hits: list[Hit]
    languages: frozenset[str]  # by its common words; empty when there are too few
    common: int  # different common words of the best language


def fold(text: str) -> str:
    """Return `text` as it is compared: lower case, no accents, one form for a letter or digit."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", _DROPPED.sub("", decomposed)).translate(_UNIFIED)


def skeleton(text: str) -> str:
    """Return folded `text` without vowel signs, which PDF files lose or put elsewhere."""
    return _SIGNS.sub("", text)


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
            key = tuple(languages)
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
        return self._find(text, _WORD.findall(text))

    def scan(self, text: str) -> Scan:
        """Return the phrases in `text`, which must be folded, and the languages it is in."""
        words: list[str] = _WORD.findall(text)
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
        for index, word in enumerate(words):
            starts = memo.get(word, _UNKNOWN)
            if starts is _UNKNOWN:
                starts = self._starting_with(word)
            if starts is not None and index > taken:
                taken = _take(starts, words, index, hits)
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
        if not _SIGNS.search(text):
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
            self._skeletons = (re.compile(_trie(known) if known else r"(?!)"), known)
        pattern, known = self._skeletons
        return [
            Hit(known[match[0]].phrase, match[0], match.start(), None, frozenset())
            for match in pattern.finditer(skeleton(text))
        ]

    def _find_glued(self, text: str, offset: int) -> Iterator[Hit]:
        if self._glued is None:
            self._glued = re.compile(
                _trie(self._glued_patterns) if self._glued_patterns else r"(?!)"
            )
        for match in self._glued.finditer(text):
            for pattern in self._glued_patterns[match[0]]:
                if pattern.phrase.concept is Concept.TRAP:
                    continue
                number = _number_around(text, match.start(), match.end())
                yield Hit(pattern.phrase, match[0], offset + match.start(), number, frozenset())


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


def _take(starts: _Starts, words: list[str], index: int, hits: list[Hit]) -> int:
    """Add the best patterns that match at `index`; return the last word they cover, or -1."""
    chosen: tuple[_Pattern, ...] | list[_Pattern] = starts.alone
    last = index if chosen else -1
    if starts.loose or starts.followed:
        follower = words[index + 1] if index + 1 < len(words) else ""
        longer = starts.followed.get(follower, _NOTHING) + starts.loose
        matching = [
            (pattern, end)
            for pattern in longer
            if (end := _match_words(pattern.words, words, index)) >= 0
        ]
        if matching:
            length = max(pattern.rank[0] for pattern, _ in matching)
            best = [(pattern, end) for pattern, end in matching if pattern.rank[0] == length]
            chosen = [pattern for pattern, _ in best]
            last = max(end for _, end in best)
    seen: Concept | None = None
    for pattern in chosen:
        concept = pattern.phrase.concept
        if concept is Concept.TRAP:
            break
        if concept is not seen:
            seen = concept
            found = words[index] if last == index else " ".join(words[index : last + 1])
            number = _number_near(words, index, last)
            hits.append(Hit(pattern.phrase, found, index, number, pattern.languages))
    return last


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


def _number_near(words: list[str], first: int, last: int) -> str | None:
    """Return an identifier up to three words after or two before, for `Rechnung Nr. 118`."""
    count = len(words)
    for index in (last + 1, last + 2, last + 3, first - 1, first - 2):
        if 0 <= index < count and words[index][0] in _DIGITS:
            labelled = index > 0 and words[index - 1] in ("#", "№")
            follower = words[index + 1] if index + 1 < len(words) else ""
            if is_identifier(words[index], labelled=labelled, follower=follower):
                return words[index].rstrip(".,:-/")
    return None


def _number_around(text: str, start: int, end: int) -> str | None:
    for window in (text[end : end + 20], text[max(0, start - 16) : start]):
        for match in _NEAR_NUMBER.finditer(window):
            if is_identifier(match[0]):
                return match[0].rstrip(".,:-/")
    return None


def is_identifier(word: str, *, labelled: bool = False, follower: str = "") -> bool:
    """Return whether a word of digits names one thing: no amount, date, year, time or share."""
    word = word.rstrip(".,:-/")
    if follower in _UNITS or _AMOUNT.fullmatch(word) or _DATE.fullmatch(word):
        return False
    if labelled:
        return True
    if _YEAR.fullmatch(word):
        return False
    digits = sum(map(str.isdigit, word))
    return bool(_PLAIN_NUMBER.search(word)) or (digits >= 2 and digits < len(word))


def _trie(words: Iterable[str]) -> str:
    """Return a regular expression that finds the longest of `words` without trying each."""
    root: dict[str, dict[str, object]] = {}
    for word in words:
        node: dict[str, object] = root  # type: ignore[assignment]
        for char in word:
            node = node.setdefault(char, {})  # type: ignore[assignment]
        node[""] = {}
    return _branch(root)  # type: ignore[arg-type]


def _branch(node: dict[str, object]) -> str:
    ends = "" in node
    parts = [
        re.escape(char) + _branch(child)  # type: ignore[arg-type]
        for char, child in sorted(node.items())
        if char
    ]
    if not parts:
        return ""
    body = parts[0] if len(parts) == 1 and not ends else "(?:" + "|".join(parts) + ")"
    return body + "?" if ends else body

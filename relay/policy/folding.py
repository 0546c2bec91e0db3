"""Letters as they are compared, so that spelling does not hide a word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_DROPPED = re.compile(
    "[\u00ad\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)
SIGNS = re.compile(  # of the scripts of India, Thailand, Laos, Cambodia and Myanmar
    "[\u0900-\u0903\u093a-\u094f\u0962\u0963\u0981-\u0983\u09bc-\u09d7\u0a01-\u0a03\u0a3c-\u0a51"
    "\u0a81-\u0a83\u0abc-\u0acd\u0b82\u0bbe-\u0bd7\u0c00-\u0c04\u0c3e-\u0c56\u0c81-\u0c83\u0cbc-\u0cd6"
    "\u0d00-\u0d03\u0d3b-\u0d57\u0dca-\u0ddf\u0e30-\u0e3a\u0e40-\u0e45\u0e47-\u0e4e\u0eb0-\u0ebc"
    "\u0ec0-\u0ec4\u0ec8-\u0ece\u102b-\u103e\u17b4-\u17d3]"
)
_UNIFIED = str.maketrans(
    {"ı": "i", "ي": "ی", "ى": "ی", "ك": "ک", "ة": "ه", "ە": "ه", "’": "'", "ʻ": "'", "ʼ": "'"}
    | {
        chr(zero + digit): str(digit)
        for zero in (0x660, 0x6F0, 0x966, 0x9E6, 0xBE6, 0xE50, 0xED0, 0x17E0, 0x1040)
        for digit in range(10)
    }
)
_ASCII = bytes(range(128))
_FEW_LETTERS = 60  # that are replaced one by one
_ALONE = re.compile(  # Latin letters, signs, emoji: they fold to the same whatever is beside them
    "[\n\u0080-\u024f\u1e00-\u1eff\u2000-\u20cf\u2116\u2122\u2150-\u2bff\ufe0f\U0001f300-\U0001faff]*"
)


def fold(text: str) -> str:
    """Return `text` as it is compared: lower case, no accents, one form for a letter or digit."""
    if text.isascii():
        return text.lower()
    raw = text.encode("utf-8", "surrogatepass")
    foreign = raw.translate(None, delete=_ASCII)
    if len(foreign) < len(raw) // 3:  # as in Latin script
        letters = "\n".join(set(foreign.decode("utf-8", "surrogatepass")))
        if len(letters) < 2 * _FEW_LETTERS and _ALONE.fullmatch(letters):
            return _fold_each(raw.lower().decode(), letters)
    return _fold_all(text)


def _fold_each(text: str, letters: str) -> str:
    """Return what `_fold_all` does, `letters` being all that is not ASCII, one a line."""
    for letter, plain in zip(letters.split("\n"), _fold_all(letters).split("\n"), strict=True):
        text = text.replace(letter, plain)
    return text


def _fold_all(text: str) -> str:
    plain = _DROPPED.sub("", unicodedata.normalize("NFKD", text.casefold()))
    return plain if plain.isascii() else unicodedata.normalize("NFC", plain).translate(_UNIFIED)


def skeleton(text: str) -> str:
    """Return folded `text` without vowel signs, which PDF files lose or put elsewhere."""
    return SIGNS.sub("", text)


def any_of(words: Iterable[str]) -> str:
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

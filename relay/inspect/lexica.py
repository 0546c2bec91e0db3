"""The lexicon files, one a language, read into one Lexicon."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from relay.policy.lexicon import Lexicon
from relay.policy.phrases import Concept, Phrase

_ABOUT = frozenset({"language", "name"})
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class LexiconError(ValueError):
    """A lexicon file is not as README.md says; the text names the file and the heading."""


@lru_cache(maxsize=1)
def shipped_phrases() -> tuple[Phrase, ...]:
    """Return the phrases of all languages that the package ships."""
    phrases: list[Phrase] = []
    folder = files("relay.inspect").joinpath("lexicon")
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yaml"):
            data = yaml.load(file.read_text("utf-8"), Loader=_LOADER)  # noqa: S506 -- a safe loader
            phrases.extend(parse_lexicon(data, file.name))
    return tuple(phrases)


@lru_cache(maxsize=1)
def shipped_languages() -> tuple[str, ...]:
    """Return the codes of the languages that the package ships."""
    names = (file.name for file in files("relay.inspect").joinpath("lexicon").iterdir())
    return tuple(sorted(name[:-5] for name in names if name.endswith(".yaml")))


def load_lexicon(additions: Iterable[Phrase] = ()) -> Lexicon:
    """Return the shipped words and the owner's `additions`, which come first."""
    return Lexicon((*additions, *shipped_phrases()))


def parse_lexicon(data: Any, name: str) -> Iterator[Phrase]:
    """Return the phrases of one file called `name`; raises LexiconError."""
    if not isinstance(data, Mapping) or not isinstance(data.get("language"), str):
        raise LexiconError(f"{name}: expected a mapping with `language`")
    language: str = data["language"]
    for heading, text in data.items():
        if heading in _ABOUT:
            continue
        try:
            concept = Concept(heading)
        except ValueError:
            raise LexiconError(f"{name}: unknown heading {heading!r}") from None
        if not isinstance(text, str):
            raise LexiconError(
                f"{name}: {heading}: expected phrases separated by commas, got {text!r}"
            )
        for entry in text.split(","):
            phrase = entry.strip()
            if not phrase:
                raise LexiconError(f"{name}: {heading}: an empty phrase; are there two commas?")
            if "=" in phrase:
                yield _weighted(phrase, concept, language, f"{name}: {heading}")
            else:
                yield Phrase(phrase, concept, language)


def split_weight(entry: str) -> tuple[str, float | None]:
    """Return the text of `text =2` and its weight, None without; raises ValueError."""
    text, sign, weight = entry.rpartition("=")
    return (text.strip(), float(weight)) if sign else (entry, None)


def _weighted(entry: str, concept: Concept, language: str, where: str) -> Phrase:
    try:
        text, weight = split_weight(entry)
    except ValueError:
        raise LexiconError(f"{where}: {entry!r}: expected a number after =") from None
    return Phrase(text, concept, language, 1.0 if weight is None else weight)

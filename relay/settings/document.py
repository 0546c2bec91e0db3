"""A YAML file as plain values that still know on which line they stand.

The schema is the core schema of YAML 1.2: `on`, `off`, `yes` and `no` are text, `1:30` is no
number. Of the rest only what a settings file needs: no anchors, no aliases, no tags.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from relay.settings.mistakes import Loc, Mistake, SettingsError, key_path

_PLAIN = (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789")),
    (
        "float",
        re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?$"),
        list("-+.0123456789"),
    ),
)
_PATTERNS = {name: pattern for name, pattern, _ in _PLAIN}
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """A composer that resolves plain scalars as the core schema says."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 -- filled below, never changed


for _name, _pattern, _first in _PLAIN:
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", _pattern, _first)


ANY = "*"
"""Stands for every key: an unknown one may be any, misspelt."""


class Section(dict[str, Any]):
    """A mapping of the file that knows its place in it, and what it has lost by mistakes."""

    __slots__ = ("lost", "place")

    def __init__(self, place: Loc) -> None:
        super().__init__()
        self.place = place
        self.lost: set[str] = set()  # keys whose value was left out; ANY if it may be any key


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds, and the line of each key and item."""

    file: str
    root: Section
    lines: Mapping[Loc, int]

    def mistake(self, loc: Loc, message: str) -> Mistake:
        """Return a mistake at `loc`, or at what would hold it if it is not in the file."""
        shown = loc
        while shown and isinstance(shown[-1], int) and shown not in self.lines:
            shown = shown[:-1]  # one value where a list may stand
        known = shown
        while known not in self.lines:
            known = known[:-1]
        return Mistake(self.file, self.lines[known], key_path(shown), message)


def read_document(file: str, data: bytes) -> Document:
    """Return what `data` holds; raises SettingsError with everything that is not usable YAML."""
    try:
        node = _compose(data)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise SettingsError([Mistake(file, line, "", _words(error))]) from error
    except (yaml.YAMLError, ValueError) as error:
        message = "expected text in UTF-8 without control characters"
        raise SettingsError([Mistake(file, _bad_line(data, error), "", message)]) from error
    except RecursionError as error:
        message = "expected settings, got brackets too deep to be any"
        raise SettingsError([Mistake(file, 1, "", message)]) from error
    builder = _Builder(file)
    root = builder.root(node)
    if builder.mistakes:
        raise SettingsError(builder.mistakes)
    return Document(file, root, builder.lines)


def _compose(data: bytes) -> yaml.Node | None:
    loader = _Loader(data)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


class _Builder:
    """Turns nodes into values, and collects lines and mistakes on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Loc, int] = {(): 1}
        self.mistakes: list[Mistake] = []
        self._seen: set[int] = set()

    def root(self, node: yaml.Node | None) -> Section:
        """Return the whole file; an empty one has no keys."""
        match node:
            case yaml.MappingNode():
                return self._mapping(node, ())
            case None:
                return Section(())
            case yaml.ScalarNode(tag=tag) if tag == f"{_TAG}null":
                return Section(())
            case _:
                self._wrong(node, (), "expected settings as `key: value`")
                return Section(())

    def _value(self, node: yaml.Node, loc: Loc) -> Any:
        if id(node) in self._seen:
            # its own mark is that of the anchor
            self.mistakes.append(Mistake(self.file, self.lines[loc], key_path(loc), _NO_ALIAS))
            return None
        self._seen.add(id(node))
        match node:
            case yaml.MappingNode():
                return self._mapping(node, loc)
            case yaml.SequenceNode():
                self._check_tag(node, loc, "seq")
                return [self._item(item, (*loc, i)) for i, item in enumerate(node.value)]
            case _:
                assert isinstance(node, yaml.ScalarNode), "there are three types of node"
                return self._scalar(node, loc)

    def _item(self, node: yaml.Node, loc: Loc) -> Any:
        self.lines[loc] = node.start_mark.line + 1
        return self._value(node, loc)

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> Section:
        self._check_tag(node, loc, "map")
        section = Section(loc)
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._wrong(key, loc, "expected a name as the key, got a list or mapping")
                continue
            if key.value == "<<":
                self._wrong(key, loc, "expected the settings themselves: `<<` is not used here")
                continue
            place = (*loc, key.value)
            line = key.start_mark.line + 1
            if key.value in section:
                first = self.lines[place]
                message = f"expected once, got it again: it stands in line {first} already"
                self.mistakes.append(Mistake(self.file, line, key_path(place), message))
                continue
            self.lines[place] = line
            section[key.value] = self._value(value, place)
        return section

    def _scalar(self, node: yaml.ScalarNode, loc: Loc) -> Any:
        tag = node.tag.removeprefix(_TAG)
        if tag == "str":
            return node.value
        if node.style is not None or tag not in _PATTERNS or not _PATTERNS[tag].match(node.value):
            self._wrong(node, loc, f"expected a value without a tag, got {node.tag}")
            return None
        match tag:
            case "null":
                return None
            case "bool":
                return node.value.lower() == "true"
            case "float":
                return float(node.value)
            case _:
                return int(node.value) if len(node.value) <= 20 else node.value

    def _check_tag(self, node: yaml.Node, loc: Loc, expected: str) -> None:
        if node.tag != _TAG + expected:
            self._wrong(node, loc, f"expected a value without a tag, got {node.tag}")

    def _wrong(self, node: yaml.Node, loc: Loc, message: str) -> None:
        line = node.start_mark.line + 1
        self.mistakes.append(Mistake(self.file, line, key_path(loc), message))


_NO_ALIAS = (
    "expected the value itself: `&` and `*` references are not used here; quote a text with *"
)


def _words(error: yaml.MarkedYAMLError) -> str:
    """Return what PyYAML has to say, with what people mostly did."""
    problem = error.problem or "not understood"
    if "alias" in f"{error.context} {problem}":
        return 'expected quotes around a text that begins with *, as in "*@example.com"'
    if "'\\t'" in problem:
        return "expected spaces, got a tab: YAML is indented with spaces"
    if "cannot start any token" in problem:
        return f"expected a value, {problem.replace('found', 'got')}: put it in quotes"
    if "single document" in f"{error.context} {problem}":
        return "expected one document, got another one after `---`"
    if "mapping values are not allowed" in problem:
        return "expected `key: value` in line with its neighbours: look at indentation and quotes"
    return f"expected YAML, {problem}"


def _bad_line(data: bytes, error: Exception) -> int:
    position = getattr(error, "position", 0)
    return data[: position if isinstance(position, int) else 0].count(b"\n") + 1

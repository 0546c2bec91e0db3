"""config/relay.yaml shows every key, and what it says of defaults is true."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from relay.settings.document import Document, read_document
from relay.settings.loader import load
from relay.settings.model import File, Part
from relay.settings.shape import read_shape
from relay.settings.values import Settings

PATH = Path(__file__).parents[2] / "config" / "relay.yaml"
TEXT = PATH.read_text()
ALL_ON = re.sub(r"^( *)#(?=[^ #\n])", r"\1", TEXT, flags=re.MULTILINE)


def document_of(text: str) -> Document:
    return read_document("relay.yaml", text.encode())


def parts(value: Any) -> Iterator[Part]:
    """Yield all mappings in and below `value`."""
    if isinstance(value, Part):
        yield value
        for name in value.model_fields_set:
            yield from parts(getattr(value, name))
    elif isinstance(value, dict | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from parts(item)


def models(annotation: Any) -> Iterator[type[Part]]:
    """Yield the models that may stand in and below an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation)
    for inner in get_args(annotation):
        yield from models(inner)


def shown() -> dict[tuple[type[Part], str], list[Any]]:
    """Return the values that are shown for each key, switched on or off."""
    values = defaultdict(list)
    file, mistakes = read_shape(document_of(ALL_ON))
    assert mistakes == []
    for part in parts(file):
        for name in part.model_fields_set:
            values[type(part), name].append(getattr(part, name))
    return values


SHOWN = shown()
KEYS = sorted(
    {(model, name) for model in models(File) for name in model.model_fields},
    key=lambda key: (key[0].__name__, key[1]),
)


@pytest.mark.parametrize(("model", "name"), KEYS, ids=lambda it: getattr(it, "__name__", it))
def test_every_key_is_shown_with_its_default(model: type[Part], name: str) -> None:
    assert SHOWN[model, name], "not in config/relay.yaml"
    default = model.model_fields[name].default
    has_own_keys = any(models(model.model_fields[name].annotation))
    if default not in (None, (), {}) and not has_own_keys:
        assert default in SHOWN[model, name]


def defaults(lines: list[str]) -> Iterator[int]:
    """Yield the numbers of the lines that a remark above marks as default."""
    is_default = False
    was_remark = False
    for number, line in enumerate(lines):
        is_remark = re.match(r" *# ", line) is not None
        if is_remark:
            is_default = (is_default and was_remark) or "(default" in line
        elif is_default and line.strip():
            yield number
        else:
            is_default = False
        was_remark = is_remark


def without_empty_sections(lines: list[str]) -> list[str]:
    live = [(n, line) for n, line in enumerate(lines) if line.strip() and "#" not in line[:20]]
    following = [line for _, line in live[1:]] + [""]
    empty = {
        number
        for (number, line), after in zip(live, following, strict=True)
        if re.fullmatch(r"\w+:", line) and not after.startswith(" ")
    }
    return ["" if number in empty else line for number, line in enumerate(lines)]


def test_what_is_marked_as_default_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "relay.yaml"

    def load_lines(lines: list[str]) -> Settings:
        path.write_text("\n".join(lines))
        return load(path, {})

    lines = TEXT.splitlines()
    marked = set(defaults(lines))
    assert len(marked) > 30
    switched_on = [
        re.sub(r"^( *)#(?! )", r"\1", line) if number in marked else line
        for number, line in enumerate(lines)
    ]
    switched_off = without_empty_sections(
        ["" if number in marked else line for number, line in enumerate(lines)]
    )
    assert load_lines(switched_on) == load_lines(lines)
    assert load_lines(switched_off) == load_lines(lines)


@pytest.mark.parametrize("text", [TEXT, ALL_ON], ids=["as it is", "all switched on"])
def test_it_is_a_valid_starting_point(tmp_path: Path, text: str) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text(text)
    settings = load(path, {})
    assert list(settings.channels)[:2] == ["direct", "native"]


def test_each_line_that_is_switched_off_is_a_key() -> None:
    """Else a remark without its space would be read as a setting, or the other way round."""
    for line in TEXT.splitlines():
        if re.match(r" *#[^ ]", line):
            assert re.match(r" *#(- \{?)?[\w-]+:( |$)", line), line


def test_it_is_as_wide_as_the_code() -> None:
    assert max(map(len, TEXT.splitlines())) <= 100

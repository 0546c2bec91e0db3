"""Every way to get the settings wrong, and what the owner is told: line, key, what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.settings.checks import check
from relay.settings.document import read_document
from relay.settings.loader import load
from relay.settings.mistakes import SettingsError
from relay.settings.shape import read_shape

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "config" / "relay.yaml"


def table() -> Iterator[object]:
    """Return the cases of mistakes.txt."""
    for block in (HERE / "mistakes.txt").read_text().split("\n### ")[1:]:
        title, _, rest = block.partition("\n")
        text, _, told = rest.partition("\n>>>\n")
        yield pytest.param(text + "\n", told.strip().splitlines(), id=title)


def told_of(path: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(("text", "expected"), list(table()))
def test_a_mistake_is_told_with_line_and_key(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text(text)
    assert told_of(path) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "1: channels: expected at least one channel, got none"),
        (b"log: \0", "1: expected text in UTF-8 without control characters"),
        (b"log: {}\nhostname: m\xfcller\n", "2: expected text in UTF-8 without control characters"),
        (b"a: " + b"[" * 5000, "1: expected settings, got brackets too deep to be any"),
        (b"#" * (1024 * 1024 + 1), "1: expected at most 1 MiB, got more"),
    ],
)
def test_what_is_no_settings_file_is_a_mistake(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "relay.yaml"
    path.write_bytes(data)
    assert told_of(path) == [expected]


LINES = [line for line in CONFIG.read_text().splitlines() if not re.match(r" *# |$", line)]
VALUES = (
    "",
    "null",
    "true",
    "-1",
    "1.5",
    "[]",
    "{}",
    "[[1]]",
    "[null]",
    "{a: 1}",
    "x",
    "'*'",
    "5d",
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_is_wrong_it_is_a_settings_error(data: st.DataObject) -> None:
    lines = [re.sub(r"^( *)#", r"\1", line) for line in LINES]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "repeat", "value", "indent", "swap"])):
            case "drop":
                del lines[at]
            case "repeat":
                lines.insert(at, lines[at])
            case "value":
                lines[at] = f"{lines[at].partition(':')[0]}: {data.draw(st.sampled_from(VALUES))}"
            case "indent":
                lines[at] = " " * data.draw(st.integers(0, 8)) + lines[at].strip()
            case _:
                lines[at], lines[at - 1] = lines[at - 1], lines[at]
    try:
        file, mistakes = read_shape(document := read_document("f", "\n".join(lines).encode()))
        told = [str(document.mistake(*found)) for found in check(file, document)]
        told += map(str, mistakes)
    except SettingsError as error:
        told = str(error).splitlines()
    for line in told:
        assert re.match(r"f:[0-9]+: .*(expected|unknown)", line), line
        assert "Input should" not in line  # not in pydantic's words


def test_everything_is_told_at_once_in_the_order_of_the_file() -> None:
    told = told_of(HERE / "everything.yaml")
    assert told == (HERE / "everything.txt").read_text().splitlines()
    assert len(told) > 25
    assert "hunter2" not in "".join(told)


def test_a_mistake_can_be_taken_apart(tmp_path: Path) -> None:
    path = tmp_path / "relay.yaml"
    path.write_text("channels:\n  direct:\n    smtp:\n      host: h\n      port: 0\n")
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    (mistake,) = caught.value.mistakes
    assert (mistake.file, mistake.line) == (str(path), 5)
    assert mistake.key == "channels.direct.smtp.port"
    assert mistake.message == "expected 1-65535, got 0"
    assert str(caught.value) == f"{path}:5: channels.direct.smtp.port: expected 1-65535, got 0"


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        (told,) = told_of(path)
        assert told.startswith("1: expected a file that can be read, got: ")

"""What a log line says, and that nothing in a value can break out of it."""

from __future__ import annotations

import json
import logging
import typing
from dataclasses import replace

import pytest
from every_event import ACCEPTED, ATTEMPTED, EVERY_EVENT, HOSTILE, NOON

from relay.observe.events import Event, Result
from relay.observe.line import MAX_VALUE, as_json, as_text, describe


def test_the_list_of_events_in_these_tests_is_whole() -> None:
    assert {type(event) for event in EVERY_EVENT} == set(typing.get_args(Event))


def test_an_accepted_message_on_one_line() -> None:
    assert as_text(describe(ACCEPTED)) == (
        "info accepted id=01ABCDEFGHJKM listener=127.0.0.1:2525 client=127.0.0.1 application=- "
        "from=billing@example.com recipients=2 size_bytes=2048 kind=invoice certainty=0.9800 "
        "channels=native,direct seconds=0.0020"
    )


def test_an_attempt_on_one_line() -> None:
    event = replace(ATTEMPTED, result=Result.DEFERRED, reply="451 4.7.1 later", due_at=NOON)
    assert as_text(describe(event)) == (
        "info attempted id=01ABCDEFGHJKM result=deferred channel=native "
        'upstream=mail.example.com:25 kind=invoice to=bob@example.net reply="451 4.7.1 later" '
        "entry=- attempts=1 due_at=2026-03-01T12:00:00.000Z seconds=0.0120"
    )


def test_the_null_reverse_path_is_written_as_the_rfc_does() -> None:
    assert " from=<> " in as_text(describe(replace(ACCEPTED, reverse_path=None)))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param("plain", "plain", id="plain"),
        pytest.param("a@b.example", "a@b.example", id="address"),
        pytest.param("[::1]:25", "[::1]:25", id="IPv6"),
        pytest.param("", '""', id="empty is not nothing"),
        pytest.param("two words", '"two words"', id="space"),
        pytest.param("k=v", '"k=v"', id="key and value"),
        pytest.param('say "hi"', r'"say \"hi\""', id="quotation marks"),
        pytest.param("a\\b", r'"a\\b"', id="backslash"),
        pytest.param("a\nerror forged", r'"a\x0aerror forged"', id="LF"),
        pytest.param("a\r\nb", r'"a\x0d\x0ab"', id="CRLF"),
        pytest.param("\x00", r'"\x00"', id="NUL"),
        pytest.param("\x1b[2J", r'"\x1b[2J"', id="terminal escape"),
        pytest.param("\x7f", r'"\x7f"', id="DEL"),
        pytest.param("\x85", r'"\x85"', id="C1 next line"),
        pytest.param("\x9b31m", r'"\x9b31m"', id="C1 control sequence introducer"),
        pytest.param("a\u2028b", r'"a\u2028b"', id="line separator"),
        pytest.param("a\u202eb", r'"a\u202eb"', id="right-to-left override"),
        pytest.param("a\u200bb", r'"a\u200bb"', id="zero width"),
        pytest.param("\ud800", r'"\ud800"', id="lone surrogate"),
        pytest.param("\U000e0041", r'"\U000e0041"', id="tag character"),
        pytest.param("bücher@example", '"bücher@example"', id="readable beyond ASCII"),
    ],
)
def test_values_are_escaped(value: str, written: str) -> None:
    line = (logging.INFO, "note", (("message", value),))
    assert as_text(line) == f"info note message={written}"
    assert json.loads(as_json(line))["message"] == value


@pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: type(event).__name__)
def test_every_event_is_one_line_in_either_form(event: Event) -> None:
    text, row = as_text(describe(event)), as_json(describe(event))
    for line in (text, row):
        assert len(line.splitlines()) == 1
        assert "\x1b" not in line
    assert text.split()[0] in {"info", "warning", "error"}
    assert json.loads(row)["event"] == text.split()[1]


def test_a_hostile_value_forges_neither_line_nor_key() -> None:
    line = as_text(describe(replace(ATTEMPTED, reply=HOSTILE)))
    assert line.count(" id=") == 2  # the second is inside quotation marks
    outside = "".join(line.replace('\\"', "").split('"')[::2])
    assert outside.count(" id=") == 1


def test_an_endless_value_is_cut() -> None:
    line = (logging.INFO, "note", (("message", "é" * (MAX_VALUE * 2)),))
    assert len(as_text(line)) < MAX_VALUE + 100
    assert len(json.loads(as_json(line))["message"]) == MAX_VALUE


@pytest.mark.parametrize(
    ("result", "level"),
    [
        (Result.SENT, "info"),
        (Result.DEFERRED, "info"),
        (Result.DIVERTED, "info"),
        (Result.IN_DOUBT, "warning"),
        (Result.HELD, "warning"),
        (Result.FAILED, "warning"),
    ],
)
def test_what_needs_a_look_is_a_warning(result: Result, level: str) -> None:
    assert as_text(describe(replace(ATTEMPTED, result=result))).startswith(f"{level} attempted ")


def test_times_and_numbers_stay_what_they_are_in_json() -> None:
    row = json.loads(as_json(describe(replace(ATTEMPTED, due_at=NOON))))
    assert row["due_at"] == "2026-03-01T12:00:00.000Z"
    assert row["attempts"] == 1
    assert row["seconds"] == 0.012
    assert row["entry"] is None
    assert json.loads(as_json(describe(ACCEPTED)))["channels"] == ["native", "direct"]

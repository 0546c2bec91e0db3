"""Ids and replies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import MINUTE, NOON

from relay.mail.message import decode_id, encode_id, message_id
from relay.mail.reply import MAX_TEXT, Reply, make_reply


@given(st.integers(0, 2**63 - 1))
def test_an_id_reads_as_it_was_written(number):
    text = encode_id(number)
    assert len(text) == 13
    assert decode_id(text) == decode_id(text.lower()) == number


def test_ids_sort_by_time():
    assert message_id(NOON, 0) < message_id(NOON, 1) < message_id(NOON + MINUTE, 0)


@pytest.mark.parametrize("text", ["", "short", "UUUUUUUUUUUUU", "1M7ZQSZ8FN0ABC"])
def test_what_is_no_id_is_said_to_be_none(text):
    with pytest.raises(ValueError, match="queue id"):
        decode_id(text)


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        pytest.param(250, "ok", Reply(250, None, "ok"), id="no status"),
        pytest.param(550, "5.1.1 no", Reply(550, "5.1.1", "no"), id="status"),
        pytest.param(550, "5.1.1", Reply(550, "5.1.1", ""), id="status alone"),
        pytest.param(
            550, "5.7.1 one\n5.7.1 two", Reply(550, "5.7.1", "one\ntwo"), id="status on each line"
        ),
        pytest.param(550, "5.1.1no", Reply(550, None, "5.1.1no"), id="no blank, no status"),
        pytest.param(550, "a\x00\x1b[31mb\r\nc", Reply(550, None, "a[31mb\nc"), id="controls"),
        pytest.param(550, "x" * 5000, Reply(550, None, "x" * MAX_TEXT), id="capped"),
    ],
)
def test_a_reply_is_taken_apart(code, text, expected):
    assert make_reply(code, text) == expected


def test_a_reply_reads_on_one_line():
    assert str(make_reply(550, "5.7.1 one\n5.7.1 two")) == "550 5.7.1 one two"

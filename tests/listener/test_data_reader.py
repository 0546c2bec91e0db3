"""Content comes out the same however the stream is cut; only CRLF.CRLF ends it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.listener.data import DataReader

PIECES = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"a", b"..", b"xyz\r\n"]))


def read(chunks: list[bytes]) -> tuple[bytes, bytes | None]:
    """Return all content, and what follows the end when it came."""
    reader = DataReader()
    content = b""
    for index, chunk in enumerate(chunks):
        piece, rest = reader.read(chunk)
        content += piece
        if rest is not None:
            return content, rest + b"".join(chunks[index + 1 :])
    return content, None


def as_specified(stream: bytes) -> tuple[bytes, bytes]:
    """Say the same in the plainest words: lines, each loses one leading dot."""
    raw, _, rest = (b"\r\n" + stream).partition(b"\r\n.\r\n")
    lines = re.split(rb"\r\n|\r|\n", raw[2:]) if raw else []
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines), rest


@pytest.mark.parametrize(
    ("stream", "content"),
    [
        pytest.param(b".\r\n", b"", id="empty"),
        pytest.param(b"\r\n.\r\n", b"\r\n", id="one empty line"),
        pytest.param(b"a\r\n.\r\n", b"a\r\n", id="a line"),
        pytest.param(b"..\r\n.\r\n", b".\r\n", id="a dot"),
        pytest.param(b"a\r\n..b\r\n...\r\n.\r\n", b"a\r\n.b\r\n..\r\n", id="dots"),
        pytest.param(b".a\r\n.\r\n", b"a\r\n", id="a dot too many"),
        pytest.param(b"a.\r\n.\r\n", b"a.\r\n", id="dot at the end of a line"),
        pytest.param(b"a\nb\r\n.\r\n", b"a\r\nb\r\n", id="bare LF"),
        pytest.param(b"a\rb\r\n.\r\n", b"a\r\nb\r\n", id="bare CR"),
        pytest.param(b"a\n.b\r\n.\r\n", b"a\r\nb\r\n", id="a dot after bare LF"),
        pytest.param(b"a\n.\nb\r\n.\r\n", b"a\r\n\r\nb\r\n", id="LF.LF"),
        pytest.param(b"a\n.\r\nb\r\n.\r\n", b"a\r\n\r\nb\r\n", id="LF.CRLF"),
        pytest.param(b"a\r\n.\nb\r\n.\r\n", b"a\r\n\r\nb\r\n", id="CRLF.LF"),
        pytest.param(b"a\r\n.\rb\r\n.\r\n", b"a\r\n\r\nb\r\n", id="CRLF.CR"),
        pytest.param(b"a\r.\r\nb\r\n.\r\n", b"a\r\n\r\nb\r\n", id="CR.CRLF"),
        pytest.param(b"a\r\r\n.\r\n", b"a\r\n\r\n", id="CR CRLF"),
        pytest.param(b"\x00\xff\r\n.\r\n", b"\x00\xff\r\n", id="any octet"),
    ],
)
def test_one_stream_one_content(stream: bytes, content: bytes) -> None:
    assert as_specified(stream) == (content, b"")
    assert read([stream]) == (content, b"")
    assert read([stream[i : i + 1] for i in range(len(stream))]) == (content, b"")
    for cut in range(len(stream)):
        assert read([stream[:cut], stream[cut:]]) == (content, b"")


@pytest.mark.parametrize(
    "ending", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\n."]
)
def test_nothing_else_ends_the_data(ending: bytes) -> None:
    _, rest = read([b"a" + ending + b"MAIL FROM:<evil@example.com>\r\n"])
    assert rest is None


@given(PIECES, PIECES, st.data())
def test_any_cut_gives_the_same(
    before: list[bytes], after: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(before) + b"\r\n.\r\n" + b"".join(after)
    chunks = []
    left = stream
    while left:
        size = data.draw(st.integers(1, len(left)))
        chunks.append(left[:size])
        left = left[size:]
    content, rest = read(chunks)
    assert (content, rest) == as_specified(stream)
    assert content.count(b"\r\n") == content.count(b"\r") == content.count(b"\n")


@given(PIECES)
def test_little_is_held_back_before_the_end(pieces: list[bytes]) -> None:
    stream = b"".join(pieces)
    whole, rest = read([stream])
    if rest is None:
        assert as_specified(stream + b"\r\n.\r\n")[0].startswith(whole)
        assert len(stream) - len(whole) <= 4 + stream.count(b".")

"""From, Reply-To and what stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.rewrite import addresses_of, rewrite_from

ME = "me@example.com"


def is_mine(address: str) -> bool:
    return address == ME


def rewritten(text: str) -> str:
    content = text.replace("\n", "\r\n").encode()
    found = rewrite_from(content, is_mine, ME)
    assert found is not None
    assert content[: found.instead_of].endswith(b"\r\n")
    return (found.header + content[found.instead_of :]).decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "To: a@b.c\nFrom: Shop <shop@example.net>\nSubject: x\n\nFrom: body\n",
            (
                "To: a@b.c\nFrom: Shop <me@example.com>\nReply-To: Shop <shop@example.net>\n"
                "Subject: x\n\nFrom: body\n"
            ),
        ),
        (
            "From: shop@example.net\n\n.\n",
            "From: <me@example.com>\nReply-To: shop@example.net\n\n.\n",
        ),
        (
            "From: Shop <shop@example.net>\nReply-To: help@example.net\n\n",
            (
                "From: Shop <me@example.com>\nX-Original-From: Shop <shop@example.net>\n"
                "Reply-To: help@example.net\n\n"
            ),
        ),
        (
            'from : "Doe, <Jane>"\n <jane@example.net> (home)\nX: y\n\n',
            (
                'From: "Doe, <Jane>" <me@example.com>\n'
                'Reply-To: "Doe, <Jane>"\n <jane@example.net> (home)\nX: y\n\n'
            ),
        ),
        (
            "From: =?utf-8?q?J=C3=B6rg?= <j@example.net>\n\n",
            (
                "From: =?utf-8?q?J=C3=B6rg?= <me@example.com>\n"
                "Reply-To: =?utf-8?q?J=C3=B6rg?= <j@example.net>\n\n"
            ),
        ),
        (
            "From: A <a@x.y>, B <b@x.y>\n\n",
            "From: <me@example.com>\nReply-To: A <a@x.y>, B <b@x.y>\n\n",
        ),
        (
            "From: a@x.y\nno field\n more\nFrom: b@x.y\n\n",
            "From: <me@example.com>\nReply-To: a@x.y\nno field\n more\n\n",
        ),
    ],
)
def test_the_author_is_kept_for_the_answer_and_nothing_else_changes(before, after):
    assert rewritten(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "From: Me <Me@Example.com>\r\n\r\n",
        "Subject: nobody wrote it\r\n\r\nFrom: x@y.z\r\n",
        "\r\nFrom: x@y.z\r\n",
        "",
        "From: half a line",
    ],
)
def test_what_is_allowed_stays_as_it_is(text):
    assert rewrite_from(text.encode(), is_mine, ME) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b" A <a@X.y>", ("a@x.y",)),
        (b' "<me@example.com>" <b@x.y>', ("b@x.y",)),
        (b" (me@example.com (a)) b@x.y", ("b@x.y",)),
        (b" a@x.y, B <b@x.y>", ("a@x.y", "b@x.y")),
        (b" nonsense", ("nonsense",)),
        (b" ", ()),
    ],
)
def test_addresses_are_found_where_people_hide_others(value, expected):
    assert addresses_of(value) == expected


def test_a_header_without_end_is_rewritten_as_far_as_it_is_read():
    content = b"From: a@x.y\r\n" + b"X: " + b"y" * 998 + b"\r\n" + b"Z: z\r\n z\r\n" * 20_000
    found = rewrite_from(content, is_mine, ME)
    assert found is not None
    assert found.instead_of <= 64 * 1024
    assert found.header.startswith(b"From: <me@example.com>\r\nReply-To: a@x.y\r\nX: yyy")
    assert content[found.instead_of : found.instead_of + 1] == b"Z"


@given(st.binary(max_size=200))
def test_no_octet_of_the_rest_is_lost(junk):
    content = b"X: 1\r\nFrom: a@x.y\r\n" + junk.replace(b"\r", b"").replace(b"\n", b"\r\n")
    found = rewrite_from(content + b"\r\n\r\nbody", is_mine, ME)
    if found is None:
        return
    assert found.header.startswith(b"X: 1\r\nFrom: <me@example.com>\r\n")

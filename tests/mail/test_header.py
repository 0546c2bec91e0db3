"""Headers read within bounds, and the fields that are put in front."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from relay.mail.header import (
    MAX_FIELD_BYTES,
    MAX_FIELDS,
    MAX_HEADER_BYTES,
    Field,
    HeaderFacts,
    date_time,
    fields,
    header_end,
    missing_fields,
    protocol_name,
    received_field,
    scan_header,
)

NOON = datetime(2026, 3, 5, 12, 0, 7, tzinfo=UTC)
HOP = b"Received: from a by b; x\r\n\tfolded: received:\r\n"
MAILBOX_LINE = b"X-Mailbox-Line: "


def facts(
    hops: int = 0, date: bool = False, message_id: bool = False, joint: bytes = b""
) -> HeaderFacts:
    return HeaderFacts(hops=hops, has_date=date, has_message_id=message_id, joint=joint)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", facts(), id="nothing"),
        pytest.param(b"Subject: x\r\n\r\nbody", facts(), id="neither"),
        pytest.param(b"Date: x\r\nMessage-ID: y\r\n\r\n", facts(0, True, True), id="both"),
        pytest.param(b"dATE:x\r\nMESSAGE-id:y\r\n\r\n", facts(0, True, True), id="any case"),
        pytest.param(b"Date : x\r\n\r\n", facts(0, True), id="blank before the colon"),
        pytest.param(b"Subject: a\r\n Date: b\r\n\r\n", facts(), id="folded, no field"),
        pytest.param(b"A: b\r\n\r\nDate: x\r\n", facts(), id="in the body"),
        pytest.param(b"Date: x\r\n", facts(0, True), id="no body"),
        pytest.param(b"\r\nDate: x\r\n", facts(), id="no header"),
        pytest.param(HOP * 3 + b"Date: x\r\n\r\n" + HOP, facts(3, True), id="hops"),
        pytest.param(b"hello\r\nDate: x\r\n\r\n", facts(0, True, joint=b"\r\n"), id="text alone"),
        pytest.param(b" folded\r\n", facts(joint=b"\r\n"), id="begins folded"),
        pytest.param(
            b"From a@b Thu Mar  5 12:00:00 2026\r\nDate: x\r\n\r\n",
            facts(0, True, joint=MAILBOX_LINE),
            id="mailbox line",
        ),
        pytest.param(b"A: " + b"x" * MAX_HEADER_BYTES, facts(0, True, True), id="too long to know"),
        pytest.param(
            HOP * 60 + b"A: " + b"x" * MAX_HEADER_BYTES, facts(60, True, True), id="long, hops"
        ),
    ],
)
def test_a_header_is_scanned(content: bytes, expected: HeaderFacts) -> None:
    assert scan_header(content) == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [(b"A: b\r\n\r\nbody", 6), (b"\r\nbody", 0), (b"A: b\r\n", -1), (b"", -1)],
)
def test_the_header_ends_before_the_empty_line(head: bytes, expected: int) -> None:
    assert header_end(head) == expected


def test_fields_are_unfolded_in_order() -> None:
    head = b"A: b\r\nSubject:  one\r\n two\r\n\tthree \r\nno field\r\na: c\r\n\r\nX: body\r\n"
    assert list(fields(head)) == [
        Field(b"A", b"b"),
        Field(b"Subject", b"one two\tthree"),
        Field(b"a", b"c"),
    ]


def test_fields_are_bounded_in_number_and_size() -> None:
    many = list(fields(b"A: b\r\n" * 1000))
    assert len(many) == MAX_FIELDS
    (long,) = fields(b"A: " + b"x" * 20_000 + b"\r\n\r\n")
    assert len(long.value) <= MAX_FIELD_BYTES
    (huge,) = fields(b"A: x\r\n" + b" y\r\n" * 100_000)
    assert len(huge.value) <= MAX_FIELD_BYTES


def test_a_date_is_written_in_utc() -> None:
    assert date_time(NOON) == "Thu, 5 Mar 2026 12:00:07 +0000"
    tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
    assert date_time(tokyo) == "Thu, 5 Mar 2026 12:00:07 +0000"


@pytest.mark.parametrize(
    ("extended", "tls", "authenticated", "smtputf8", "expected"),
    [
        (False, False, False, False, "SMTP"),
        (True, False, False, False, "ESMTP"),
        (True, True, False, False, "ESMTPS"),
        (True, False, True, False, "ESMTPA"),
        (True, True, True, False, "ESMTPSA"),
        (True, False, False, True, "UTF8SMTP"),
        (True, True, False, True, "UTF8SMTPS"),
        (True, False, True, True, "UTF8SMTPA"),
        (True, True, True, True, "UTF8SMTPSA"),
    ],
)
def test_the_protocol_has_a_registered_name(
    extended: bool, tls: bool, authenticated: bool, smtputf8: bool, expected: str
) -> None:
    name = protocol_name(extended=extended, tls=tls, authenticated=authenticated, smtputf8=smtputf8)
    assert name == expected


@pytest.mark.parametrize(
    ("helo", "client", "expected"),
    [
        ("app.example", "192.0.2.7", b"from app.example ([192.0.2.7])"),
        ("[127.0.0.1]", "127.0.0.1", b"from [127.0.0.1] ([127.0.0.1])"),
        ("x", "2001:db8::7", b"from x ([IPv6:2001:db8::7])"),
        ("", "127.0.0.1", b"from unknown ([127.0.0.1])"),
        ("local", "", b"from local"),
        ("a\r\nBcc: x", "::1", b"from a??Bcc:?x ([IPv6:::1])"),
        ("a (b) <c>;\0é", "::1", b"from a??b???c???? ([IPv6:::1])"),
        ("h" * 300, "::1", b"from " + b"h" * 255 + b" ([IPv6:::1])"),
    ],
)
def test_the_trace_field_holds_what_a_client_says_in_its_place(
    helo: str, client: str, expected: bytes
) -> None:
    field = received_field(
        helo=helo, client=client, hostname="mx", protocol="ESMTP", queue_id="ABC", at=NOON
    )
    assert field == (
        b"Received: %b\r\n\tby mx (relay) with ESMTP id ABC;\r\n"
        b"\tThu, 5 Mar 2026 12:00:07 +0000\r\n" % expected
    )


def test_only_what_is_missing_is_added() -> None:
    def added(known: HeaderFacts) -> bytes:
        return missing_fields(known, hostname="mx.example", queue_id="ABC", at=NOON)

    date = b"Date: Thu, 5 Mar 2026 12:00:07 +0000\r\n"
    message_id = b"Message-ID: <ABC@mx.example>\r\n"
    assert added(facts()) == date + message_id
    assert added(facts(date=True)) == message_id
    assert added(facts(message_id=True)) == date
    assert added(facts(date=True, message_id=True)) == b""

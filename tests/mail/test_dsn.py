"""Reports: RFC 3464 for programs, plain words for people, nothing that a server could forge."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes, policy

import pytest
from making import DAY, NOON

from relay.mail.dsn import Action, Failure, Report, header_of, render
from relay.mail.reply import Reply, make_reply

FAILURE = Failure(
    forward_path="bad@example.net",
    reply=make_reply(550, "5.1.1 no such user"),
    cause="The address does not exist.",
    upstream="smtp.example.org:587",
    attempted_at=NOON,
)
REPORT = Report(
    action=Action.FAILED,
    number="1M7ZQSZ8FN0AB",
    reporter="relay.example.com",
    sender="postmaster@example.com",
    sender_name="Mail Delivery System",
    to="shop@example.com",
    about="1M7ZQSZ8FN0AA",
    subject="Rechnung 118",
    received_at=NOON,
    retry_until=None,
    now=NOON,
    failures=(FAILURE,),
    header=b"From: shop@example.com\r\nSubject: Rechnung 118\r\n",
)


def test_a_report_has_the_three_parts_of_rfc_3464():
    content = render(REPORT)
    assert content.count(b"\n") == content.count(b"\r\n")
    message = message_from_bytes(content, policy=policy.default)
    assert message["From"] == "Mail Delivery System <postmaster@example.com>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Content-Type"].params["report-type"] == "delivery-status"
    words, status, header = message.iter_parts()
    assert "The address does not exist." in words.get_content()
    assert "550 5.1.1 no such user" in words.get_content()
    about_message, about_recipient = status.get_payload()
    assert about_message["Reporting-MTA"] == "dns; relay.example.com"
    assert about_recipient["Final-Recipient"] == "rfc822; bad@example.net"
    assert about_recipient["Action"] == "failed"
    assert about_recipient["Status"] == "5.1.1"
    assert about_recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert about_recipient["Remote-MTA"] == "dns; smtp.example.org"
    assert header.get_content_type() == "text/rfc822-headers"
    assert "Rechnung 118" in header.get_content()


@pytest.mark.parametrize(
    ("action", "reply", "status"),
    [
        (Action.FAILED, Reply(550, None, "no"), "5.0.0"),
        (Action.FAILED, Reply(451, "4.4.1", "no"), "5.4.1"),
        (Action.DELAYED, Reply(451, "4.4.1", "no"), "4.4.1"),
        (Action.DELAYED, Reply(550, "5.4.5", "over quota"), "4.4.5"),
    ],
)
def test_the_status_fits_the_action(action, reply, status):
    failures = (replace(FAILURE, reply=reply),)
    content = render(replace(REPORT, action=action, failures=failures, retry_until=NOON + DAY))
    assert f"\r\nStatus: {status}\r\n".encode() in content


def test_what_a_server_says_cannot_forge_lines():
    reply = Reply(550, None, "no\r\n\r\n--report-1M7ZQSZ8FN0AB--\r\nX: y")
    content = render(replace(REPORT, failures=(replace(FAILURE, reply=reply),)))
    assert content.count(b"\r\n--report-1M7ZQSZ8FN0AB--") == 1
    assert b"\r\nX: y" not in content


def test_addresses_beyond_ascii_make_it_a_global_report():
    failure = replace(FAILURE, forward_path="jörg@example.net")
    content = render(replace(REPORT, failures=(failure,)))
    assert b"Final-Recipient: utf-8; j\xc3\xb6rg@example.net" in content
    assert b"message/global-delivery-status" in content


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"A: 1\r\nB: 2\r\n\r\nbody\r\n", b"A: 1\r\nB: 2\r\n"),
        (b"A: 1\r\nB: cut", b"A: 1\r\n"),
        (b"\r\nbody", b"\r\n"),
        (b"", b""),
    ],
)
def test_gives_back_the_header_alone(content, expected):
    assert header_of(content) == expected

"""What stock aiosmtpd gets wrong, row by row: each test is named for its row."""

from __future__ import annotations

import gc
import os
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from listening import PATIENCE, House

from relay.listener.intake import SLACK_BYTES
from relay.listener.options import Application, Auth, Tls
from relay.mail.reply import Reply

Open = Callable[..., House]
APP = Application("app", lambda: "secret")
MIB = 1024 * 1024


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def plain(login: bytes, password: bytes) -> bytes:
    return b64encode(b"\0" + login + b"\0" + password)


def test_row_01_30_mb_of_empty_lines_need_little_memory_and_stall_nobody(open_house: Open) -> None:
    house = open_house()
    gc.collect()
    before = peak = resident_bytes()
    longest = 0.0
    with house.client() as client, house.client() as other:
        client.begin()
        chunk = b"\r\n" * 500_000
        for _ in range(30):
            client.send(chunk)
            peak = max(peak, resident_bytes())
            asked = time.monotonic()
            assert other.say(b"NOOP").startswith(b"250")
            longest = max(longest, time.monotonic() - asked)
        assert client.say(b".").startswith(b"250")
    assert peak - before < 16 * MIB
    assert longest < 0.5
    assert len(house.desk.contents[0]) > 30_000_000


def test_row_02_an_endless_command_line_is_dropped_and_then_hung_up(open_house: Open) -> None:
    house = open_house()
    before = resident_bytes()
    with house.client() as client:
        assert client.flood(b"x" * MIB, 100) == "hung up"
    house.settled()
    assert resident_bytes() - before < 16 * MIB
    assert house.refusals == [("abuse", "command line without end")]


def test_row_02_an_endless_line_of_content_is_dropped_and_then_hung_up(open_house: Open) -> None:
    house = open_house(max_message_bytes=MIB)
    before = resident_bytes()
    with house.client() as client:
        client.begin()
        assert client.flood(b"x" * MIB, 2 + 2 * SLACK_BYTES // MIB) == "hung up"
    house.settled()
    assert resident_bytes() - before < 16 * MIB
    assert house.refusals == [("size", "message without end")]
    assert list(house.spool.iterdir()) == []


def test_row_02_a_long_command_line_costs_one_reply(open_house: Open) -> None:
    with open_house().client() as client:
        assert client.say(b"NOOP " + b"x" * 4090).startswith(b"250")
        assert client.say(b"NOOP " + b"x" * 4091).startswith(b"500 5.5.2")
        assert client.say(b"x" * 300_000).startswith(b"500 5.5.2")
        assert client.say(b"NOOP").startswith(b"250")


def test_row_03_a_message_before_a_half_close_is_taken_and_answered(open_house: Open) -> None:
    house = open_house()
    with house.client(greeting=False) as client:
        client.send(
            b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"
            b"Subject: x\r\n\r\nhello\r\n.\r\n"
        )
        client.half_close()
        assert client.rest().endswith(b"250 2.0.0 queued\r\n")
    assert house.desk.contents[0].endswith(b"Subject: x\r\n\r\nhello\r\n")


def test_row_03_a_half_close_while_the_message_is_taken_cancels_nothing(open_house: Open) -> None:
    house = open_house()
    release = house.hold()
    with house.client() as client:
        client.begin()
        client.send(b"one\r\n.\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
        client.send(b"two\r\n.\r\nQUIT\r\n")
        client.half_close()
        assert house.desk.arrived.wait(PATIENCE)
        release()
        codes = [line[:3] for line in client.rest().split(b"\r\n")]
    assert codes == [b"250", b"250", b"250", b"354", b"250", b"221", b""]
    assert len(house.desk.messages) == 2


def test_row_03_a_lost_connection_while_the_message_is_taken_cancels_nothing(
    open_house: Open,
) -> None:
    house = open_house()
    release = house.hold()
    with house.client() as client:
        client.begin()
        client.send(b"one\r\n.\r\n")
        assert house.desk.arrived.wait(PATIENCE)
    release()
    house.settled()
    assert len(house.desk.messages) == 1
    assert not house.crashes


@pytest.mark.parametrize(
    "path",
    [
        b"<=?utf-8?q?x=0d=0aBcc:x?=@r.example>",
        b'<"a',
        b"<",
        b"<a@[1>",
        b"<a b@c>",
        b'<"a@b>',
        b"<a\\",
        b"<a\x00@b>",
        b"<a\x01@b>",
        b'<"a\rb"@c>',
        b"<a\\b@c>",
    ],
)
def test_row_04_what_is_no_path_is_refused_in_our_own_words(
    open_quickly: Open, path: bytes
) -> None:
    house = open_quickly()
    with house.client() as client:
        client.say(b"EHLO x")
        assert client.say(b"MAIL FROM:" + path).startswith(b"501 5.1.7 sender address: ")
        client.say(b"MAIL FROM:<a@b.example>")
        assert client.say(b"RCPT TO:" + path).startswith(b"501 5.1.3 recipient address: ")
    assert not house.crashes


def test_row_04_encoded_words_are_not_decoded(open_house: Open) -> None:
    house = open_house()
    with house.client() as client:
        client.begin(b"<a@b.example>", b"<=?utf-8?q?x=40y?=@r.example>", b'<"a\\b"@c>')
        assert client.say(b"x\r\n.").startswith(b"250")
    forward_paths = house.desk.messages[0].envelope.forward_paths
    assert forward_paths == ("=?utf-8?q?x=40y?=@r.example", '"a\\b"@c')


def test_row_05_recipients_are_limited_and_the_null_path_is_none(open_house: Open) -> None:
    house = open_house(max_recipients=100)
    with house.client() as client:
        client.all(b"EHLO x", b"MAIL FROM:<a@b.example>")
        assert client.say(b"RCPT TO:<>").startswith(b"501 5.1.3")
        for number in range(100):
            assert client.say(b"RCPT TO:<r%d@d.example>" % number).startswith(b"250")
        client.send(b"RCPT TO:<one-more@d.example>\r\n" * 2000)
        assert {client.reply()[:9] for _ in range(2000)} == {b"452 4.5.3"}
        assert client.say(b"DATA").startswith(b"354")
        assert client.say(b"x\r\n.").startswith(b"250")
    assert len(house.desk.messages[0].envelope.forward_paths) == 100
    assert [reason for reason, _ in house.refusals] == ["syntax", "recipients"]


@pytest.mark.parametrize("size", ["²", "١٢٣", "-1", "1_0", "+1", "0x1", "1" * 21, ""])
def test_row_06_a_size_is_ascii_digits(open_quickly: Open, size: str) -> None:
    house = open_quickly()
    with house.client() as client:
        client.say(b"EHLO x")
        reply = client.say(f"MAIL FROM:<a@b.example> SIZE={size}".encode())
        assert reply.startswith(b"501 5.5.4")
        assert client.say(b"MAIL FROM:<a@b.example> SIZE=10").startswith(b"250")
    assert not house.crashes


def test_row_06_no_word_of_an_exception_goes_to_the_client(open_house: Open) -> None:
    house = open_house()
    house.desk.answer = ValueError("the password is hunter2")
    with house.client() as client:
        client.begin()
        reply = client.say(b"x\r\n.")
    (crash,) = house.crashes
    reference = reply.removeprefix(b"451 4.3.0 internal error, reference ").decode()
    assert crash.detail.startswith(f"{reference}: ValueError: the password is hunter2")


def test_row_07_an_auth_response_may_have_12288_octets(open_house: Open) -> None:
    long = "p" * 9000
    house = open_house(auth=Auth.REQUIRED, applications=(Application("app", lambda: long),))
    with house.client() as client:
        client.say(b"EHLO x")
        assert client.say(b"AUTH PLAIN") == b"334 "
        response = plain(b"app", long.encode())
        assert 12_000 < len(response) <= 12_288
        assert client.say(response).startswith(b"235 2.7.0")
    with house.client() as client:
        client.say(b"EHLO x")
        assert client.say(b"AUTH PLAIN " + response).startswith(b"235 2.7.0")


def test_row_07_a_longer_response_ends_the_exchange_in_step(open_house: Open) -> None:
    house = open_house(auth=Auth.REQUIRED, applications=(APP,))
    with house.client() as client:
        client.all(b"EHLO x", b"AUTH PLAIN")
        assert client.say(b"A" * 20_000).startswith(b"500 5.5.6")
        assert client.say(b"NOOP").startswith(b"250")
        assert client.say(b"AUTH PLAIN " + plain(b"app", b"secret")).startswith(b"235")


def test_row_08_three_wrong_passwords_end_the_session(open_house: Open) -> None:
    house = open_house(auth=Auth.REQUIRED, applications=(APP,))
    with house.client() as client:
        client.say(b"EHLO x")
        wrong = b"AUTH PLAIN " + plain(b"app", b"guess")
        assert [reply[:9] for reply in client.all(wrong, wrong, wrong)] == [
            b"535 5.7.8",
            b"535 5.7.8",
            b"421 4.7.0",
        ]
        assert client.rest() == b""
    assert house.refusals == [("auth", "wrong login or password for b'app'")] * 3


@pytest.mark.parametrize(
    "line", [b"NOOP", b"RSET", b"VRFY x", b"HELP", b"EHLO x", b"nonsense", b""]
)
def test_row_08_a_hundred_commands_that_move_no_mail_are_enough(
    open_quickly: Open, line: bytes
) -> None:
    house = open_quickly()
    with house.client() as client:
        client.send((line + b"\r\n") * 100)
        replies = [client.reply() for _ in range(100)]
        assert all(reply[:3] != b"421" for reply in replies)
        assert client.rest().startswith(b"421 4.7.0")
    assert [reason for reason, _ in house.refusals] == ["abuse"]


def test_row_08_connections_are_limited(open_house: Open) -> None:
    house = open_house(max_connections=2)
    with house.client(), house.client(), house.client(greeting=False) as third:
        assert third.rest().startswith(b"421 4.7.0 too many connections")
    house.settled()
    with house.client() as again:
        assert again.say(b"NOOP").startswith(b"250")
    assert [reason for reason, _ in house.refusals] == ["busy"]


def test_row_09_loopback_offers_no_starttls_by_default(open_house: Open) -> None:
    with open_house().client() as client:
        assert b"STARTTLS" not in client.say(b"EHLO x")
        assert client.say(b"STARTTLS").startswith(b"502 5.5.1")


def test_row_09_starttls_within_tls_is_out_of_order(
    open_house: Open, certificate: dict[str, str]
) -> None:
    house = open_house(tls=Tls.STARTTLS, **certificate)
    with house.client() as client:
        assert b"250 STARTTLS" in client.say(b"EHLO x")
        assert client.say(b"STARTTLS").startswith(b"220")
        client.upgrade(ssl.create_default_context(cafile=certificate["certificate"]))
        assert b"STARTTLS" not in client.say(b"EHLO x")
        assert client.say(b"STARTTLS").startswith(b"503 5.5.1")
        assert client.say(b"NOOP").startswith(b"250")


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
def test_row_09_a_broken_handshake_is_one_event(
    open_house: Open, certificate: dict[str, str], tls: Tls
) -> None:
    house = open_house(tls=tls, **certificate)
    with house.client(greeting=tls is Tls.STARTTLS) as client:
        if tls is Tls.STARTTLS:
            assert client.say(b"STARTTLS").startswith(b"220")
        client.send(b"this is no ClientHello\r\n" * 10)
        client.rest()
    house.settled()
    ((reason, detail),) = house.refusals
    assert reason == "access"
    assert detail.startswith("TLS handshake: ")


@pytest.mark.parametrize("verb", [b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS"])
@pytest.mark.parametrize("more", [b"", b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n"])
def test_row_10_http_is_hung_up_at_once(open_quickly: Open, verb: bytes, more: bytes) -> None:
    house = open_quickly()
    with house.client() as client:
        client.send(verb.lower() + b" / HTTP/1.1\r\n" + more)
        assert client.rest() == b"421 4.7.0 this is not HTTP\r\n"
    assert house.refusals == [("abuse", "HTTP on the SMTP port")]


@pytest.mark.parametrize("line", [b"CONNECT x:25 HTTP/1.1", b"PATCH /", b"Host: x", b"Origin: x"])
def test_row_10_so_are_its_headers(open_quickly: Open, line: bytes) -> None:
    with open_quickly().client() as client:
        assert client.say(line).startswith(b"421 4.7.0")
        assert client.rest() == b""


def test_row_11_a_reply_is_one_write(open_house: Open) -> None:
    with open_house().client() as client:
        client.send(b"EHLO x\r\n")
        assert client.read().endswith(b"\r\n250 ENHANCEDSTATUSCODES\r\n")


def test_row_12_what_is_offered_is_what_is_honoured(open_house: Open) -> None:
    house = open_house(max_message_bytes=1000)
    with house.client() as client:
        assert client.say(b"EHLO x").split(b"\r\n") == [
            b"250-mx.example",
            b"250-PIPELINING",
            b"250-SIZE 1000",
            b"250-8BITMIME",
            b"250-SMTPUTF8",
            b"250 ENHANCEDSTATUSCODES",
        ]
        assert client.say(b"MAIL FROM:<a@b.example> AUTH=<>").startswith(b"250")
        client.say(b"RSET")
        assert client.say(b"MAIL FROM:<a@b.example> RET=HDRS").startswith(b"555 5.5.4")
        client.say(b"MAIL FROM:<a@b.example> AUTH=a@b")
        assert client.say(b"RCPT TO:<c@d.example> NOTIFY=NEVER").startswith(b"555 5.5.4")
        assert client.say(b"BDAT 5 LAST").startswith(b"421")


def test_row_13_mechanisms_have_no_case_and_no_place_in_a_transaction(open_house: Open) -> None:
    house = open_house(auth=Auth.OPTIONAL, applications=(APP,))
    good = plain(b"app", b"secret")
    with house.client() as client:
        client.all(b"EHLO x", b"MAIL FROM:<a@b.example>")
        assert client.say(b"AUTH PLAIN " + good).startswith(b"503 5.5.1")
        client.say(b"RSET")
        assert client.say(b"auth plain " + good).startswith(b"235")
        assert client.say(b"AUTH PLAIN " + good).startswith(b"503 5.5.1")


def test_row_14_data_that_flows_is_never_cut(open_house: Open) -> None:
    house = open_house(idle_seconds=0.15)
    with house.client() as client:
        client.begin()
        assert client.flood(b"a line\r\n", 10, every=0.05) == "all sent"
        assert client.say(b".").startswith(b"250")
        assert client.reply() == b"421 4.4.2 timeout"
    assert [reason for reason, _ in house.refusals] == ["timeout"]


def test_row_14_a_command_that_drips_in_is_cut(open_house: Open) -> None:
    """A hundred clients that send a letter now and then would keep everybody else out."""
    house = open_house(idle_seconds=0.2)
    with house.client() as client:
        assert client.flood(b"E", 100, every=0.05) != "all sent"
    assert [reason for reason, _ in house.refusals] == ["timeout"]


def test_row_14_a_slow_commit_is_not_cancelled_by_a_timer(open_house: Open) -> None:
    house = open_house(idle_seconds=0.05, transaction_seconds=0.1)
    release = house.hold()
    with house.client() as client:
        client.begin()
        client.send(b"x\r\n.\r\n")
        assert house.desk.arrived.wait(PATIENCE)
        threading.Event().wait(0.3)
        release()
        assert client.reply() == b"250 2.0.0 queued"


def test_row_14_a_transaction_has_its_time(open_house: Open) -> None:
    house = open_house(transaction_seconds=0.2)
    with house.client() as client:
        client.begin()
        assert client.flood(b"a line\r\n", 100, every=0.05) == "hung up"
    house.settled()
    assert [reason for reason, _ in house.refusals] == ["timeout"]
    assert house.desk.messages == []


def test_row_15_sessions_share_no_limits(open_house: Open) -> None:
    house = open_house()
    parameter = b" AUTH=" + b"x" * 3900
    with house.client() as one:
        for _ in range(5):
            one.say(b"EHLO x")
        with house.client() as two:
            two.say(b"HELO x")
            for client in (one, two):
                assert client.say(b"MAIL FROM:<a@b.example>" + parameter).startswith(b"250")
                assert client.say(b"NOOP " + b"x" * 5000).startswith(b"500 5.5.2")


def test_row_16_a_message_is_traced_and_goes_in_no_circles(open_house: Open) -> None:
    house = open_house(max_hops=3)
    content = house.deliver(b"Received: x\r\n" * 3 + b"Subject: x\r\n\r\nbody\r\n.\r\n")
    assert content.startswith(
        b"Received: from app ([127.0.0.1])\r\n\tby mx.example (relay) with ESMTP id %b;\r\n"
        b"\tThu, 5 Mar 2026 12:00:07 +0000\r\n"
        b"Date: Thu, 5 Mar 2026 12:00:07 +0000\r\n"
        b"Message-ID: <%b@mx.example>\r\n"
        b"Received: x\r\n" % ((house.desk.messages[0].queue_id.encode(),) * 2)
    )
    with house.client() as client:
        client.begin()
        assert client.say(b"Received: x\r\n" * 4 + b"\r\nbody\r\n.").startswith(b"554 5.4.6")
        client.begin()
        large = b"Received: x\r\n" * 4 + b"\r\n" + b"x" * 200_000 + b"\r\n."
        assert client.say(large).startswith(b"554 5.4.6")
    assert [reason for reason, _ in house.refusals] == ["hops", "hops"]
    assert list(house.spool.iterdir()) == []


def test_row_17_bare_line_ends_are_normalised_and_smuggle_nothing(open_house: Open) -> None:
    house = open_house()
    for ending in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r"):
        smuggled = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<x@example.com>\r\nDATA\r\nevil"
        content = house.deliver(b"A: b\n\none\rtwo" + ending + smuggled + b"\r\n.\r\n")
        assert b"A: b\r\n\r\none\r\ntwo\r\n" in content
        assert smuggled in content
        assert content.count(b"\r\n") == content.count(b"\r") == content.count(b"\n")
    assert len(house.desk.messages) == 5


def test_row_18_after_a_fault_of_ours_the_session_goes_on(open_house: Open) -> None:
    house = open_house()
    house.desk.answer = RuntimeError("broken")
    with house.client() as client:
        client.begin()
        assert client.say(b"x\r\n.").startswith(b"451 4.3.0")
        house.desk.answer = Reply(250, "2.0.0", "queued")
        client.begin()
        assert client.say(b"x\r\n.").startswith(b"250 2.0.0")


def test_row_18_a_full_disk_is_a_transient_fault(open_house: Open) -> None:
    house = open_house()
    house.spool.rmdir()
    large = b"x" * 70 + b"\r\n"
    with house.client() as client:
        client.begin()
        assert client.say(large * 3000 + b".").startswith(b"452 4.3.1")
        house.spool.mkdir()
        client.begin()
        assert client.say(large * 3000 + b".").startswith(b"250 2.0.0")
    assert house.refusals == [("store", f"{house.spool}: No such file or directory")]

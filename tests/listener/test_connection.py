"""Sessions over sockets: large and small content, pipelining, half-close, limits, draining."""

from __future__ import annotations

import asyncio
import gc
import smtplib
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from listening import PATIENCE, Desk, House
from test_hostile_table import resident_bytes

from relay.listener.intake import MAX_IN_MEMORY
from relay.listener.listeners import open_listeners
from relay.listener.options import ListenerOptions
from relay.listener.tls import ListenerError
from relay.mail.message import Spooled
from relay.mail.reply import Reply
from relay.observe.journal import Journal
from relay.queue.spool import Spool

Open = Callable[..., House]
MIB = 1024 * 1024
HEAD = b"Date: Thu, 5 Mar 2026 12:00:07 +0000\r\nMessage-ID: <1@x>\r\n\r\n"


def body(size: int) -> bytes:
    """Return about `size` bytes of lines, some of which begin with dots."""
    line = b".dot" + b"x" * 60 + b"\r\n"
    return HEAD + line * (size // len(line))


def stuffed(content: bytes) -> bytes:
    return content.replace(b"\r\n.", b"\r\n..") + b".\r\n"


@pytest.mark.parametrize(
    "size", [0, 2000, MAX_IN_MEMORY - 400, MAX_IN_MEMORY + 400, 300_000, 5 * MIB]
)
def test_content_arrives_byte_for_byte(open_house: Open, size: int) -> None:
    house = open_house()
    sent = body(size)
    arrived = house.deliver(stuffed(sent))
    (message,) = house.desk.messages
    trace, _, rest = arrived.partition(b"Date: ")
    assert b"Date: " + rest == sent
    assert trace.startswith(b"Received: from app ")
    assert message.size_bytes == len(arrived)
    assert isinstance(message.content, Spooled) == (size >= MAX_IN_MEMORY)


def test_a_large_message_needs_little_memory(open_house: Open) -> None:
    house = open_house()
    chunk = b"x" * 998 + b"\r\n"
    gc.collect()
    before = peak = resident_bytes()
    with house.client() as client:
        client.begin()
        for _ in range(40):
            client.send(chunk * 1000)
            peak = max(peak, resident_bytes())
        before_contents = peak
        house.desk.answer = Reply(250, "2.0.0", "queued")
        assert client.say(b".").startswith(b"250")
    assert before_contents - before < 8 * MIB


def test_a_mailbox_line_and_a_missing_header_stay_what_they_are(open_house: Open) -> None:
    house = open_house()
    arrived = house.deliver(b"From a@b Thu Mar  5 12:00:00 2026\r\nSubject: x\r\n\r\nhi\r\n.\r\n")
    assert b"X-Mailbox-Line: From a@b Thu Mar  5 12:00:00 2026\r\nSubject: x\r\n" in arrived
    assert house.deliver(b"just text\r\n.\r\n").endswith(b">\r\n\r\njust text\r\n")


def test_pipelined_transactions_are_answered_in_order(open_house: Open) -> None:
    house = open_house()
    one = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nnumber %d\r\n.\r\n"
    with house.client() as client:
        client.send(b"EHLO x\r\n" + b"".join(one % number for number in range(300)) + b"QUIT\r\n")
        codes = [line[:3] for line in client.rest().split(b"\r\n")]
    assert codes.count(b"354") == 300
    assert codes[-2:] == [b"221", b""]
    assert [int(content.split()[-1]) for content in house.desk.contents] == list(range(300))


def test_a_client_that_sends_on_while_its_message_is_taken_has_to_wait(open_house: Open) -> None:
    house = open_house()
    release = house.hold()
    more = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"
    large = (b"x" * 998 + b"\r\n") * 16_000
    with house.client() as client:
        client.begin()
        client.send(b"one\r\n.\r\n" + more)
        assert house.desk.arrived.wait(PATIENCE)
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.send(large)
        client.socket.settimeout(PATIENCE)
        release()
        assert client.reply().startswith(b"250")


def test_a_client_that_reads_no_replies_is_read_no_more(open_house: Open) -> None:
    house = open_house(max_recipients=10_000_000)
    with house.client() as client:
        client.say(b"EHLO x")
        client.say(b"MAIL FROM:<a@b.example>")
        client.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.flood(b"RCPT TO:<c@d.example>\r\n" * 10_000, 1000)
    house.settled()


def test_a_client_that_reads_replies_late_gets_them_all(open_house: Open) -> None:
    house = open_house(max_recipients=10_000_000)
    commands = 150_000
    with house.client() as client:
        client.say(b"EHLO x")
        client.say(b"MAIL FROM:<a@b.example>")
        sender = threading.Thread(
            target=client.send, args=(b"RCPT TO:<c@d.example>\r\n" * commands + b"QUIT\r\n",)
        )
        sender.start()
        sender.join(0.5)
        assert client.rest().count(b"250 2.1.5") == commands
        sender.join()


@pytest.mark.parametrize("size", [100, 200_000])
def test_a_connection_lost_before_the_final_dot_delivers_nothing(
    open_house: Open, size: int
) -> None:
    for half_close in (True, False):
        house = open_house()
        with house.client() as client:
            client.begin()
            client.send(body(size) + b"\r\n.\r")
            if half_close:
                client.half_close()
                assert client.rest() == b""
        house.settled()
        assert house.desk.messages == []
        assert list(house.spool.iterdir()) == []


@pytest.mark.parametrize(
    "answer", [Reply(451, "4.3.0", "later"), Reply(550, "5.7.1", "never"), OSError("broken")]
)
def test_a_message_that_is_not_taken_leaves_no_file(
    open_house: Open, answer: Reply | Exception
) -> None:
    house = open_house()
    house.desk.answer = answer
    with house.client() as client:
        client.begin()
        assert client.say(body(200_000) + b".")[:1] in b"45"
        assert list(house.spool.iterdir()) == []


def test_a_message_over_the_limit_is_refused_and_the_session_goes_on(open_house: Open) -> None:
    house = open_house(max_message_bytes=100_000)
    with house.client() as client:
        client.begin()
        assert client.say(body(110_000) + b".").startswith(b"552 5.3.4")
        client.begin()
        assert client.say(body(99_000) + b".").startswith(b"250")
    assert house.refusals == [("size", "larger than 100000 bytes")]


def test_the_limit_is_exact(open_house: Open) -> None:
    house = open_house(max_message_bytes=1000)
    with house.client() as client:
        client.begin()
        assert client.say(b"x" * 998 + b"\r\n.").startswith(b"250")
        client.begin()
        assert client.say(b"x" * 999 + b"\r\n.").startswith(b"552")


def test_a_helo_client_is_served_in_full(open_house: Open) -> None:
    house = open_house()
    with house.client() as client:
        replies = client.all(b"HELO x", b"MAIL FROM:<a@b.example>", b"RCPT TO:<root>", b"DATA")
        assert [reply[:3] for reply in replies] == [b"250", b"250", b"250", b"354"]
        assert client.say(b"hi\r\n.").startswith(b"250")
    assert b" with SMTP id " in house.desk.contents[0]


def test_a_python_application_sends_utf8(open_house: Open) -> None:
    house = open_house()
    with smtplib.SMTP(*house.address) as client:
        client.sendmail(
            "jürgen@b.example",
            ["用户@d.example"],
            "Subject: ü\r\n\r\nü\r\n".encode(),
            mail_options=["SMTPUTF8", "BODY=8BITMIME"],
        )
    assert house.desk.messages[0].envelope.forward_paths == ("用户@d.example",)


@pytest.mark.parametrize(("network", "is_in"), [("127.0.0.0/8", True), ("192.0.2.0/24", False)])
def test_networks_decide_who_is_let_in(open_house: Open, network: str, is_in: bool) -> None:
    house = open_house(networks=(ip_network(network),))
    with house.client(greeting=False) as client:
        if is_in:
            assert client.reply().startswith(b"220 ")
        else:
            assert client.rest() == b"554 5.7.1 access denied\r\n"
            assert house.refusals == [("access", "not in networks")]


def test_an_early_talker_is_served(open_house: Open) -> None:
    with open_house().client(greeting=False) as client:
        client.send(b"EHLO x\r\nQUIT\r\n")
        assert client.rest().startswith(b"220 ")


def test_an_idle_client_is_told_to_go(open_house: Open) -> None:
    house = open_house(idle_seconds=0.05)
    with house.client() as client:
        assert client.rest() == b"421 4.4.2 timeout\r\n"
    assert house.refusals == [("timeout", "client too slow")]


def test_draining_ends_idle_sessions_and_lets_transactions_finish(open_house: Open) -> None:
    house = open_house()
    address = house.address
    with house.client() as idle, house.client() as busy:
        busy.begin()
        drained = asyncio.run_coroutine_threadsafe(house.servers.drain(PATIENCE), house.loop)
        assert idle.rest() == b"421 4.3.2 mx.example is closing\r\n"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        busy.send(b"x\r\n.\r\n")
        assert busy.rest() == b"250 2.0.0 queued\r\n421 4.3.2 mx.example is closing\r\n"
        assert drained.result(PATIENCE)
    assert len(house.desk.messages) == 1


def test_draining_cuts_off_at_its_deadline(open_house: Open) -> None:
    house = open_house()
    house.hold()
    with house.client() as reading, house.client() as accepting:
        reading.begin()
        reading.send(body(200_000))
        accepting.begin()
        accepting.send(body(200_000) + b".\r\n")
        assert house.desk.arrived.wait(PATIENCE)
        assert not house.run(house.servers.drain(0.05))
        assert (reading.rest(), accepting.rest()) == (b"", b"")
    # What was being taken may be in the queue by now, so its file is not ours to remove.
    assert len(list(house.spool.iterdir())) == 1


def test_a_socket_that_systemd_opened_is_used(open_house: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        address = inherited.getsockname()
        house = open_house(address="inherited", sockets={"inherited": inherited.dup()})
        assert house.address == address
        house.deliver(b"x\r\n.\r\n")
    assert house.desk.messages[0].origin.listener == "inherited"


def test_an_ipv6_listener_names_its_client(open_house: Open) -> None:
    house = open_house(host="::1")
    content = house.deliver(b"x\r\n.\r\n")
    assert content.startswith(b"Received: from app ([IPv6:::1])\r\n")


def test_an_address_in_use_is_named_and_nothing_stays_open(tmp_path: Path) -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as probe:
            port = taken.getsockname()[1]
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
            probe.close()
            options = [
                ListenerOptions(address=f"127.0.0.1:{each}", host="127.0.0.1", port=each)
                for each in (free, port)
            ]
            with pytest.raises(ListenerError, match=rf"127.0.0.1:{port}: Address already in use"):
                await open_listeners(
                    options, reception=Desk(), journal=Journal(), spool=Spool(tmp_path)
                )
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", free))

    asyncio.run(run())

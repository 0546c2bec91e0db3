"""Relay between an application and two real Postfix servers: `native`, and `direct` by TLS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon
from letters import crlf, hard_case, invoice, invoice_pdf, newsletter, wire
from postfix import MAILBOXES, Mail, Postfix
from programs import run

SHOP, NEWS = "rechnung@shop.example", "news@shop.example"
RETRY = {"waits": ["1s"], "in_doubt_wait": "1s"}


class World:
    """The two servers, and how relay is told of them."""

    def __init__(self, native: Postfix, direct: Postfix, certificate: Path) -> None:
        self.native = native
        self.direct = direct
        self.channels: dict[str, Any] = {
            "native": {"smtp": {"host": "127.0.0.1", "port": native.port, "security": "none"}},
            "direct": {
                "smtp": {
                    "host": "127.0.0.1",
                    "port": direct.port,
                    "security": "starttls",
                    "certificate_checks": "on",
                    "ca_file": str(certificate),
                }
            },
        }

    def settings(self, *, only_direct: bool = True, **channels: Any) -> dict[str, Any]:
        """Return settings of relay with both channels, or others in their place."""
        return {
            "channels": self.channels | channels,
            "routing": {"only_use_for_direct_emails": only_direct},
            "retry": RETRY,
        }

    def arrived(self) -> dict[str, int]:
        """Return how often each message is in a mailbox of either server, by its Message-ID."""
        mails = [mail for box in MAILBOXES for mail in self.native.mailbox(box)]
        mails += [mail for box in MAILBOXES for mail in self.direct.mailbox(box)]
        return Counter(str(parse(mail)["Message-ID"]) for mail in mails)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Both servers, started once."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    kind = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    files = ("-keyout", str(key), "-out", str(certificate))
    run("openssl", "req", *kind.split(), *names.split(), *files)
    with (
        Postfix("native") as native,
        Postfix("direct", certificate=certificate, key=key) as direct,
    ):
        yield World(native, direct, certificate)


@pytest.fixture
def world(servers: World) -> Iterator[World]:
    """Both servers, running, with empty mailboxes."""
    for server in (servers.native, servers.direct):
        if not server.is_running:
            server.start()
        server.clear()
    return servers


def submit(relay: Daemon, letter: EmailMessage, *to: str) -> str:
    """Hand in a letter as its application does; return its queue id."""
    sender = NEWS if letter["List-ID"] else SHOP
    return relay.submit(sender, to or [letter["To"]], wire(letter))


def parse(mail: Mail) -> EmailMessage:
    """Return a mail as its reader's program sees it."""
    letter = message_from_bytes(mail.content, policy=default)
    assert isinstance(letter, EmailMessage)
    return letter


def lines(content: bytes) -> bytes:
    """Return content as it lies in a mailbox."""
    return content.replace(b"\r\n", b"\n")


def only(mails: Sequence[Mail]) -> Mail:
    """Return the one there is."""
    (mail,) = mails
    return mail


def sent_by(relay: Daemon, **which: str) -> dict[str, int]:
    """Return how many recipients were sent by each channel."""
    return Counter(row["channel"] for row in relay.queue(state="sent", **which))


def test_the_invoice_leaves_by_native_and_the_newsletter_by_direct(world: World, tmp_path: Path):
    bill, news = invoice("ann@example.net"), newsletter("bob@example.net")
    with Daemon(tmp_path, world.settings()) as relay:
        submit(relay, bill)
        submit(relay, news)
        relay.wait_until(lambda: relay.states() == {"sent": 2})
        assert relay.kinds() == {"invoice": 1, "marketing": 1}
        world.native.wait_for(1)
        world.direct.wait_for(1)
        assert relay.terminate() == 0
    by_native = only(world.native.mailbox("ann@example.net"))
    assert by_native.content == lines(wire(bill))
    assert by_native.reverse_path == SHOP
    assert b"by native.postfix.test (Postfix) with ESMTP id" in by_native.trace
    (attachment,) = parse(by_native).iter_attachments()
    assert attachment.get_content() == invoice_pdf()
    by_direct = only(world.direct.mailbox("bob@example.net"))
    assert by_direct.content == lines(wire(news))
    assert b"(using TLSv1.3 with" in by_direct.trace
    assert b"by direct.postfix.test (Postfix) with ESMTPS id" in by_direct.trace


@pytest.mark.parametrize("channel", ["smtp", "sendmail"])
def test_a_hard_case_arrives_byte_for_byte(world: World, tmp_path: Path, channel: str):
    letter = crlf(hard_case("cem@example.net"))
    settings = world.settings()
    settings["channels"] = {
        "smtp": {"native": world.channels["native"]},
        "sendmail": {"native": {"sendmail": {"command": world.native.sendmail}}},
    }[channel]
    with Daemon(tmp_path, settings) as relay:
        relay.submit(SHOP, ["cem@example.net"], letter)
        relay.wait_until(lambda: relay.states() == {"sent": 1})
        world.native.wait_for(1)
    mail = only(world.native.mailbox("cem@example.net"))
    assert mail.content == lines(letter)
    assert mail.reverse_path == SHOP


def test_one_unknown_of_three_is_reported_and_the_others_get_it(world: World, tmp_path: Path):
    bill = invoice("ann@example.net")
    recipients = ("ann@example.net", "unknown@example.net", "bob@example.net")
    with Daemon(tmp_path, world.settings()) as relay:
        queue_id = submit(relay, bill, *recipients)
        relay.wait_until(lambda: relay.states() == {"sent": 3, "failed": 1})
        world.native.wait_for(3)
        (failed,) = relay.queue(state="failed")
    assert (failed["queue_id"], failed["forward_path"]) == (queue_id, "unknown@example.net")
    for address in ("ann@example.net", "bob@example.net"):
        assert only(world.native.mailbox(address)).content == lines(wire(bill))
    mail = only(world.native.mailbox(SHOP))
    assert mail.reverse_path == ""
    report = parse(mail)
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    words, status, original = report.iter_parts()
    assert "unknown@example.net" in words.get_content()
    _, about = status.get_payload()
    assert about["Final-Recipient"] == "rfc822; unknown@example.net"
    assert (about["Action"], about["Status"]) == ("failed", "5.1.1")
    assert "550 5.1.1" in about["Diagnostic-Code"]
    assert bill["Message-ID"] in original.as_string()


def test_while_native_is_away_invoices_take_direct(world: World, tmp_path: Path):
    with Daemon(tmp_path, world.settings()) as relay:
        world.native.stop()
        bills = [invoice("ann@example.net", f"A-{number}") for number in range(8)]
        for bill in bills:
            submit(relay, bill)
        relay.wait_until(lambda: relay.states() == {"sent": 8})
        assert sent_by(relay) == {"direct": 8}
        assert relay.channel("native")["health"]["state"] == "paused"
        world.direct.wait_for(8)

        world.native.start()
        relay.control.resume("native")
        last = invoice("ann@example.net", "A-last")
        submit(relay, last)
        world.native.wait_for(1)
        relay.wait_until(lambda: relay.states() == {"sent": 9})
    assert world.arrived() == {letter["Message-ID"]: 1 for letter in [*bills, last]}


def test_while_direct_is_away_invoices_go_and_newsletters_wait(world: World, tmp_path: Path):
    """With all mail by direct; once it is back the rest goes by itself, all of it once."""
    news = [newsletter("bob@example.net", number) for number in range(12)]
    bills = [invoice("ann@example.net", f"B-{number}") for number in range(4)]
    with Daemon(tmp_path, world.settings(only_direct=False)) as relay:
        world.direct.stop()
        for letter in [*news, *bills]:
            submit(relay, letter)
        relay.wait_until(lambda: len(relay.queue(state="sent")) == 4)
        assert sent_by(relay, kind="invoice") == {"native": 4}
        waiting = relay.queue(kind="marketing")
        assert {row["state"] for row in waiting} <= {"queued", "deferred"}
        assert {row["channel"] for row in waiting} == {"direct"}
        assert relay.channel("direct")["health"]["state"] == "paused"
        world.native.wait_for(4)

        world.direct.start()
        relay.wait_until(lambda: relay.states() == {"sent": 16})
        assert sent_by(relay, kind="marketing") == {"direct": 12}
        assert relay.channel("direct")["health"]["state"] == "open"
        world.direct.wait_for(12)
    assert world.arrived() == {letter["Message-ID"]: 1 for letter in [*news, *bills]}


def test_a_server_that_goes_in_the_middle_loses_nothing(world: World, tmp_path: Path):
    """What was tried when it went may have been taken, and come twice; nothing else does."""
    news = [newsletter("bob@example.net", number) for number in range(60)]
    with Daemon(tmp_path, world.settings()) as relay:
        for number, letter in enumerate(news):
            submit(relay, letter)
            if number == 40:
                world.direct.stop()
        relay.wait_until(lambda: relay.channel("direct")["health"]["state"] == "paused")
        assert relay.states()["sent"] < 60
        world.direct.start()
        relay.control.resume("direct")
        relay.wait_until(lambda: relay.states() == {"sent": 60})
        relay.wait_until(lambda: len(world.arrived()) == 60)  # its own delivery takes a moment
        arrived = world.arrived()
        assert set(arrived) == {letter["Message-ID"] for letter in news}
        again = [
            row["queue_id"]
            for row in relay.queue()
            if len(relay.control.message(row["queue_id"])["attempts"]) > 1
        ]
        assert sum(arrived.values()) - len(news) <= len(again)

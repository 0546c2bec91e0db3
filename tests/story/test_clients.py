"""Programs that people use hand in mail to a real relay, and all of it arrives as it was sent."""

from __future__ import annotations

import asyncio
import re
import smtplib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from daemon import PATIENCE, Daemon
from letters import crlf, invoice_pdf
from mail_clients import (
    CLIENTS,
    LOGIN,
    PASSWORD,
    SENDER,
    Client,
    Order,
    Way,
    curl_for_two,
    nodemailer,
    nodemailer_many,
    php_mail,
    phpmailer,
    python,
    smtplib_send_message,
)
from programs import run
from upstream import Upstream

PLAIN = Way("plain", 0, "none", None, "ESMTP")
WAYS = (
    PLAIN,
    Way("auth-plain", 1, "none", "PLAIN", "ESMTPA"),
    Way("auth-login", 1, "none", "LOGIN", "ESMTPA"),
    Way("starttls", 2, "starttls", "PLAIN", "ESMTPSA"),
    Way("starttls-login", 2, "starttls", "LOGIN", "ESMTPSA"),
    Way("implicit", 3, "implicit", None, "ESMTPS"),
)


@dataclass(frozen=True, slots=True)
class Filed:
    """A message at the far end."""

    trace: bytes  # what was put in front of what the client sent
    content: bytes
    row: dict[str, Any]  # the recipient, as the queue tells of it
    message: dict[str, Any]


class House:
    """A relay with a listener for each way, whose only channel is a folder."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.ca = folder / "certificate.pem"
        key = folder / "key.pem"
        _make_certificate(self.ca, key)
        tls = {"certificate": str(self.ca), "key": str(key)}
        apps = {"applications": [{"login": LOGIN, "password": {"env": "SHOP_PASSWORD"}}]}
        settings = {
            "listeners": [
                {},
                {"auth": "required", **apps},
                {"tls": "starttls", "auth": "required", **tls, **apps},
                {"tls": "implicit", "auth": "optional", **tls, **apps},
            ],
            "channels": {"native": {"folder": {"path": str(self.out)}}},
        }
        self.relay = Daemon(folder, settings, environ={"SHOP_PASSWORD": PASSWORD})

    def order(self, way: Way, to: str, folder: Path) -> Order:
        """Return what a client is told."""
        return Order(way=way, port=self.relay.ports[way.listener], ca=self.ca, to=to, folder=folder)

    def filed(self, to: str, *, messages: int = 1) -> list[Filed]:
        """Return what arrived for a recipient, once all of it has."""
        rows = self.relay.wait_until(
            lambda: (
                found
                if len(found := self.relay.queue(recipient=to, state="sent")) == messages
                else None
            )
        )
        return [self._filed(row) for row in rows]

    def _filed(self, row: dict[str, Any]) -> Filed:
        file = (self.out / f"{row['queue_id']}.eml").read_bytes()
        trace = re.match(rb"(X-Envelope-[^\r]*\r\n)+Received:[^\r]*\r\n([\t][^\r]*\r\n)+", file)
        assert trace is not None, file[:500]
        message = self.relay.control.message(row["queue_id"])
        return Filed(trace[0], file[trace.end() :], row, message)


def _make_certificate(certificate: Path, key: Path) -> None:
    kind = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    files = ("-keyout", str(key), "-out", str(certificate))
    run("openssl", "req", *kind.split(), *names.split(), *files)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One relay for all of them, as on a machine; it has to end well."""
    house = House(tmp_path_factory.mktemp("clients"))
    with house.relay as relay:
        yield house
        assert set(relay.states()) == {"sent"}
        assert relay.terminate() == 0
        assert "crashed" not in relay.log()


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_what_a_client_sends_arrives_byte_for_byte(
    client: Client, way: Way, house: House, tmp_path: Path
):
    to = f"{client.__name__}.{way}@example.net"
    sent = client(house.order(way, to, tmp_path))
    (filed,) = house.filed(to)
    assert filed.content == sent
    names = (way.protocol, way.protocol.replace("ESMTP", "UTF8SMTP"))  # RFC 6531, if declared
    told = [f" with {name} id {filed.row['queue_id']};".encode() in filed.trace for name in names]
    assert any(told)
    assert filed.row["reverse_path"] == SENDER
    assert filed.message["origin"]["application"] == (LOGIN if way.mechanism else None)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_a_client_sends_what_it_is_said_to_send(client: Client, house: House, tmp_path: Path):
    """What the test above relies on, without relay: its trust in `mail_clients` is deserved."""

    async def story() -> bytes:
        async with Upstream() as upstream:
            order = Order(
                way=PLAIN, port=upstream.port, ca=house.ca, to="ann@example.net", folder=tmp_path
            )
            sent = await asyncio.to_thread(client, order)
            await upstream.wait_for(1)
            assert crlf(upstream.messages[0].content) == sent
            return sent

    assert asyncio.run(story())


@pytest.mark.parametrize("client", [nodemailer, phpmailer, smtplib_send_message])
def test_an_attachment_is_the_file_that_it_was(client: Client, house: House, tmp_path: Path):
    to = f"attached.{client.__name__}@example.net"
    client(house.order(PLAIN, to, tmp_path))
    (filed,) = house.filed(to)
    letter = message_from_bytes(filed.content, policy=default)
    (attachment,) = letter.iter_attachments()
    assert attachment.get_content() == invoice_pdf()
    assert filed.row["kind"] == "invoice"


def test_curl_names_two_recipients_and_both_get_it(house: House, tmp_path: Path):
    order = house.order(PLAIN, "two@example.net", tmp_path)
    sent = curl_for_two(order)
    (one,) = house.filed(order.to)
    (other,) = house.filed(f"second.{order.to}")
    assert one.row["queue_id"] == other.row["queue_id"]
    assert one.content == sent
    assert b"X-Envelope-To: two@example.net\r\nX-Envelope-To: second.two@" in one.trace


def test_a_pool_of_nodemailer_sends_many_over_few_connections(house: House, tmp_path: Path):
    order = house.order(WAYS[3], "pool@example.net", tmp_path)
    sent = nodemailer_many(order, 12)
    filed = house.filed(order.to, messages=12)
    assert sorted(each.content for each in filed) == sorted(sent)


def test_php_sends_by_its_own_mail_function(house: House, tmp_path: Path):
    """As WordPress does it without a plug-in; msmtp is the sendmail of this machine."""
    order = house.order(WAYS[3], "php.mail@example.net", tmp_path)
    php_mail(order)
    (filed,) = house.filed(order.to)
    letter = message_from_bytes(filed.content, policy=default)
    assert letter["Subject"] == "Rechnung № 118"
    assert letter["To"] == order.to
    (attachment,) = letter.iter_attachments()
    assert attachment.get_content() == invoice_pdf()


@pytest.mark.parametrize("way", [WAYS[1], WAYS[3]], ids=str)
def test_who_does_not_sign_in_is_sent_away(way: Way, house: House, tmp_path: Path):
    order = house.order(way, "nobody@example.net", tmp_path)
    with smtplib.SMTP("127.0.0.1", order.port, timeout=PATIENCE) as smtp:
        smtp.ehlo()
        assert smtp.mail(SENDER)[0] == 530
    with python(order) as smtp:
        smtp.rset()
    with pytest.raises(smtplib.SMTPAuthenticationError), python(order, password="guess"):
        pass


# -- raw ones, byte by byte ------------------------------------------------------------------------


def dialogue(house: House, said: bytes, *, half_close: bool = False) -> bytes:
    """Say all of it at once, as a script does; return what relay says until it hangs up."""
    with socket.create_connection(("127.0.0.1", house.relay.smtp_port), PATIENCE) as sock:
        sock.sendall(said)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def envelope(to: str, hello: str = "EHLO device") -> bytes:
    """Return what comes before the content."""
    lines = [hello, f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{to}>", "DATA"]
    return "".join(f"{line}\r\n" for line in lines).encode()


def codes(replies: bytes) -> list[int]:
    """Return the code of each reply."""
    return [int(code) for code in re.findall(rb"(?m)^(\d{3}) ", replies)]


LETTER = (
    b"Subject: hello\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@device>\r\n"
    b"\r\nx\r\n"
)


@pytest.mark.parametrize("goodbye", [b"", b"QUIT\r\n"], ids=["without QUIT", "with QUIT"])
def test_who_closes_its_half_after_all_is_said_gets_its_replies(house: House, goodbye: bytes):
    """`printf … | nc -N`: scanners, printers and many a script."""
    to = f"half-close.{len(goodbye)}@example.net"
    replies = dialogue(house, envelope(to) + LETTER + b".\r\n" + goodbye, half_close=True)
    assert codes(replies) == [220, 250, 250, 250, 354, 250] + [221] * bool(goodbye)
    (filed,) = house.filed(to)
    assert filed.content == LETTER
    assert f"queued as {filed.row['queue_id']} ".encode() in replies


def test_helo_is_enough(house: House):
    to = "helo@example.net"
    said = envelope(to, "HELO device") + LETTER + b".\r\nQUIT\r\n"
    assert codes(dialogue(house, said)) == [220, 250, 250, 250, 354, 250, 221]
    (filed,) = house.filed(to)
    assert filed.content == LETTER
    assert b" with SMTP id " in filed.trace


def test_who_goes_without_quit_has_sent_its_mail(house: House):
    to = "no-quit@example.net"
    smtp = smtplib.SMTP("127.0.0.1", house.relay.smtp_port, timeout=PATIENCE)
    smtp.sendmail(SENDER, [to], LETTER)
    smtp.close()
    (filed,) = house.filed(to)
    assert filed.content == LETTER


@pytest.mark.parametrize("half_close", [True, False], ids=["half-close", "close"])
def test_what_breaks_off_before_the_final_dot_is_never_sent(house: House, half_close: bool):
    to = f"broken-off.{half_close}@example.net"
    said = envelope(to) + LETTER + b"."
    if half_close:
        assert codes(dialogue(house, said, half_close=True))[:5] == [220, 250, 250, 250, 354]
    else:
        with socket.create_connection(("127.0.0.1", house.relay.smtp_port), PATIENCE) as sock:
            sock.sendall(said)
            while b"354" not in sock.recv(4096):
                pass
    # what comes after it is sent, and it is not
    after = f"after.{to}"
    house.relay.submit(SENDER, [after], LETTER)
    assert house.filed(after)
    assert house.relay.queue(recipient=to) == []


def test_date_and_message_id_are_added_when_missing_and_only_then(house: House):
    bare = b"Subject: hello\r\n\r\nx\r\n"
    queue_id = house.relay.submit(SENDER, ["bare@example.net"], bare)
    (filed,) = house.filed("bare@example.net")
    added, _, rest = filed.content.partition(b"Subject:")
    assert b"Subject:" + rest == bare
    assert re.fullmatch(rb"Date: [^\r]+ \+0000\r\nMessage-ID: <[^\r]+@relay.test>\r\n", added)
    assert queue_id.encode() in added

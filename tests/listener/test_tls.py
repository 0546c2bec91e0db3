"""TLS by STARTTLS and from the first byte, and what a wrong certificate says at the start."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from listening import Client, Desk, House

from relay.listener.options import ListenerOptions, Tls
from relay.listener.server import Connection, Listener
from relay.listener.tls import ListenerError, server_context
from relay.observe.journal import Journal
from relay.queue.spool import Spool

Open = Callable[..., House]


def trusting(certificate: dict[str, str]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate["certificate"])


def test_mail_goes_by_starttls(open_house: Open, certificate: dict[str, str]) -> None:
    house = open_house(tls=Tls.STARTTLS, **certificate)
    host, port = house.address
    with smtplib.SMTP("localhost" if host == "127.0.0.1" else host, port) as client:
        client.starttls(context=trusting(certificate))
        for body in ("short", "x" * 70 + "\r\n" + ("y" * 998 + "\r\n") * 500 + "end"):
            client.sendmail("a@b.example", ["c@d.example"], f"Subject: x\r\n\r\n{body}\r\n")
    assert [message.origin.tls for message in house.desk.messages] == [True, True]
    assert b" with ESMTPS id " in house.desk.contents[0]
    assert house.desk.contents[1].endswith(b"y\r\nend\r\n")


def test_mail_goes_by_implicit_tls(open_house: Open, certificate: dict[str, str]) -> None:
    house = open_house(tls=Tls.IMPLICIT, **certificate)
    with smtplib.SMTP_SSL("localhost", house.address[1], context=trusting(certificate)) as client:
        assert not client.has_extn("starttls")
        for _ in range(2):
            client.sendmail("a@b.example", ["c@d.example"], "Subject: x\r\n\r\nhi\r\n")
    assert [message.origin.tls for message in house.desk.messages] == [True, True]
    assert house.refusals == []


def test_commands_sent_before_the_handshake_are_never_obeyed(
    open_house: Open, certificate: dict[str, str]
) -> None:
    house = open_house(tls=Tls.STARTTLS, **certificate)
    with house.client() as client:
        client.say(b"EHLO x")
        client.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@example.com>\r\n")
        assert client.reply().startswith(b"220")
        client.upgrade(trusting(certificate))
        assert client.say(b"RCPT TO:<c@d.example>").startswith(b"503 5.5.1 send MAIL")
        assert client.say(b"MAIL FROM:<a@b.example>").startswith(b"503 5.5.1 send EHLO")
        assert client.say(b"EHLO x").startswith(b"250")


@pytest.mark.parametrize("by_reset", [False, True])
@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
def test_a_client_that_leaves_in_the_handshake_leaves_nothing(
    open_house: Open, certificate: dict[str, str], tls: Tls, by_reset: bool
) -> None:
    house = open_house(tls=tls, **certificate)
    with house.client(greeting=tls is Tls.STARTTLS) as client:
        if by_reset:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if tls is Tls.STARTTLS:
            client.send(b"STARTTLS\r\n")
    house.settled()
    assert not house.crashes


def test_draining_breaks_off_a_handshake(open_house: Open, certificate: dict[str, str]) -> None:
    for tls in (Tls.STARTTLS, Tls.IMPLICIT):
        house = open_house(tls=tls, **certificate)
        with house.client(greeting=tls is Tls.STARTTLS) as client:
            if tls is Tls.STARTTLS:
                assert client.say(b"STARTTLS").startswith(b"220")
            house.run(house.servers.drain(0.05))
            assert client.rest() == b""


def test_reading_stops_with_the_command(tmp_path: Path, certificate: dict[str, str]) -> None:
    """What arrives after STARTTLS in the clear is left to the handshake, never held for later."""

    class Wire(asyncio.Transport):
        is_reading_paused = False

        def write(self, data: object) -> None:
            pass

        def pause_reading(self) -> None:
            self.is_reading_paused = True

        def abort(self) -> None:
            pass

    async def run() -> None:
        listener = Listener(
            options(tls=Tls.STARTTLS, **certificate),
            reception=Desk(),
            journal=Journal(),
            spool=Spool(tmp_path),
            loop=asyncio.get_running_loop(),
        )
        wire, connection = Wire({"peername": ("127.0.0.1", 1)}), Connection(listener)
        connection.connection_made(wire)
        connection.data_received(b"STARTTLS\r\n")
        assert wire.is_reading_paused
        connection.abort()
        connection.connection_lost(None)
        await listener.emptied.wait()

    asyncio.run(run())


def test_tls_connections_are_limited(open_house: Open, certificate: dict[str, str]) -> None:
    house = open_house(tls=Tls.IMPLICIT, max_connections=1, **certificate)
    with Client(house.address, greeting=False) as first:
        first.upgrade(trusting(certificate))
        assert first.reply().startswith(b"220")
        with Client(house.address, greeting=False) as second:
            assert second.rest() == b""
    assert [reason for reason, _ in house.refusals] == ["busy"]


def options(**say: object) -> ListenerOptions:
    return ListenerOptions(
        **{"address": "a:465", "host": "a", "port": 465, "tls": Tls.IMPLICIT} | say
    )


def test_a_certificate_that_cannot_be_used_is_named(
    tmp_path: Path, certificate: dict[str, str]
) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    missing = str(tmp_path / "missing.pem")
    for say, words in [
        ({}, "a:465: TLS needs a certificate"),
        ({"certificate": missing}, f"a:465: {missing}: No such file or directory"),
        ({"certificate": str(nonsense)}, f"a:465: {nonsense}: "),
        ({"certificate": certificate["certificate"]}, f"a:465: {certificate['certificate']}: "),
        (
            {"certificate": certificate["certificate"], "key": str(nonsense)},
            f"a:465: {certificate['certificate']} with {nonsense}: ",
        ),
    ]:
        with pytest.raises(ListenerError) as raised:
            server_context(options(**say))
        assert str(raised.value).startswith(words)

"""Stories of the SMTP channel against a scripted upstream."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from pathlib import Path

import pytest

from relay.channels.channel import Parcel
from relay.channels.options import Security, SmtpOptions
from relay.channels.pace import Pace
from relay.channels.smtp import SmtpChannel
from relay.mail.attempt import Attempt, InDoubt, Refused, Sent
from relay.mail.message import Spooled
from tests.upstream import EXTENSIONS, Drop, Endless, Stall, Then, Upstream

CERTIFICATES = Path(__file__).parent.parent / "certificates"
PLAIN = tuple(one for one in EXTENSIONS if one != "PIPELINING")
BODY = b"Subject: a bill\r\n\r\n.one\r\n..two\r\nthree\r\n.\r\n"
ANN, BOB, CLEO = "ann@example.net", "bob@example.net", "cleo@example.net"
PARCEL = Parcel(
    queue_id="0123456789ABC",
    reverse_path="me@example.com",
    forward_paths=(ANN, BOB, CLEO),
    content=BODY,
    body_8bit=False,
    smtputf8=False,
)
LARGE = b"0123456\r\n" * 4_000_000  # more than all the buffers between the two
both_ways = pytest.mark.parametrize("extensions", [EXTENSIONS, PLAIN], ids=["pipelined", "plain"])


def server_tls(name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{name}.pem")
    return context


def options(upstream: Upstream, **changes: object) -> SmtpOptions:
    base = SmtpOptions(
        host="127.0.0.1",
        port=upstream.port,
        security=Security.NONE,
        ca_file=str(CERTIFICATES / "ca.pem"),
        hello="client.test",
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


async def send_once(upstream: Upstream, parcel: Parcel = PARCEL, **changes: object) -> Attempt:
    channel = SmtpChannel("direct", options(upstream, **changes))
    try:
        return await channel.send(parcel)
    finally:
        await channel.close()


def told(attempt: Attempt) -> list[tuple[str, str]]:
    """Return (outcome, phase and reply) of each recipient, without the words."""
    rows = []
    for outcome in attempt.outcomes:
        phase = f"{outcome.phase} " if isinstance(outcome, Refused) else ""
        rows.append((type(outcome).__name__, f"{phase}{outcome.reply.code} {outcome.reply.status}"))
    return rows


# What a transaction looks like


@both_ways
def test_content_arrives_byte_for_byte(run, extensions):
    async def story():
        async with Upstream(extensions=extensions) as upstream:
            attempt = await send_once(upstream)
            assert told(attempt) == [("Sent", "250 2.0.0")] * 3
            assert attempt.data_sent
            (message,) = upstream.messages
            assert message.content == BODY
            assert message.reverse_path == "me@example.com"
            assert message.forward_paths == (ANN, BOB, CLEO)
            assert message.parameters == f"SIZE={len(BODY)}"
            assert upstream.verbs() == ["EHLO", "MAIL", "RCPT", "RCPT", "RCPT", "DATA", "QUIT"]

    run(story())


@pytest.mark.parametrize("size", [0, 1, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 3_000_000])
@pytest.mark.parametrize("is_file", [False, True], ids=["memory", "file"])
def test_content_of_any_size_arrives_byte_for_byte(run, tmp_path, size, is_file):
    line = b".\r\n.." + b"x" * 70 + b"\r\n"
    content = (line * (size // len(line) + 1))[:size].rstrip(b"\r\n.") + b"\r\n"
    path = tmp_path / "content.eml"
    path.write_bytes(content)
    kept = Spooled(str(path), len(content)) if is_file else content

    async def story():
        async with Upstream() as upstream:
            attempt = await send_once(upstream, dataclasses.replace(PARCEL, content=kept))
            assert told(attempt) == [("Sent", "250 2.0.0")] * 3
            assert upstream.messages[0].content == content

    run(story())


def test_dots_are_stuffed_across_the_borders_of_pieces(run, tmp_path):
    content = b"x" * (256 * 1024 - 2) + b"\r\n" + b".\r\n" + b"y" * (256 * 1024 - 4) + b"\r\n.z\r\n"
    path = tmp_path / "content.eml"
    path.write_bytes(content)

    async def story():
        async with Upstream() as upstream:
            for kept in (content, Spooled(str(path), len(content))):
                await send_once(upstream, dataclasses.replace(PARCEL, content=kept))
            assert [message.content for message in upstream.messages] == [content, content]

    run(story())


def test_the_null_reverse_path_is_sent_as_such(run):
    async def story():
        async with Upstream() as upstream:
            await send_once(upstream, dataclasses.replace(PARCEL, reverse_path=None))
            assert upstream.messages[0].reverse_path == ""

    run(story())


@pytest.mark.parametrize(
    ("change", "extensions", "parameters"),
    [
        ({}, EXTENSIONS, f"SIZE={len(BODY)}"),
        ({}, (), ""),
        ({"body_8bit": True}, EXTENSIONS, f"SIZE={len(BODY)} BODY=8BITMIME"),
        ({"body_8bit": True}, ("PIPELINING",), ""),
        ({"smtputf8": True}, EXTENSIONS, f"SIZE={len(BODY)}"),
        ({"smtputf8": True}, ("PIPELINING",), ""),
        ({"reverse_path": "é@example.com"}, EXTENSIONS, f"SIZE={len(BODY)} SMTPUTF8"),
        ({"forward_paths": ("é@example.net",)}, EXTENSIONS, f"SIZE={len(BODY)} SMTPUTF8"),
        ({"smtputf8": True, "content": "Subject: é\r\n\r\n".encode()}, ("SMTPUTF8",), "SMTPUTF8"),
        ({"smtputf8": True, "content": "Subject: e\r\n\r\né".encode()}, ("SMTPUTF8",), ""),
        ({"content": "Subject: é\r\n\r\n".encode()}, ("SMTPUTF8",), ""),
    ],
)
def test_asks_for_extensions_only_when_needed_and_offered(run, change, extensions, parameters):
    async def story():
        async with Upstream(extensions=extensions) as upstream:
            attempt = await send_once(upstream, dataclasses.replace(PARCEL, **change))
            assert isinstance(attempt.outcomes[0], Sent)
            assert upstream.messages[0].parameters == parameters

    run(story())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"reverse_path": "é@example.com"}, [("Refused", "mail 553 5.6.7")] * 3),
        (
            {"smtputf8": True, "content": "A: é\r\n\r\n".encode()},
            [("Refused", "mail 553 5.6.7")] * 3,
        ),
        ({"forward_paths": (ANN, "é@x")}, [("Sent", "250 2.0.0"), ("Refused", "rcpt 553 5.6.7")]),
        ({"content": b"x" * 101 + b"\r\n"}, [("Refused", "mail 552 5.3.4")] * 3),
        ({"reverse_path": "a@b\r\nRSET"}, [("Refused", "mail 554 5.6.0")] * 3),
        ({"forward_paths": (ANN, "a\0@b")}, [("Sent", "250 2.0.0"), ("Refused", "rcpt 553 5.1.3")]),
    ],
)
def test_what_cannot_be_sent_is_refused_without_being_sent(run, change, expected):
    async def story():
        async with Upstream(extensions=("PIPELINING", "SIZE 100")) as upstream:
            attempt = await send_once(upstream, dataclasses.replace(PARCEL, **change))
            assert told(attempt) == expected
            assert len(upstream.messages) == sum(row[0] == "Sent" for row in expected[:1])

    run(story())


# What a refusal comes to


@both_ways
@pytest.mark.parametrize(
    ("script", "expected", "data_sent"),
    [
        pytest.param(
            {f"rcpt:{BOB}": "550 5.1.1 no such user"},
            [("Sent", "250 2.0.0"), ("Refused", "rcpt 550 5.1.1"), ("Sent", "250 2.0.0")],
            True,
            id="one recipient of three",
        ),
        pytest.param(
            {"rcpt": ["450 4.2.0 later", "550 5.1.1 no", "451 4.7.1 later"]},
            [("Refused", f"rcpt {reply}") for reply in ("450 4.2.0", "550 5.1.1", "451 4.7.1")],
            False,
            id="every recipient",
        ),
        pytest.param(
            {"rcpt": lambda _: "550 no", "data": "354 go on"},
            [("Refused", "rcpt 550 None")] * 3,
            False,
            id="every recipient, but it waits for content",
        ),
        pytest.param(
            {"mail": "550 5.7.1 not your address"},
            [("Refused", "mail 550 5.7.1")] * 3,
            False,
            id="sender",
        ),
        pytest.param(
            {"data": "451 4.3.0 not now"},
            [("Refused", "data 451 4.3.0")] * 3,
            False,
            id="DATA",
        ),
        pytest.param(
            {"dot": "554 5.7.1 spam"},
            [("Refused", "after-data 554 5.7.1")] * 3,
            True,
            id="content",
        ),
    ],
)
def test_a_refusal_falls_on_whom_it_was_said_of(run, extensions, script, expected, data_sent):
    async def story():
        async with Upstream(script, extensions=extensions) as upstream:
            channel = SmtpChannel("direct", options(upstream))
            attempt = await channel.send(PARCEL)
            assert told(attempt) == expected
            assert attempt.data_sent is data_sent
            upstream.script.clear()
            again = await channel.send(PARCEL)
            assert told(again) == [("Sent", "250 2.0.0")] * 3
            assert upstream.messages[-1].content == BODY
            assert upstream.connections == 1, "a refusal does not cost the connection"
            await channel.close()

    run(story())


@both_ways
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ({"greeting": "554 5.3.2 no"}, "connect 554 5.3.2"),
        ({"greeting": "421 4.7.0 too many"}, "connect 421 4.7.0"),
        ({"greeting": Drop()}, "connect 451 4.4.2"),
        ({"greeting": Drop(reset=True)}, "connect 451 4.4.2"),
        ({"greeting": b"* OK [CAPABILITY IMAP4rev1] ready\r\n"}, "connect 451 4.4.1"),
        ({"greeting": Endless(b"220-wait\r\n")}, "connect 451 4.4.1"),
        ({"ehlo": "550 5.7.1 go away"}, "ehlo 550 5.7.1"),
        ({"ehlo": Drop()}, "ehlo 451 4.4.2"),
        ({"mail": Drop()}, "mail 451 4.4.2"),
        ({"mail": "421 4.3.2 going down"}, "mail 421 4.3.2"),
        ({"rcpt": Drop()}, "rcpt 451 4.4.2"),
        ({"rcpt": ["250 ok", "421 4.7.0 enough"]}, "rcpt 421 4.7.0"),
        ({"data": Drop()}, "data 451 4.4.2"),
        ({"data": "250 ok"}, "data 451 4.5.0"),
        ({"content": Drop(reset=True)}, "data 451 4.4.2"),
        ({"dot": Then("421 4.3.2 going down", Drop())}, "after-data 421 4.3.2"),
    ],
)
def test_a_connection_that_breaks_is_nobodys_fault(run, extensions, script, expected):
    content = LARGE if "content" in script else BODY

    async def story():
        async with Upstream(script, extensions=extensions) as upstream:
            attempt = await send_once(upstream, dataclasses.replace(PARCEL, content=content))
            assert told(attempt) == [("Refused", expected)] * 3
            assert upstream.messages == []

    run(story())


@both_ways
@pytest.mark.parametrize(
    "answer",
    [Drop(), Drop(reset=True), Stall(), b"gibberish\r\n", "354 go on", Endless()],
    ids=["closed", "reset", "silent", "gibberish", "354", "endless"],
)
def test_no_reply_to_the_final_dot_is_in_doubt_for_those_accepted(run, extensions, answer):
    script = {"dot": answer, f"rcpt:{BOB}": "550 5.1.1 no"}

    async def story():
        async with Upstream(script, extensions=extensions) as upstream:
            attempt = await send_once(upstream, final_dot_seconds=0.05)
            assert [type(outcome) for outcome in attempt.outcomes] == [InDoubt, Refused, InDoubt]
            assert attempt.outcomes[0].reply.status == "4.4.2"
            assert upstream.transactions[0].content == BODY

    run(story())


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("greeting", "connect"),
        ("ehlo", "ehlo"),
        ("mail", "mail"),
        ("rcpt", "rcpt"),
        ("data", "data"),
    ],
)
def test_silence_ends_at_the_time_limit(run, step, expected):
    async def story():
        async with Upstream({step: Stall()}) as upstream:
            attempt = await send_once(upstream, command_seconds=0.05, connect_seconds=0.05)
            assert told(attempt) == [("Refused", f"{expected} 451 4.4.2")] * 3
            assert attempt.outcomes[0].error == "TimeoutError"

    run(story())


def test_content_that_does_not_move_is_given_up_before_the_dot(run):
    async def story():
        async with Upstream({"content": Stall()}) as upstream:
            parcel = dataclasses.replace(PARCEL, content=LARGE)
            attempt = await send_once(upstream, parcel, stall_seconds=0.05)
            assert told(attempt) == [("Refused", "data 451 4.4.2")] * 3

    run(story())


def test_a_refusal_in_the_middle_of_the_content_is_heard(run):
    async def story():
        async with Upstream({"content": Then("552 5.3.4 too much", Stall())}) as upstream:
            attempt = await send_once(upstream, dataclasses.replace(PARCEL, content=LARGE))
            assert told(attempt) == [("Refused", "data 552 5.3.4")] * 3

    run(story())


def test_a_file_that_is_missing_or_short_is_no_fault_of_the_message(run, tmp_path):
    short = tmp_path / "short.eml"
    short.write_bytes(b"abc\r\n")

    async def story():
        async with Upstream() as upstream:
            for path in (short, tmp_path / "missing.eml"):
                parcel = dataclasses.replace(PARCEL, content=Spooled(str(path), 10))
                assert (
                    told(await send_once(upstream, parcel)) == [("Refused", "data 451 4.3.0")] * 3
                )
            assert upstream.transactions == []

    run(story())


def test_an_upstream_that_is_not_there_refuses_the_connection(run):
    async def story():
        async with Upstream() as upstream:
            pass
        attempt = await send_once(upstream)
        assert told(attempt) == [("Refused", "connect 451 4.4.1")] * 3
        outcome = attempt.outcomes[0]
        assert (outcome.error, outcome.errno) == ("ConnectionRefusedError", 111)
        assert outcome.reply.text == "[Errno 111] Connection refused"

    run(story())


@pytest.mark.parametrize("host", ["x" * 64 + ".example", "no-such-host.invalid"])
def test_a_name_that_is_none_is_a_matter_of_dns(run, host):
    async def story():
        async with Upstream() as upstream:
            attempt = await send_once(upstream, host=host)
            assert told(attempt) == [("Refused", "dns 451 4.4.3")] * 3

    run(story())


# Connections are kept, and never trusted too much


def test_connections_are_used_again_and_no_more_of_them_than_allowed(run):
    async def story():
        async with Upstream() as upstream:
            channel = SmtpChannel("direct", options(upstream, connections=3))
            attempts = await asyncio.gather(*(channel.send(PARCEL) for _ in range(30)))
            assert all(told(one) == [("Sent", "250 2.0.0")] * 3 for one in attempts)
            assert upstream.connections == upstream.most_connections == 3
            await channel.close()
            await upstream.wait_until(lambda: upstream.open_connections == 0)
            assert upstream.verbs().count("QUIT") == 3

    run(story())


def test_a_connection_carries_only_so_many_messages(run):
    async def story():
        async with Upstream() as upstream:
            channel = SmtpChannel("direct", options(upstream, messages_per_connection=2))
            for _ in range(5):
                await channel.send(PARCEL)
            assert [message.connection for message in upstream.messages] == [1, 1, 2, 2, 3]
            await channel.close()

    run(story())


def test_an_idle_connection_is_closed_politely(run):
    async def story():
        async with Upstream() as upstream:
            channel = SmtpChannel("direct", options(upstream, idle_seconds=0.01))
            await channel.send(PARCEL)
            await upstream.wait_until(lambda: upstream.verbs()[-1] == "QUIT")
            await channel.send(PARCEL)
            assert upstream.connections == 2
            await channel.close()

    run(story())


@pytest.mark.parametrize(
    "answer", ["421 4.4.2 idle too long", Drop(), Drop(reset=True), Stall(), "250 2.0.0 ok\n354 x"]
)
@both_ways
def test_a_connection_gone_stale_is_nobodys_failure(run, extensions, answer):
    async def story():
        script = {"mail": ["250 2.1.0 ok", answer]}
        async with Upstream(script, extensions=extensions) as upstream:
            channel = SmtpChannel("direct", options(upstream, command_seconds=0.1))
            await channel.send(PARCEL)
            if answer == "250 2.0.0 ok\n354 x":
                upstream.hang_up()  # whatever was said: it is closed before it is taken again
            assert told(await channel.send(PARCEL)) == [("Sent", "250 2.0.0")] * 3
            assert upstream.connections == 2
            assert len(upstream.messages) == 2
            await channel.close()

    run(story())


def test_a_fresh_connection_is_not_tried_a_third_time(run):
    async def story():
        async with Upstream({"mail": ["250 ok", Drop(), Drop()]}) as upstream:
            channel = SmtpChannel("direct", options(upstream))
            await channel.send(PARCEL)
            assert told(await channel.send(PARCEL)) == [("Refused", "mail 451 4.4.2")] * 3
            assert upstream.connections == 2
            await channel.close()

    run(story())


@pytest.mark.parametrize(
    "words", [b"421 4.4.2 bye\r\n", b"250 2.0.0 surprise\r\n", b"HTTP/1.1\r\n"]
)
def test_a_server_that_speaks_unasked_is_not_used_again(run, words):
    async def story():
        async with Upstream() as upstream:
            channel = SmtpChannel("direct", options(upstream))
            await channel.send(PARCEL)
            await upstream.say(words)
            await upstream.wait_until(lambda: upstream.open_connections == 0)
            assert told(await channel.send(PARCEL)) == [("Sent", "250 2.0.0")] * 3
            assert upstream.connections == 2
            await channel.close()

    run(story())


@pytest.mark.parametrize(
    "script",
    [
        {"greeting": b"220 hello\r\n250 early\r\n"},
        {"ehlo": b"250 hello\r\n250 early\r\n"},
        {"ehlo": Endless(b"250-X" + b"x" * 500 + b"\r\n")},
        {"mail": b"250 ok\r\n250 twice\r\n"},
        {"rcpt": [b"250 ok\r\n250 twice\r\n"]},
        {"data": b"354 go\r\n250 already\r\n"},
        {"mail": b"250-one\r\n550 other\r\n"},
        {"mail": b"99 what\r\n"},
        {"mail": Endless()},
        {"mail": Endless(b"2" * 1000)},
        {"mail": "354 go on"},
    ],
)
@both_ways
def test_a_server_out_of_step_gets_no_message(run, extensions, script):
    async def story():
        async with Upstream(script, extensions=extensions) as upstream:
            attempt = await send_once(upstream)
            assert all(isinstance(one, Refused) for one in attempt.outcomes)
            assert all(one.reply.code // 100 == 4 for one in attempt.outcomes)
            assert upstream.transactions == []

    run(story())


def test_one_reply_too_many_after_the_dot_costs_the_connection_only(run):
    async def story():
        async with Upstream({"dot": [b"250 2.0.0 ok\r\n250 again\r\n"]}) as upstream:
            channel = SmtpChannel("direct", options(upstream))
            assert told(await channel.send(PARCEL)) == [("Sent", "250 2.0.0")] * 3
            assert told(await channel.send(PARCEL)) == [("Sent", "250 2.0.0")] * 3
            assert upstream.connections == 2
            await channel.close()

    run(story())


def test_a_cancelled_transaction_closes_its_connection(run):
    async def story():
        async with Upstream({"dot": [Stall()]}) as upstream:
            channel = SmtpChannel("direct", options(upstream))
            sending = asyncio.ensure_future(channel.send(PARCEL))
            await upstream.wait_until(lambda: bool(upstream.transactions))
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert told(await channel.send(PARCEL)) == [("Sent", "250 2.0.0")] * 3
            assert upstream.connections == 2
            await channel.close()

    run(story())


@pytest.mark.parametrize("step", ["greeting", "ehlo"])
def test_a_cancelled_sign_in_closes_its_connection(run, step):
    async def story():
        async with Upstream({step: Stall()}) as upstream:
            channel = SmtpChannel("direct", options(upstream))
            sending = asyncio.ensure_future(channel.send(PARCEL))
            await upstream.wait_until(lambda: upstream.connections == 1)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await channel.close()

    run(story())


def test_a_server_that_does_not_answer_quit_does_not_hold_up_the_end(run, monkeypatch):
    monkeypatch.setattr("relay.channels.smtp._CLOSE_SECONDS", 0.01)

    async def story():
        async with Upstream({"quit": Stall()}) as upstream:
            attempt = await send_once(upstream)
            assert told(attempt) == [("Sent", "250 2.0.0")] * 3

    run(story())


def test_idle_connections_go_one_after_the_other(run):
    async def story():
        async with Upstream() as upstream:
            channel = SmtpChannel("direct", options(upstream, idle_seconds=0.02))
            await asyncio.gather(*(channel.send(PARCEL) for _ in range(3)))
            await channel.send(PARCEL)  # one of them later than the others
            await upstream.wait_until(lambda: upstream.verbs().count("QUIT") == 3)
            await channel.close()

    run(story())


# Protection and signing in


ACCOUNT = {"me@example.com": "s3cret-ü"}
SIGN_IN = {"username": "me@example.com", "password": lambda: "s3cret-ü"}


@pytest.mark.parametrize("security", [Security.IMPLICIT, Security.STARTTLS])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_signs_in_over_tls(run, security, host):
    implicit = security is Security.IMPLICIT

    async def story():
        async with Upstream(accounts=ACCOUNT, tls=server_tls(), implicit=implicit) as upstream:
            attempt = await send_once(upstream, security=security, host=host, **SIGN_IN)
            assert told(attempt) == [("Sent", "250 2.0.0")] * 3
            (message,) = upstream.messages
            assert (message.tls, message.login) == (True, "me@example.com")
            assert message.mechanism == "PLAIN"

    run(story())


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_knows_the_mechanism_that_the_server_has(run, mechanism):
    async def story():
        async with Upstream(accounts=ACCOUNT, mechanisms=["X", mechanism]) as upstream:
            await send_once(upstream, **SIGN_IN)
            assert upstream.messages[0].mechanism == mechanism
            attempt = await send_once(upstream, username="me@example.com", password=lambda: "no")
            assert told(attempt) == [("Refused", "auth 535 5.7.8")] * 3

    run(story())


def test_the_password_is_read_at_each_sign_in(run):
    passwords = iter(["wrong", "s3cret-ü"])

    async def story():
        async with Upstream(accounts=ACCOUNT) as upstream:
            changes = {"username": "me@example.com", "password": lambda: next(passwords)}
            channel = SmtpChannel("direct", options(upstream, **changes))
            assert told(await channel.send(PARCEL))[0] == ("Refused", "auth 535 5.7.8")
            assert told(await channel.send(PARCEL))[0] == ("Sent", "250 2.0.0")
            await channel.close()

    run(story())


@pytest.mark.parametrize(
    ("upstream_settings", "changes", "expected"),
    [
        ({"accounts": ACCOUNT, "mechanisms": ["GSSAPI"]}, {}, "auth 451 4.3.0"),
        ({}, {}, "auth 454 4.7.4"),
        ({}, {"security": Security.STARTTLS}, "starttls 454 4.7.4"),
        ({"script": {"starttls": "454 4.7.0 not now"}, "tls": True}, {}, "starttls 454 4.7.0"),
        ({"script": {"starttls": Drop()}, "tls": True}, {}, "starttls 451 4.4.2"),
        ({"script": {"auth": "454 4.7.0 later"}, "accounts": ACCOUNT}, {}, "auth 454 4.7.0"),
        ({"script": {"auth": "235"}, "accounts": ACCOUNT}, {}, "sent"),
        (
            {"accounts": ACCOUNT},
            {"password": lambda: Path("/nonexistent").read_text()},
            "auth 451 4.3.0",
        ),
        ({"tls": True}, {"ca_file": "/nonexistent"}, "starttls 451 4.3.0"),
        ({"tls": True}, {"ca_file": None}, "starttls 454 4.7.5"),
        ({"tls": True, "implicit": True}, {"ca_file": None}, "tls 454 4.7.5"),
        ({"tls": "elsewhere.example"}, {}, "starttls 454 4.7.5"),
        ({"tls": "elsewhere.example"}, {"verify": False, "username": None}, "sent"),
    ],
)
def test_what_protection_or_sign_in_lacks(run, upstream_settings, changes, expected):
    settings = dict(upstream_settings)
    security = changes.get("security", Security.NONE)
    if tls := settings.get("tls"):
        settings["tls"] = server_tls("localhost" if tls is True else tls)
        security = Security.IMPLICIT if settings.get("implicit") else Security.STARTTLS

    async def story():
        async with Upstream(**settings) as upstream:
            attempt = await send_once(upstream, **{**SIGN_IN, "security": security, **changes})
            outcome = ("Sent", "250 2.0.0") if expected == "sent" else ("Refused", expected)
            assert told(attempt) == [outcome] * 3

    run(story())


def test_words_smuggled_in_before_the_handshake_end_the_connection(run):
    """RFC 3207 §4.2, CVE-2011-0411 seen from the client: a forger speaks first."""

    async def story():
        injected = b"220 go ahead\r\n250-forged\r\n250 AUTH PLAIN\r\n"
        async with Upstream({"starttls": injected}, tls=server_tls()) as upstream:
            attempt = await send_once(upstream, security=Security.STARTTLS)
            assert told(attempt) == [("Refused", "starttls 451 4.5.0")] * 3
            assert upstream.verbs() == ["EHLO", "STARTTLS"]

    run(story())


def test_a_password_never_crosses_a_network_in_the_clear(run, monkeypatch):
    """The peer's address decides, not the name in the settings."""
    monkeypatch.setattr("relay.channels.smtp_session.Session._ends", lambda *_: "192.0.2.1")

    async def story():
        async with Upstream(accounts=ACCOUNT) as upstream:
            attempt = await send_once(upstream, host="localhost", **SIGN_IN)
            assert told(attempt) == [("Refused", "auth 538 5.7.11")] * 3
            assert upstream.verbs()[:1] == ["EHLO"]
            assert "AUTH" not in upstream.verbs()

    run(story())


def test_no_secret_shows_in_options_or_outcomes(run):
    async def story():
        async with Upstream(accounts={"me@example.com": "other"}) as upstream:
            attempt = await send_once(upstream, **SIGN_IN)
            assert "s3cret" not in repr(attempt) + repr(options(upstream, **SIGN_IN))

    run(story())


def test_an_old_server_that_knows_helo_only_gets_the_message(run):
    async def story():
        async with Upstream({"ehlo": "502 5.5.1 what?"}) as upstream:
            attempt = await send_once(upstream)
            assert told(attempt) == [("Sent", "250 2.0.0")] * 3
            assert upstream.verbs()[:2] == ["EHLO", "HELO"]
            assert upstream.messages[0].parameters == ""

    run(story())


def test_introduces_itself_by_address_when_the_machine_has_no_full_name(run, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "laptop")

    async def story():
        async with Upstream() as upstream:
            await send_once(upstream, hello=None)
            assert upstream.commands[0][1] == "EHLO [127.0.0.1]"

    run(story())


def test_a_channel_names_itself():
    base = SmtpOptions(host="::1", port=25, security=Security.NONE)
    assert SmtpChannel("direct", base).upstream == "[::1]:25"
    channel = SmtpChannel("direct", dataclasses.replace(base, host="smtp.example.com"))
    assert (channel.name, channel.upstream) == ("direct", "smtp.example.com:25")


def test_connections_are_opened_no_faster_than_allowed(run):
    async def story():
        async with Upstream() as upstream:
            paced = options(upstream, messages_per_connection=1)
            channel = SmtpChannel("direct", paced, pace=Pace(1, 0.2))
            began = asyncio.get_running_loop().time()
            for _ in range(2):
                assert told(await channel.send(PARCEL)) == [("Sent", "250 2.0.0")] * 3
            assert asyncio.get_running_loop().time() - began >= 0.2
            await channel.close()


def token_account(upstream: Upstream, tokens: list[str]):
    """Return options whose tokens are given out in turn, each refusal asking for the next."""
    tokens = list(tokens)

    async def access_token(refused: str | None) -> str:
        if refused is not None and tokens[0] == refused and len(tokens) > 1:
            tokens.pop(0)
        return tokens[0]

    return options(upstream, username="me@example.com", access_token=access_token)


@pytest.mark.parametrize(
    ("tokens", "expected", "asked"),
    [
        (["good"], ("Sent", "250 2.0.0"), 1),
        (["ended", "good"], ("Sent", "250 2.0.0"), 2),  # renewed once, on the same connection
        (["ended", "ended too"], ("Refused", "auth 535 5.7.8"), 2),
        (["ended"], ("Refused", "auth 535 5.7.8"), 1),  # the same again would be a guess
    ],
)
def test_signs_in_by_a_token(run, tokens, expected, asked):
    async def story():
        account = {"me@example.com": "good"}
        async with Upstream(accounts=account, mechanisms=["PLAIN", "XOAUTH2"]) as upstream:
            channel = SmtpChannel("direct", token_account(upstream, tokens))
            assert told(await channel.send(PARCEL)) == [expected] * 3
            await channel.close()
            assert upstream.verbs().count("AUTH") == asked
            assert upstream.connections == 1
            assert "AUTH PLAIN" not in " ".join(line for _, line in upstream.commands)

    run(story())


def test_a_server_without_tokens_gets_none(run):
    async def story():
        async with Upstream(accounts={"me@example.com": "good"}) as upstream:
            channel = SmtpChannel("direct", token_account(upstream, ["good"]))
            assert told(await channel.send(PARCEL)) == [("Refused", "oauth 451 4.3.0")] * 3
            await channel.close()
            assert "AUTH" not in upstream.verbs()

    run(story())

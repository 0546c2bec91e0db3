"""A channel that may not send as everybody."""

from __future__ import annotations

import pytest

from relay.channels.channel import Parcel
from relay.channels.options import Security, SmtpOptions
from relay.channels.sender import may_send_as
from relay.channels.smtp import SmtpChannel
from relay.mail.attempt import Sent
from relay.mail.message import Spooled
from tests.upstream import Upstream

ME = "me@example.com"
HEADER = b"From: Shop <shop@example.net>\r\nSubject: x\r\n\r\n"
SENT = b"From: Shop <me@example.com>\r\nReply-To: Shop <shop@example.net>\r\nSubject: x\r\n\r\n"


def options(upstream: Upstream, **changes) -> SmtpOptions:
    given = {
        "host": upstream.host,
        "port": upstream.port,
        "security": Security.NONE,
        "senders": (ME, "*@mine.example"),
        "rewrite_from": ME,
        "hello": "relay.test",
    }
    return SmtpOptions(**{**given, **changes})


def parcel(content, sender: str | None = "shop@example.net") -> Parcel:
    return Parcel(
        queue_id="0123456789ABC",
        reverse_path=sender,
        forward_paths=("ann@example.net",),
        content=content,
        body_8bit=False,
        smtputf8=False,
    )


@pytest.mark.parametrize("body", [b"one\r\n.two\r\n", b"", b"0123456\r\n" * 100_000])
@pytest.mark.parametrize("is_spooled", [True, False])
def test_mail_of_others_goes_out_as_its_own(run, tmp_path, body, is_spooled):
    content = HEADER + body
    file = tmp_path / "content"
    file.write_bytes(content)
    kept = Spooled(str(file), len(content)) if is_spooled else content

    async def story():
        async with Upstream() as upstream:
            channel = SmtpChannel("direct", options(upstream))
            (outcome,) = (await channel.send(parcel(kept))).outcomes
            await channel.close()
            (message,) = upstream.messages
            assert message.reverse_path == ME
            assert message.content == SENT + body
            assert message.parameters == f"SIZE={len(SENT + body)}"
            assert isinstance(outcome, Sent)
            assert outcome.reply.text == (
                "taken (sent as me@example.com: MAIL FROM was shop@example.net,"
                " From was shop@example.net)"
            )

    run(story())


@pytest.mark.parametrize(
    ("sender", "author"),
    [(ME, ME), ("a@mine.example", "B@Mine.Example"), (None, ME)],
)
def test_what_it_may_send_stays_as_it_is(run, sender, author):
    content = f"From: {author}\r\n\r\nx\r\n".encode()

    async def story():
        async with Upstream() as upstream:
            channel = SmtpChannel("direct", options(upstream))
            (outcome,) = (await channel.send(parcel(content, sender))).outcomes
            await channel.close()
            assert upstream.messages[0].content == content
            assert upstream.messages[0].reverse_path == (sender or "")
            assert outcome.reply.text == "taken"

    run(story())


def test_without_senders_nothing_is_looked_at(run):
    async def story():
        async with Upstream() as upstream:
            channel = SmtpChannel("direct", options(upstream, senders=(), rewrite_from=None))
            await channel.send(parcel(HEADER))
            await channel.close()
            assert upstream.messages[0].content == HEADER

    run(story())


def test_a_content_that_is_gone_is_no_fault_of_the_mail(run, tmp_path):
    async def story():
        async with Upstream() as upstream:
            channel = SmtpChannel("direct", options(upstream))
            attempt = await channel.send(parcel(Spooled(str(tmp_path / "gone"), 5)))
            await channel.close()
            assert str(attempt.outcomes[0].reply).startswith("451 ")
            assert not attempt.data_sent

    run(story())


def test_its_own_address_is_always_allowed():
    given = SmtpOptions(
        host="a", port=25, security=Security.NONE, username=ME, senders=("*@mine.example",)
    )
    assert may_send_as(given, "ME@example.com")
    assert may_send_as(given, "x@mine.example")
    assert not may_send_as(given, "x@sub.mine.example")

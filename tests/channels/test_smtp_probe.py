"""The staged test of an upstream: how far mail would come, and where it stops."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from relay.channels.channel import Parcel
from relay.channels.options import Security, SmtpOptions
from relay.channels.smtp_probe import Questions, Report, probe
from tests.upstream import Drop, Upstream

CERTIFICATES = Path(__file__).parent.parent / "certificates"
ELSEWHERE = (
    "It shows a certificate of elsewhere.example, issued by relay test CA for elsewhere.example,"
    " valid from 2026-11-21 to 2126-10-28."
)
ACCOUNT = {"me@example.com": "s3cret"}
ME = "me@example.com"


def server_tls(name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{name}.pem")
    return context


def options(upstream: Upstream, **changes) -> SmtpOptions:
    given = {
        "host": "localhost",
        "port": upstream.port,
        "security": Security.NONE,
        "ca_file": str(CERTIFICATES / "ca.pem"),
        "username": ME if upstream.accounts else None,
        "password": lambda: "s3cret",
        "hello": "relay.test",
        "connect_seconds": 5.0,
        "command_seconds": 5.0,
    }
    return SmtpOptions(**{**given, **changes})


def names(report: Report) -> list[str]:
    return [stage.name + ("!" if stage.refused else "") for stage in report.stages]


@pytest.mark.parametrize(
    ("security", "steps"),
    [
        (Security.IMPLICIT, ["DNS", "TCP", "TLS", "greeting", "EHLO", "AUTH"]),
        (Security.STARTTLS, ["DNS", "TCP", "greeting", "EHLO", "STARTTLS", "EHLO", "AUTH"]),
        (Security.NONE, ["DNS", "TCP", "greeting", "EHLO", "AUTH"]),
    ],
)
def test_every_step_is_told_with_its_time_and_what_was_found(run, security, steps):
    async def story():
        async with Upstream(
            accounts=ACCOUNT,
            tls=None if security is Security.NONE else server_tls(),
            implicit=security is Security.IMPLICIT,
        ) as upstream:
            asked = Questions(senders=(ME, "shop@example.com"), recipient="you@example.net")
            report = await probe(options(upstream, security=security), asked)
            assert names(report) == [*steps, "MAIL", "MAIL", "RCPT"]
            assert all(stage.seconds >= 0 for stage in report.stages)
            assert report.max_content_bytes == 52428800
            assert "pipelining" in report.extensions
            found = {stage.name: stage.detail for stage in report.stages}
            assert found["TCP"].endswith(f":{upstream.port}")
            assert found["greeting"] == "upstream.test ESMTP"
            assert found["EHLO"].startswith("messages up to 52428800 bytes; 8BITMIME, ")
            assert found["AUTH"] == "as me@example.com by PLAIN"
            assert found["RCPT"] == "you@example.net: 250 2.1.5 recipient ok"
            if security is not Security.NONE:
                tls = found["TLS" if security is Security.IMPLICIT else "STARTTLS"]
                assert tls.startswith("TLSv1.3, ")
                assert "certificate of localhost by " in tls
                assert " until " in tls
            # every question was forgotten again, and nothing was sent
            assert upstream.verbs().count("RSET") == upstream.verbs().count("MAIL") == 4
            assert upstream.transactions == []
            await upstream.wait_until(lambda: upstream.verbs()[-1] == "QUIT")

    run(story())


@pytest.mark.parametrize(
    ("given", "changes", "steps", "phase"),
    [
        ({}, {"host": "no-such-name.invalid"}, ["DNS!"], "dns"),
        ({}, {"port": 1}, ["DNS", "TCP!"], "connect"),
        ({"script": {"greeting": "554 no"}}, {}, ["DNS", "TCP", "greeting!"], "connect"),
        ({"script": {"greeting": Drop()}}, {}, ["DNS", "TCP", "greeting!"], "connect"),
        ({"script": {"ehlo": "550 no"}}, {}, ["DNS", "TCP", "greeting", "EHLO!"], "ehlo"),
        ({"accounts": ACCOUNT}, {"password": lambda: "x"}, [..., "AUTH!"], "auth"),
        ({}, {"username": ME}, [..., "AUTH!"], "auth"),
        ({"script": {"mail": "553 not yours"}}, {}, [..., "MAIL!"], "mail"),
        ({"script": {"mail": Drop()}}, {}, [..., "MAIL!"], "mail"),
        ({"script": {"rcpt": "550 nobody"}}, {}, [..., "MAIL", "RCPT!"], "rcpt"),
    ],
)
def test_the_step_that_fails_is_the_one_that_is_told(run, given, changes, steps, phase):
    async def story():
        async with Upstream(**given) as upstream:
            asked = Questions(senders=(ME,), recipient="you@example.net")
            report = await probe(options(upstream, **changes), asked)
            told = names(report)
            if steps[0] is ...:
                assert told[-len(steps) + 1 :] == steps[1:]
            else:
                assert told == steps
            assert report.failure is not None
            assert report.failure.refused is not None
            assert report.failure.refused.phase == phase
            assert upstream.transactions == []

    run(story())


@pytest.mark.parametrize("implicit", [True, False])
def test_a_certificate_for_another_name_is_told_and_no_password_goes_out(run, implicit):
    async def story():
        async with Upstream(
            accounts=ACCOUNT, tls=server_tls("elsewhere.example"), implicit=implicit
        ) as upstream:
            security = Security.IMPLICIT if implicit else Security.STARTTLS
            report = await probe(options(upstream, security=security), Questions())
            assert names(report)[-1] == ("TLS!" if implicit else "STARTTLS!")
            assert "AUTH" not in upstream.verbs()
            assert report.failure.refused.seen == ELSEWHERE

    run(story())


def test_one_sender_of_two_is_refused(run):
    def mail(argument: str) -> str | None:
        return "550 5.7.60 not allowed to send as this sender" if "shop@" in argument else None

    async def story():
        async with Upstream({"mail": mail}) as upstream:
            asked = Questions(senders=("shop@example.com", ME), recipient="you@example.net")
            report = await probe(options(upstream), asked)
            assert names(report)[-3:] == ["MAIL!", "MAIL", "RCPT"]
            assert f"MAIL FROM:<{ME}>" in [line for _, line in upstream.commands]

    run(story())


@pytest.mark.parametrize(
    ("script", "last"),
    [({}, "message"), ({"dot": "554 5.7.1 spam"}, "message!"), ({"dot": Drop()}, "message!")],
)
def test_a_message_is_sent_when_it_is_asked_for(run, script, last):
    letter = Parcel(
        queue_id="0123456789ABC",
        reverse_path=ME,
        forward_paths=("you@example.net",),
        content=b"Subject: test\r\n\r\nyes\r\n",
        body_8bit=False,
        smtputf8=False,
    )

    async def story():
        async with Upstream(script) as upstream:
            asked = Questions(senders=(ME,), recipient="you@example.net", parcel=letter)
            report = await probe(options(upstream), asked)
            assert names(report)[-1] == last
            assert upstream.transactions[0].content == letter.content

    run(story())


def test_no_message_is_sent_when_something_failed(run):
    letter = Parcel(
        queue_id="0123456789ABC",
        reverse_path=ME,
        forward_paths=("you@example.net",),
        content=b"\r\n",
        body_8bit=False,
        smtputf8=False,
    )

    async def story():
        async with Upstream({"rcpt": ["550 nobody"]}) as upstream:
            asked = Questions(senders=(ME,), recipient="you@example.net", parcel=letter)
            assert names(await probe(options(upstream), asked))[-1] == "RCPT!"
            assert upstream.transactions == []

    run(story())


def test_a_sender_that_only_waits_is_told_and_fails_nothing(run):
    def mail(argument: str) -> str | None:
        return "550 5.7.60 not allowed to send as this sender" if "shop@" in argument else None

    async def story():
        async with Upstream({"mail": mail}) as upstream:
            asked = Questions(senders=(ME,), waiting=("shop@example.com",), recipient=ME)
            report = await probe(options(upstream), asked)
            assert names(report)[-3:] == ["MAIL", "MAIL!", "RCPT"]
            assert report.failure is None

    run(story())


def test_a_sender_that_is_refused_only_with_a_recipient_is_told_as_such(run):
    senders = iter(["", "550 5.7.60 not allowed to send as this sender"])

    def rcpt(_: str) -> str | None:
        return next(senders) or None

    async def story():
        async with Upstream({"rcpt": rcpt}) as upstream:
            asked = Questions(senders=(ME, "shop@example.com"), recipient="you@example.net")
            report = await probe(options(upstream), asked)
            assert names(report)[-3:] == ["MAIL", "MAIL!", "RCPT"]
            assert report.failure.detail == "shop@example.com"
            assert upstream.transactions == []

    run(story())

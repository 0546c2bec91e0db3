"""What is said and answered, in tables; every reply has its enhanced status code (RFC 2034)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

import pytest
from listening import Desk

from relay.listener.data import DataReader
from relay.listener.dialogue import Accept, HangUp, Upgrade
from relay.listener.options import Application, Auth, ListenerOptions, Tls
from relay.listener.session import Session
from relay.mail.reply import Reply
from relay.observe.events import Event
from relay.observe.journal import Journal
from relay.queue.spool import Spool

APP = Application("app", lambda: "secret")
HELLO = b"EHLO app"
MAIL = b"MAIL FROM:<a@b.example>"
RCPT = b"RCPT TO:<c@d.example>"


def session(tmp_path: Path, *, is_local: bool = True, **say: object) -> Session:
    options = ListenerOptions(
        **{"address": "a:25", "host": "a", "port": 25, "hostname": "mx", "max_message_bytes": 1000}
        | say
    )
    events: list[Event] = []
    return Session(
        options,
        reception=Desk(),
        journal=Journal(events.append),
        spool=Spool(tmp_path),
        client="192.0.2.7",
        is_local=is_local,
    )


def talk(talker: Session, *lines: bytes) -> bytes:
    """Say lines one by one, return the reply to the last."""
    replies = b""
    for line in lines:
        talker.receive(line + b"\r\n")
        replies = talker.dialogue.take_replies()
    return replies


def broken(*_: object) -> NoReturn:
    raise ZeroDivisionError("secret")


@pytest.mark.parametrize(
    ("before", "line", "reply"),
    [
        # greeting
        ([], b"EHLO", b"501 5.5.4"),
        ([], b"HELO ", b"501 5.5.4"),
        ([], b"HELO app", b"250 mx"),
        ([], b"ehlo [127.0.0.1]", b"250-mx"),
        ([], b"EHLO m.eml", b"250-mx"),
        ([], b"EHLO \xff\x00", b"250-mx"),
        # order
        ([], MAIL, b"503 5.5.1"),
        ([HELLO], RCPT, b"503 5.5.1"),
        ([HELLO], b"DATA", b"503 5.5.1"),
        ([HELLO, MAIL], b"DATA", b"503 5.5.1"),
        ([HELLO, MAIL], MAIL, b"503 5.5.1"),
        ([HELLO, MAIL, RCPT], MAIL, b"503 5.5.1"),
        ([HELLO, MAIL, b"RSET"], RCPT, b"503 5.5.1"),
        ([HELLO, MAIL, HELLO], RCPT, b"503 5.5.1"),
        ([HELLO, MAIL, b"HELO x"], MAIL, b"250 2.1.0"),
        ([HELLO, MAIL, RCPT], b"DATA", b"354 "),
        ([HELLO, MAIL, RCPT], b"data ", b"354 "),
        ([HELLO, MAIL, RCPT], b"DATA now", b"501 5.5.4"),
        ([b"HELO x", MAIL, RCPT], b"DATA", b"354 "),
        # MAIL
        ([HELLO], b"MAIL", b"501 5.5.4"),
        ([HELLO], b"MAIL <a@b>", b"501 5.5.4"),
        ([HELLO], b"MAIL TO:<a@b>", b"501 5.5.4"),
        ([HELLO], b"mail from:<a@b> size=233", b"250 2.1.0"),
        ([HELLO], b"MAIL FROM: <a@b>", b"250 2.1.0"),
        ([HELLO], b"MAIL FROM :<a@b>", b"250 2.1.0"),
        ([HELLO], b"MAIL  FROM:<a@b>", b"250 2.1.0"),
        ([HELLO], b"MAIL FROM:<>", b"250 2.1.0"),
        ([HELLO], b"MAIL FROM:a@b", b"250 2.1.0"),
        ([HELLO], b"MAIL FROM:a", b"501 5.1.7"),
        ([HELLO], b"MAIL FROM:", b"501 5.1.7"),
        ([HELLO], MAIL + b" SIZE=1000", b"250 2.1.0"),
        ([HELLO], MAIL + b" SIZE=1001", b"552 5.3.4"),
        ([HELLO], MAIL + b" SIZE=99999999999999999999", b"552 5.3.4"),
        ([HELLO], MAIL + b" SIZE=0", b"250 2.1.0"),
        ([HELLO], MAIL + b" SIZE", b"501 5.5.4"),
        ([HELLO], MAIL + b" SIZE=1 SIZE=1", b"501 5.5.4"),
        ([HELLO], MAIL + b" BODY=7BIT", b"250 2.1.0"),
        ([HELLO], MAIL + b" BODY=8bitMIME", b"250 2.1.0"),
        ([HELLO], MAIL + b" BODY=BINARYMIME", b"501 5.5.4"),
        ([HELLO], MAIL + b" BODY", b"501 5.5.4"),
        ([HELLO], MAIL + b" SMTPUTF8", b"250 2.1.0"),
        ([HELLO], MAIL + b" SMTPUTF8=1", b"501 5.5.4"),
        ([HELLO], MAIL + b" BODY=8BITMIME SMTPUTF8", b"250 2.1.0"),
        ([HELLO], MAIL + b" AUTH=<>", b"250 2.1.0"),
        ([HELLO], MAIL + b" AUTH", b"501 5.5.4"),
        ([HELLO], MAIL + b" ENVID=x", b"555 5.5.4"),
        ([HELLO], MAIL + b" _", b"501 5.5.4"),
        ([HELLO], "MAIL FROM:<ü@b.example>".encode(), b"553 5.6.7"),
        ([HELLO], "MAIL FROM:<ü@b.example> SMTPUTF8".encode(), b"250 2.1.0"),
        # RCPT
        ([HELLO, MAIL], b"RCPT", b"501 5.5.4"),
        ([HELLO, MAIL], b"RCPT FROM:<a@b>", b"501 5.5.4"),
        ([HELLO, MAIL], b"RCPT TO:<>", b"501 5.1.3"),
        ([HELLO, MAIL], b"rcpt to: <root>", b"250 2.1.5"),
        ([HELLO, MAIL], b"RCPT TO:<@x,@y:a@b>", b"250 2.1.5"),
        ([HELLO, MAIL], b"RCPT TO:<a@b> NOTIFY=NEVER", b"555 5.5.4"),
        ([HELLO, MAIL], "RCPT TO:<ü@b.example>".encode(), b"553 5.6.7"),
        ([HELLO, MAIL + b" SMTPUTF8"], "RCPT TO:<ü@b.example>".encode(), b"250 2.1.5"),
        # the others
        ([], b"NOOP", b"250 2.0.0"),
        ([], b"noop anything", b"250 2.0.0"),
        ([], b"RSET", b"250 2.0.0"),
        ([], b"RSET now", b"501 5.5.4"),
        ([], b"HELP", b"214 2.0.0"),
        ([], b"HELP MAIL", b"214 2.0.0"),
        ([], b"VRFY root", b"252 2.1.5"),
        ([], b"VRFY", b"501 5.5.4"),
        ([], b"EXPN list", b"502 5.5.1"),
        ([], b"ETRN x", b"502 5.5.1"),
        ([], b"TURN", b"502 5.5.1"),
        ([], b"STARTTLS", b"502 5.5.1"),
        ([], b"STARTTLS now", b"501 5.5.4"),
        ([HELLO], b"AUTH PLAIN AAAA", b"503 5.5.1"),
        ([], b"QUIT", b"221 2.0.0"),
        ([], b"QUIT now", b"501 5.5.4"),
        ([], b"", b"500 5.5.1"),
        ([], b" NOOP", b"500 5.5.1"),
        ([], b"XYZZY", b"500 5.5.1"),
        ([], b"\x00\xff", b"500 5.5.1"),
        ([], b"M\xc3\x84IL x", b"500 5.5.1"),
    ],
)
def test_each_command_has_its_reply(
    tmp_path: Path, before: list[bytes], line: bytes, reply: bytes
) -> None:
    said = talk(session(tmp_path), *before, line)
    assert said.startswith(reply)
    assert said.endswith(b"\r\n")
    if not re.match(rb"EHLO|HELO|DATA", line, re.IGNORECASE):
        assert re.match(rb"[245]\d\d [245]\.\d\.\d+ [ -~]+\r\n$", said)


@pytest.mark.parametrize("line", [b"EHLO x", b"HELO x", b"MAIL FROM:<a@b>", b"NOOP"])
def test_a_command_may_end_with_a_bare_lf(tmp_path: Path, line: bytes) -> None:
    talker = session(tmp_path)
    talker.receive(b"EHLO x\n" + line + b"\n")
    assert talker.dialogue.take_replies().count(b"\r\n250 ") >= 1


def test_everything_may_come_at_once_or_octet_by_octet(tmp_path: Path) -> None:
    stream = (
        HELLO + b"\r\n" + MAIL + b"\r\n" + RCPT + b"\r\nDATA\r\nA: b\r\n\r\nhi\r\n.\r\nQUIT\r\n"
    )
    whole, pieces = session(tmp_path), session(tmp_path)
    step = whole.receive(stream)
    steps = [pieces.receive(stream[i : i + 1]) for i in range(len(stream) - len(b"QUIT\r\n"))]
    assert step == steps[-1]
    assert isinstance(step, Accept)
    assert set(steps[:-1]) == {None}
    assert whole.dialogue.take_replies() == pieces.dialogue.take_replies()
    whole.dialogue.settle(Reply(250, "2.0.0", "queued"))
    assert isinstance(whole.receive(b""), HangUp)
    assert whole.dialogue.take_replies() == b"250 2.0.0 queued\r\n221 2.0.0 bye\r\n"


def test_nothing_is_read_before_a_message_is_settled(tmp_path: Path) -> None:
    talker = session(tmp_path)
    talk(talker, HELLO, MAIL, RCPT, b"DATA")
    assert isinstance(talker.receive(b".\r\nNOOP\r\n"), Accept)
    assert talker.hold(b"NOOP\r\n") == 12
    assert talker.dialogue.take_replies() == b""
    talker.dialogue.settle(Reply(451, "4.3.0", "not now"))
    assert talker.receive(b"") is None
    assert talker.dialogue.take_replies() == b"451 4.3.0 not now\r\n" + b"250 2.0.0 Ok\r\n" * 2


@pytest.mark.parametrize(
    ("smtputf8", "reply", "said"),
    [
        (False, Reply(250, "2.0.0", "A → B"), b"250 2.0.0 A ? B\r\n"),
        (True, Reply(250, "2.0.0", "A → B"), "250 2.0.0 A → B\r\n".encode()),
        (False, Reply(550, None, "no"), b"550 no\r\n"),
        (False, Reply(550, "5.7.1", "a\nb\r\n"), b"550-5.7.1 a\r\n550-5.7.1 b?\r\n550 5.7.1 \r\n"),
    ],
)
def test_a_reply_is_said_in_ascii_unless_smtputf8_was(
    tmp_path: Path, smtputf8: bool, reply: Reply, said: bytes
) -> None:
    talker = session(tmp_path)
    talk(talker, HELLO, MAIL + (b" SMTPUTF8" if smtputf8 else b""), RCPT, b"DATA", b".")
    talker.dialogue.settle(reply)
    assert talker.dialogue.take_replies() == said


def test_the_envelope_says_what_was_declared(tmp_path: Path) -> None:
    talker = session(tmp_path)
    talk(talker, b"EHLO a\x07b\xff", b"MAIL FROM:<> BODY=8BITMIME SMTPUTF8", RCPT, RCPT)
    talk(talker, "RCPT TO:<ü@x.example>".encode(), b"DATA")
    step = talker.receive("Subject: ü\r\n.\r\n".encode())
    assert isinstance(step, Accept)
    message = step.message
    assert message.envelope.reverse_path is None
    assert message.envelope.forward_paths == ("c@d.example", "ü@x.example")
    assert message.envelope.body_8bit
    assert message.envelope.smtputf8
    assert message.origin.helo == "a?b\ufffd"
    assert message.origin.client == "192.0.2.7"
    assert isinstance(message.content, bytes)
    assert b" with UTF8SMTP id " in message.content
    assert message.content.endswith("Subject: ü\r\n".encode())


def test_an_exception_resets_the_transaction_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talker = session(tmp_path)
    talk(talker, HELLO, MAIL, RCPT)
    with monkeypatch.context() as patch:
        patch.setattr(Desk, "now", broken)
        said = talk(talker, b"DATA")
    assert said.startswith(b"451 4.3.0 internal error, reference ")
    assert b"secret" not in said
    assert talk(talker, RCPT).startswith(b"503")
    assert talk(talker, MAIL, RCPT, b"DATA").startswith(b"354")


def test_an_exception_within_content_ends_the_session_since_its_end_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talker = session(tmp_path)
    talk(talker, HELLO, MAIL, RCPT, b"DATA")
    monkeypatch.setattr(DataReader, "read", broken)
    assert talker.receive(b"hello\r\n") == HangUp()
    assert talker.dialogue.take_replies().startswith(b"451 4.3.0 internal error, reference ")


def test_an_exception_after_content_keeps_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talker = session(tmp_path)
    talk(talker, HELLO, MAIL, RCPT, b"DATA")
    with monkeypatch.context() as patch:
        patch.setattr("relay.listener.intake.scan_header", broken)
        assert talk(talker, b"hello\r\n.").startswith(b"451 4.3.0 internal error, reference ")
    assert talk(talker, MAIL, RCPT, b"DATA").startswith(b"354")


def test_starttls_forgets_what_came_with_it(tmp_path: Path) -> None:
    talker = session(tmp_path, tls=Tls.STARTTLS)
    step = talker.receive(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<evil@example.com>\r\n")
    assert step == Upgrade()
    assert talker.dialogue.take_replies().endswith(b"220 2.0.0 ready to start TLS\r\n")
    talker.dialogue.secured()
    assert talker.receive(b"") is None
    assert talker.dialogue.take_replies() == b""
    assert talk(talker, MAIL).startswith(b"503 5.5.1 send EHLO")


@pytest.mark.parametrize(
    ("is_local", "tls", "secured", "offered"),
    [
        (True, Tls.NONE, False, True),
        (True, Tls.STARTTLS, False, True),
        (False, Tls.NONE, False, True),
        (False, Tls.STARTTLS, False, False),
        (False, Tls.STARTTLS, True, True),
        (False, Tls.IMPLICIT, True, True),
    ],
)
def test_passwords_go_in_the_clear_only_where_nothing_better_is(
    tmp_path: Path, is_local: bool, tls: Tls, secured: bool, offered: bool
) -> None:
    talker = session(tmp_path, is_local=is_local, tls=tls, auth=Auth.REQUIRED, applications=(APP,))
    if secured:
        talker.dialogue.secured()
    assert (b"AUTH PLAIN LOGIN" in talk(talker, HELLO)) == offered
    expected = b"235 2.7.0" if offered else b"538 5.7.11"
    assert talk(talker, b"AUTH PLAIN AGFwcABzZWNyZXQ=").startswith(expected)


@pytest.mark.parametrize("random_octets", [b"\x07" * 32, b"\n" * 32], ids=["plain", "with LF"])
def test_a_tls_client_on_a_plain_port_is_told_at_once(tmp_path: Path, random_octets: bytes) -> None:
    talker = session(tmp_path)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random_octets
    assert isinstance(talker.receive(hello), HangUp)
    assert talker.dialogue.take_replies().startswith(b"421 4.7.0")

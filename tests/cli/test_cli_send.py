"""`relay send` to a scripted server, and what it makes of the replies."""

from __future__ import annotations

import socket
from email import message_from_bytes, policy
from pathlib import Path

import pypdfium2
import pytest
from commanding import Terminal
from conftest import Live
from upstream import Drop, Upstream

from relay.cli.samples import make_pdf


def door(upstream: Upstream) -> tuple[str, str]:
    return "--server", f"{upstream.host}:{upstream.port}"


def test_an_invoice_is_handed_in_and_the_reply_shown(relay: Terminal, live: Live) -> None:
    upstream = live(Upstream(script={"dot": "250 2.0.0 queued as 01A (invoice -> native)"}))
    said = relay("send", "--kind", "invoice", *door(upstream))
    assert (said.code, said.err) == (0, "")
    assert said.out == "250 2.0.0 queued as 01A (invoice -> native)\n"
    (transaction,) = upstream.messages
    assert transaction.reverse_path == "billing@shop.example.com"
    assert transaction.forward_paths == ("anna@example.net",)
    mail = message_from_bytes(transaction.content, policy=policy.default)
    (pdf,) = mail.iter_attachments()
    page = pypdfium2.PdfDocument(pdf.get_payload(decode=True))[0]
    text = page.get_textpage().get_text_range()
    assert "Invoice 2026-0042" in text
    assert "Total 119.00 EUR" in text


def test_a_message_is_as_the_options_say(relay: Terminal, live: Live, tmp_path: Path) -> None:
    upstream = live(Upstream())
    (tmp_path / "notes.txt").write_text("Milk\n")
    said = relay(
        "send", "--from", "<>", "--to", "a@example.net", "-t", "jörg@example.net",
        "--subject", "Grüße", "--attach", str(tmp_path / "notes.txt"), "-n", "2", *door(upstream),
    )  # fmt: skip
    assert said.code == 0
    assert len(said.out.splitlines()) == 2
    mails = [message_from_bytes(each.content, policy=policy.default) for each in upstream.messages]
    assert [each.reverse_path for each in upstream.messages] == ["", ""]
    assert upstream.messages[0].forward_paths == ("a@example.net", "jörg@example.net")
    assert mails[0]["Subject"] == "Grüße"
    assert [part.get_filename() for part in mails[0].iter_attachments()] == ["notes.txt"]
    assert mails[0]["Message-ID"] != mails[1]["Message-ID"]


def test_many_are_summed_up(relay: Terminal, live: Live) -> None:
    upstream = live(Upstream(script={"dot": "250 taken"}))
    said = relay("send", "--count", "25", *door(upstream))
    assert len(upstream.messages) == 25
    first, last = said.out.splitlines()
    assert first.startswith("25 messages taken in ")
    assert last == "250 taken"


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ({"dot": "451 4.3.0 try\n451 later"}, 75, "Not now: 451 4.3.0 try"),
        ({"mail": "421 4.3.2 busy"}, 75, "Not now: 421 4.3.2 busy"),
        ({"greeting": "554 go away"}, 77, "Refused: 554 go away"),
        ({"rcpt": "550 5.1.1 \x1b[2J unknown"}, 77, r"Refused: 550 5.1.1 \x1b[2J unknown"),
        ({"data": "552 5.3.4 too large"}, 77, "Refused: 552 5.3.4 too large"),
        ({"dot": Drop()}, 75, "127.0.0.1:"),
    ],
)
def test_how_it_ends_is_what_the_server_said(
    relay: Terminal, live: Live, script: dict[str, str | Drop], code: int, says: str
) -> None:
    said = relay("send", *door(live(Upstream(script=script))))
    assert (said.code, said.out) == (code, "")
    assert said.err.startswith(says)


def test_it_says_that_nobody_takes_mail(relay: Terminal) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        said = relay("send", "--server", f"127.0.0.1:{free.getsockname()[1]}")
    assert said.code == 69
    assert said.err.startswith("Nobody takes mail at 127.0.0.1:")
    assert "`relay run`" in said.err


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("--server", "mail.example.com"), id="no port"),
        pytest.param(("--server", "127.0.0.1:99999"), id="no such port"),
        pytest.param(("--subject", "a\nBcc: b@example.net"), id="a line end in the subject"),
        pytest.param(("--kind", "spam"), id="no such kind"),
    ],
)
def test_wrong_usage_is_told(relay: Terminal, words: tuple[str, ...]) -> None:
    assert relay("send", *words).code == 2


def test_a_relay_that_sends_for_real_wants_to_be_told_to_whom(relay: Terminal) -> None:
    relay.write_settings("channels: {native: {sendmail: {command: [/bin/true]}}}\n")
    said = relay("send")
    assert said.code == 2
    assert "say --to" in said.err


def test_a_pdf_shows_what_stands_in_it() -> None:
    page = pypdfium2.PdfDocument(make_pdf((r"brackets (\) and \n", "second")))[0]
    assert page.get_textpage().get_text_range().splitlines() == [r"brackets (\) and \n", "second"]

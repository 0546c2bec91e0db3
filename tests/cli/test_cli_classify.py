"""`relay classify` on the sample mail, which is also what `relay send` sends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commanding import Terminal

from relay.cli.samples import RECIPIENT, SENDERS, Sample, make_sample


def sample(kind: Sample) -> bytes:
    return make_sample(kind, SENDERS[kind], [RECIPIENT], None, []).as_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with one mail of each sort."""
    folder = tmp_path / "mail"
    folder.mkdir()
    for kind in Sample:
        (folder / f"{kind}.eml").write_bytes(sample(kind))
    return folder


def test_samples_are_what_they_are_meant_to_be(relay: Terminal, folder: Path) -> None:
    said = relay("classify", "--json", str(folder))
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [(Path(row["file"]).name, row["kind"], row["channel"]) for row in rows] == [
        ("invoice.eml", "invoice", "native"),
        ("newsletter.eml", "marketing", "direct"),
        ("plain.eml", "direct", "direct"),
    ]
    for row in rows:
        assert list(row) == ["file", "kind", "certainty", "channel", "reasons"]
        assert 0 < row["certainty"] <= 1
        assert row["reasons"]
        assert all(isinstance(reason, str) for reason in row["reasons"])
    assert any("invoice-2026-0042.pdf" in reason for reason in rows[0]["reasons"])
    assert (said.code, said.err) == (0, "")


def test_one_is_told_at_length(relay: Terminal) -> None:
    said = relay("classify", "-", stdin=sample(Sample.INVOICE))
    lines = said.out.splitlines()
    assert lines[0] == "-"
    assert lines[1].startswith("  it is    invoice, ")
    assert lines[2:4] == ["  goes by  native, then direct", "  because"]
    assert len(lines) > 4


def test_many_are_told_in_a_line_each_and_counted(relay: Terminal, folder: Path) -> None:
    mailbox = folder / "box"
    mailbox.write_bytes(b"".join(b"From x\n" + sample(Sample.PLAIN) + b"\n" for _ in range(3)))
    said = relay("classify", str(folder), str(mailbox))
    assert said.out.count(f"{mailbox}#") == 3
    assert "KIND       MESSAGES  SHARE" in said.out
    assert said.out.endswith("6 messages\n")


def test_what_cannot_be_read_does_not_keep_the_others(relay: Terminal, folder: Path) -> None:
    said = relay("classify", "--json", "/no/such/file", str(folder / "plain.eml"))
    assert said.json["kind"] == "direct"
    assert said.err == "/no/such/file: no such file or directory\n"
    assert said.code == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"\r\n\r\n", "it is no mail: no header"),
        (b"\x7fELF\x02\x01\x00\x00" + bytes(range(256)) * 1000, "it is no mail: no header"),
        (b"%PDF-1.7\n%\xe2\xe3\n1 0 obj\n<< /Type /Catalog >>\n", "it is no mail: no header"),
        (b"From ann Sat Nov 21 12:00:00 2026\n", "it is no mail: no header"),
    ],
    ids=["empty", "blank", "a program", "a PDF", "a mailbox of nothing"],
)
def test_what_is_no_mail_is_said_to_be_none(
    relay: Terminal, folder: Path, content: bytes, why: str
) -> None:
    (folder / "odd.eml").write_bytes(content)
    said = relay("classify", "--json", str(folder))
    assert len(said.out.splitlines()) == len(Sample)
    assert said.err == f"{folder}/odd.eml: {why}\n"
    assert said.code == 1


def test_a_draft_without_sender_is_no_report(relay: Terminal) -> None:
    said = relay("classify", "--json", "-", stdin=b"Subject: Rechnung 7\n\nRechnung 7: 9,00 EUR\n")
    assert said.json["kind"] == "invoice"


SETTINGS = """\
channels: {native: {folder: {path: /x}}, direct: {folder: {path: /y}}, esp: {folder: {path: /z}}}
classification:
  rules:
    - when: {header: {Subject: "Newsletter*"}, kind: marketing}
      kind: notification
  phrases: {any: {invoice: [Honorarblatt*]}}
routing:
  only_use_for_direct_emails: false
  rules:
    - when: {kind: notification}
      via: [esp, direct]
    - when: {recipient: "*@nowhere.example"}
      refuse: no
"""
LETTER = b"From: a@b.example\nTo: c@%s.example\nSubject: %s\n\nsee the page\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(LETTER % (b"d", b"Honorarblatt 2026-77"), ("invoice", "direct"), id="phrase"),
        pytest.param(
            b"List-Unsubscribe: <https://b.example/u>\nPrecedence: bulk\n"
            + LETTER % (b"d", b"Newsletter 7: 20 % Rabatt"),
            ("notification", "esp"),
            id="rules",
        ),
        pytest.param(LETTER % (b"nowhere", b"Rechnung 7"), ("invoice", None), id="refused"),
    ],
)
def test_the_owner_s_settings_count(
    relay: Terminal, content: bytes, expected: tuple[str, str | None]
) -> None:
    relay.write_settings(SETTINGS)
    said = relay("classify", "--json", "-", stdin=content)
    assert (said.json["kind"], said.json["channel"]) == expected
    assert list(said.json) == ["file", "kind", "certainty", "channel", "reasons"]
    if expected[1] is None:
        told = relay("classify", "-", stdin=content).out
        assert "  goes by  nowhere: rule 2 (relay.yaml:12) refuses it\n" in told


def test_mistakes_in_the_settings_are_told_before_anything_is_read(
    relay: Terminal, folder: Path
) -> None:
    path = relay.write_settings("channels: {}\n")
    said = relay("classify", str(folder))
    assert (said.code, said.out) == (78, "")
    assert said.err == f"{path}:1: channels: expected at least one channel, got none\n"


def test_the_envelope_can_be_given(relay: Terminal, folder: Path) -> None:
    said = relay("classify", "--json", "--sender", "<>", str(folder / "plain.eml"))
    assert said.json["kind"] == "report"


def test_hostile_words_reach_no_terminal(relay: Terminal) -> None:
    mail = b"From: a@b.example\nSubject: Invoice \x1b[2J =?utf-8?q?=1B[31m=E2=80=AE?= 7\n\nhi\n"
    for mode in ((), ("--json",)):
        said = relay("classify", *mode, "-", stdin=mail)
        assert said.code == 0
        assert all(char.isprintable() or char == "\n" for char in said.out)

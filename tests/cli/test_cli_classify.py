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


def test_the_envelope_can_be_given(relay: Terminal, folder: Path) -> None:
    said = relay("classify", "--json", "--sender", "<>", str(folder / "plain.eml"))
    assert said.json["kind"] == "report"


def test_hostile_words_reach_no_terminal(relay: Terminal) -> None:
    mail = b"From: a@b.example\nSubject: Invoice \x1b[2J =?utf-8?q?=1B[31m=E2=80=AE?= 7\n\nhi\n"
    for mode in ((), ("--json",)):
        said = relay("classify", *mode, "-", stdin=mail)
        assert said.code == 0
        assert all(char.isprintable() or char == "\n" for char in said.out)

"""Mail is found in files, folders, mailboxes and standard input."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.cli.mails import Mail, Unreadable, envelope_of, find_files, read_mails
from relay.mail.message import Envelope

MAIL = b"Subject: one\n\nFirst.\n"


def test_a_folder_gives_its_eml_files_in_order(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.eml", "a.EML", "deep/c.eml", "notes.txt"):
        (tmp_path / name).write_bytes(MAIL)
    (tmp_path / "empty").mkdir()
    found = find_files([str(tmp_path), "-", str(tmp_path / "empty"), "missing"])
    assert found == [
        *(f"{tmp_path}/{name}" for name in ("a.EML", "b.eml", "deep/c.eml")),
        "-",
        f"{tmp_path}/empty",
        "missing",
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"a: b\n\nx\ry", [("", b"a: b\r\n\r\nx\r\ny\r\n")], id="becomes wire format"),
        pytest.param(b"From x\na: b\n\nx\n", [("", b"a: b\r\n\r\nx\r\n")], id="mbox of one"),
        pytest.param(
            b"From x\na: 1\n\n>From me\n>>From you\nFrom here on\n\nFrom y\r\na: 2\r\n",
            [
                ("#1", b"a: 1\r\n\r\nFrom me\r\n>From you\r\nFrom here on\r\n\r\n"),
                ("#2", b"a: 2\r\n"),
            ],
            id="mbox of two",
        ),
    ],
)
def test_a_file_gives_its_mail(
    tmp_path: Path, data: bytes, expected: list[tuple[str, bytes]]
) -> None:
    path = tmp_path / "mail"
    path.write_bytes(data)
    assert list(read_mails(str(path))) == [
        Mail(f"{path}{end}", content) for end, content in expected
    ]


def test_what_gives_none_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    told = [*read_mails(f"{tmp_path}/empty"), *read_mails(f"{tmp_path}/folder"), *read_mails("/no")]
    assert told == [
        Unreadable(f"{tmp_path}/empty", "it is empty"),
        Unreadable(f"{tmp_path}/folder", "no .eml file is in this folder"),
        Unreadable("/no", "no such file or directory"),
    ]


HEADER = (
    b"From: Ann <ann@example.com>\r\nTo: Bob <bob@example.net>,\r\n carl@example.net\r\n"
    b"Cc: undisclosed, dora@example.net\r\n\r\n"
)
THREE = ("bob@example.net", "carl@example.net", "dora@example.net")


@pytest.mark.parametrize(
    ("content", "sender", "recipients", "expected"),
    [
        pytest.param(HEADER, None, [], ("ann@example.com", THREE), id="from the header"),
        pytest.param(b"Return-Path: <>\r\n" + HEADER, None, [], (None, THREE), id="a report"),
        pytest.param(
            b"Return-Path: <b@example.org>\r\n" + HEADER, None, [], ("b@example.org", THREE),
            id="the path it came by",
        ),
        pytest.param(HEADER, "<>", ["x@y.example"], (None, ("x@y.example",)), id="as given"),
        pytest.param(
            b"\r\n",
            None,
            [],
            ("undisclosed-recipients@localhost", ("undisclosed-recipients@localhost",)),
            id="nothing is known",
        ),
    ],
)  # fmt: skip
def test_the_envelope_is_guessed(
    content: bytes,
    sender: str | None,
    recipients: list[str],
    expected: tuple[str | None, tuple[str, ...]],
) -> None:
    reverse_path, forward_paths = expected
    assert envelope_of(content, sender, recipients) == Envelope(
        reverse_path=reverse_path, forward_paths=forward_paths
    )

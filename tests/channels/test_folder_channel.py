"""Stories of the folder channel on a real file system."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os

import pytest

from relay.channels.channel import Parcel
from relay.channels.folder import FolderChannel
from relay.channels.options import FolderOptions
from relay.mail.attempt import Refused, Sent
from relay.mail.message import Spooled
from relay.mail.reply import Phase

CONTENT = b"Subject: a bill\r\n\r\n.dot\r\n"
PARCEL = Parcel(
    queue_id="0123456789ABC",
    reverse_path="me@example.com",
    forward_paths=("ann@example.net", "é@example.net"),
    content=CONTENT,
    body_8bit=False,
    smtputf8=False,
)


def test_files_what_would_have_been_sent(run, tmp_path):
    channel = FolderChannel("native", FolderOptions(path=str(tmp_path / "out")))

    async def story():
        attempt = await channel.send(PARCEL)
        assert [type(outcome) for outcome in attempt.outcomes] == [Sent, Sent]
        assert attempt.data_sent
        await channel.close()

    run(story())
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "0123456789ABC.eml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == (
        b"X-Envelope-From: me@example.com\r\n"
        b"X-Envelope-To: ann@example.net\r\n"
        b"X-Envelope-To: \xc3\xa9@example.net\r\n" + CONTENT
    )


def test_each_try_has_a_file_of_its_own(run, tmp_path):
    channel = FolderChannel("native", FolderOptions(path=str(tmp_path)))
    kept = tmp_path / "content"
    kept.write_bytes(CONTENT)
    parcel = dataclasses.replace(
        PARCEL, reverse_path=None, content=Spooled(str(kept), len(CONTENT))
    )

    async def story():
        await asyncio.gather(*(channel.send(parcel) for _ in range(10)))

    run(story())
    files = sorted(tmp_path.glob("*.eml"))
    assert len(files) == 10
    assert {path.read_bytes() for path in files} == {
        b"X-Envelope-From: <>\r\nX-Envelope-To: ann@example.net\r\n"
        b"X-Envelope-To: \xc3\xa9@example.net\r\n" + CONTENT
    }
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.ENOSPC, "452 4.3.1"), (errno.EIO, "451 4.3.0")]
)
def test_a_disk_that_fails_is_the_channels_fault_and_leaves_nothing(
    run, tmp_path, monkeypatch, number, expected
):
    def fail(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", fail)
    channel = FolderChannel("native", FolderOptions(path=str(tmp_path)))

    async def story():
        outcome = (await channel.send(PARCEL)).outcomes[0]
        assert isinstance(outcome, Refused)
        assert outcome.phase is Phase.CONNECT
        assert str(outcome.reply).startswith(expected)
        assert outcome.errno == number

    run(story())
    assert list(tmp_path.iterdir()) == []


def test_content_that_is_missing_is_not_the_channels_fault(run, tmp_path):
    channel = FolderChannel("native", FolderOptions(path=str(tmp_path)))
    parcel = dataclasses.replace(PARCEL, content=Spooled(str(tmp_path / "missing"), 3))

    async def story():
        outcome = (await channel.send(parcel)).outcomes[0]
        assert isinstance(outcome, Refused)
        assert (outcome.phase, outcome.reply.status) == (Phase.DATA, "4.3.0")

    run(story())
    assert list(tmp_path.iterdir()) == []


def test_an_address_forges_no_field(run, tmp_path):
    channel = FolderChannel("native", FolderOptions(path=str(tmp_path)))
    parcel = dataclasses.replace(PARCEL, reverse_path="a@b\r\nBcc: c@d")

    async def story():
        assert (await channel.send(parcel)).outcomes[0].reply.status == "5.6.0"

    run(story())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_refuses(run, tmp_path):
    (tmp_path / "out").write_text("")
    channel = FolderChannel("native", FolderOptions(path=str(tmp_path / "out")))

    async def story():
        attempt = await channel.send(PARCEL)
        assert attempt.outcomes[0].reply.code == 451
        assert (channel.name, channel.upstream) == ("native", str(tmp_path / "out"))

    run(story())

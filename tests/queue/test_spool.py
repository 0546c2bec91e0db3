"""Files for large content, made one by one or beforehand."""

import os
from pathlib import Path

import pytest

from relay.mail.message import Spooled
from relay.queue.spool import Spool


@pytest.fixture
def synced(monkeypatch):
    """Return the paths that were synced, in order."""
    paths = []
    fsync = os.fsync

    def told(fd: int) -> None:
        paths.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", told)
    return paths


def test_the_name_of_a_new_file_is_synced_once(tmp_path, synced):
    spool = Spool(tmp_path)
    spool.open().finish()
    spool.sync_names()
    spool.sync_names()
    assert synced == [str(tmp_path)]


def test_a_file_made_beforehand_has_a_durable_name(tmp_path, synced):
    spool = Spool(tmp_path)
    spool.prepare()
    assert synced == [str(tmp_path)]
    writer = spool.open()
    writer.write(b"content")
    content = writer.finish()
    spool.sync(content)
    spool.sync_names()
    assert synced == [str(tmp_path)]
    spool.tidy()
    assert spool.files() == {content.path}


def test_a_name_that_could_not_be_synced_is_synced_again(tmp_path, monkeypatch):
    spool = Spool(tmp_path)
    spool.open().finish()
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5, "broken")))
        with pytest.raises(OSError, match="broken"):
            spool.sync_names()
        with pytest.raises(OSError, match="broken"):
            spool.prepare()
    assert len(spool.files()) == 1  # of what could not be prepared nothing is left
    names = []
    monkeypatch.setattr(os, "fsync", names.append)
    spool.sync_names()
    assert len(names) == 1


def test_when_too_few_were_made_the_next_is_made_at_once(tmp_path):
    spool = Spool(tmp_path)
    spool.prepare()
    ready = len(spool.files())
    paths = {spool.open().finish().path for _ in range(ready + 3)}
    assert len(paths) == ready + 3
    assert spool.is_short


def test_a_file_that_is_done_with_is_used_again_and_holds_nothing_of_what_was_in_it(tmp_path):
    spool = Spool(tmp_path)
    first = spool.open()
    first.write(b"a long letter that is done with")
    old = first.finish()
    assert spool.use_again(old)
    second = spool.open()
    second.write(b"short")
    new = second.finish()
    assert (new.path, new.size_bytes) == (old.path, 5)
    assert Path(new.path).read_bytes() == b"short"


def test_a_large_file_and_one_that_is_gone_are_not_used_again(tmp_path):
    spool = Spool(tmp_path)
    assert not spool.use_again(Spooled(str(tmp_path / "large.eml"), 10_000_000))
    assert not spool.use_again(Spooled(str(tmp_path / "gone.eml"), 10))

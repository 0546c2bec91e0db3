"""Connections that were kept, on a real disk."""

from __future__ import annotations

import stat

import pytest

from relay.channels.options import Security
from relay.connect.kept import Kept, KeptError, KeptPassword, forget, path_of, read, write
from tests.making import NOON

KEPT = Kept(
    host="smtp.example.com",
    port=465,
    security=Security.IMPLICIT,
    username="me@example.com",
    password="s3cret-ü",
    connected_at=NOON,
)


def test_it_is_read_as_it_was_written_and_nobody_else_may(tmp_path):
    path = write(tmp_path, "direct", KEPT)
    assert path == path_of(tmp_path, "direct")
    assert read(tmp_path, "direct") == KEPT
    assert read(tmp_path, "native") is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["direct.json"]
    assert "s3cret" not in repr(read(tmp_path, "direct"))


def test_the_password_is_read_each_time(tmp_path):
    path = write(tmp_path, "direct", KEPT)
    password = KeptPassword(path, NOON)
    assert password() == "s3cret-ü"
    assert forget(tmp_path, "direct")
    assert not forget(tmp_path, "direct")
    with pytest.raises(KeptError, match="holds no password"):
        password()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2}', '{"version": 1, "host": "a"}'])
def test_a_file_that_is_something_else_is_told(tmp_path, text):
    path = write(tmp_path, "direct", KEPT)
    path.write_text(text)
    with pytest.raises(KeptError, match="connect the channel again"):
        read(tmp_path, "direct")


def test_where_it_cannot_be_written_it_says_so(tmp_path):
    (tmp_path / "connections").write_text("a file")
    with pytest.raises(KeptError, match="cannot be written"):
        write(tmp_path, "direct", KEPT)

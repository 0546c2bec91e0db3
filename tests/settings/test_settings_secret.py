"""Secrets are named, read when needed, and never shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.channels.options import SmtpOptions
from relay.settings.loader import load
from relay.settings.secret import CredentialSecret, EnvSecret, FileSecret, SecretError

SECRET = "correct horse"


def keep(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"correct horse", SECRET),
        (b"correct horse\n", SECRET),
        (b"correct horse\r\n", SECRET),
        (b"correct horse\n\n", f"{SECRET}\n"),
        (b" correct horse ", f" {SECRET} "),
        ("geheim-ß".encode(), "geheim-ß"),
    ],
)
def test_a_secret_is_all_of_its_file_but_the_newline(
    tmp_path: Path, data: bytes, expected: str
) -> None:
    assert FileSecret(str(keep(tmp_path / "s", data)))() == expected
    assert CredentialSecret("s", {"CREDENTIALS_DIRECTORY": str(tmp_path)})() == expected


def test_a_secret_is_read_at_each_use(tmp_path: Path) -> None:
    path = keep(tmp_path / "s", b"old\n")
    secret = FileSecret(str(path))
    assert secret() == "old"
    path.write_bytes(b"new\n")
    assert secret() == "new"


def test_an_environment_variable_holds_a_secret() -> None:
    assert EnvSecret("P", {"P": "correct horse\n"})() == SECRET


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda tmp: FileSecret(f"{tmp}/none"), "secret file /.*/none: No such file"),
        (lambda tmp: FileSecret(str(tmp)), "secret file /.*: Is a directory"),
        (lambda tmp: FileSecret(str(keep(tmp / "s", b"\n"))), "secret file /.*/s: is empty"),
        (lambda tmp: FileSecret(str(keep(tmp / "s", b"\xff"))), "s: is not text in UTF-8"),
        (lambda tmp: FileSecret(str(keep(tmp / "s", b"x" * 65537))), "s: is larger than 64 KiB"),
        (lambda tmp: EnvSecret("P", {}), "environment variable P is not set or empty: set it"),
        (lambda tmp: EnvSecret("P", {"P": ""}), "environment variable P is not set or empty"),
        (lambda tmp: CredentialSecret("c", {}), "systemd passed none; add LoadCredential=c:/path"),
        (
            lambda tmp: CredentialSecret("c", {"CREDENTIALS_DIRECTORY": str(tmp)}),
            "credential c: No such file",
        ),
    ],
)
def test_a_secret_that_is_missing_says_what_to_do(
    tmp_path: Path, make: Callable[[Path], Callable[[], str]], expected: str
) -> None:
    with pytest.raises(SecretError, match=expected):
        make(tmp_path)()


def test_an_undecodable_secret_is_not_in_the_traceback(tmp_path: Path) -> None:
    path = keep(tmp_path / "s", b"hunter2\xff")
    with pytest.raises(SecretError) as caught:
        FileSecret(str(path))()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o644])
def test_a_file_that_is_open_to_others_is_worth_a_warning(tmp_path: Path, mode: int) -> None:
    warning = FileSecret(str(keep(tmp_path / "s", b"x", mode))).warning()
    assert warning == f"{tmp_path}/s is open to others (mode {mode:04o}): chmod 600 it"


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_is_not(tmp_path: Path, mode: int) -> None:
    assert FileSecret(str(keep(tmp_path / "s", b"x", mode))).warning() is None


def test_what_is_not_there_is_worth_a_warning(tmp_path: Path) -> None:
    folder = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    keep(tmp_path / "there", b"x")
    assert FileSecret(f"{tmp_path}/none").warning() == (
        f"{tmp_path}/none cannot be read now: No such file or directory"
    )
    assert FileSecret(str(tmp_path)).warning() == f"{tmp_path} is not a file"
    assert EnvSecret("P", {}).warning() == "variable P is not set or empty"
    assert EnvSecret("P", {"P": "x"}).warning() is None
    assert CredentialSecret("there", folder).warning() is None
    assert CredentialSecret("none", folder).warning() is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_another_is_worth_a_warning(tmp_path: Path) -> None:
    warning = FileSecret(str(keep(tmp_path / "s", b"x", 0o200))).warning()
    assert warning is not None
    assert "Permission denied" in warning


def test_nothing_shows_a_secret(tmp_path: Path) -> None:
    secret_file = keep(tmp_path / "direct.password", SECRET.encode(), 0o644)
    path = tmp_path / "relay.yaml"
    path.write_text(
        f"""\
listeners:
  - address: 127.0.0.1:2525
    auth: required
    applications: [{{login: shop, password: {{env: SHOP}}}}]
channels:
  direct: {{smtp: {{host: h, username: u, password: {{file: {secret_file}}}}}}}
"""
    )
    settings = load(path, {"SHOP": "battery staple"})
    options = settings.channels["direct"].options
    assert isinstance(options, SmtpOptions)
    assert options.password is not None
    password = settings.listeners[0].applications[0].password
    shown = f"{settings!r} {settings} {options.password!r} {password!r} {settings.warnings}"
    assert SECRET not in shown
    assert "battery staple" not in shown
    assert (options.password(), password()) == (SECRET, "battery staple")
    (warning,) = settings.warnings
    assert warning.startswith(f"{path}:6: channels.direct.smtp.password: {secret_file} is open to")

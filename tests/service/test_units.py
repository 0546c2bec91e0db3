"""The systemd units: how far relay is locked up, and that it runs all the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from story.programs import program

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "systemd"
SERVICE = UNITS / "relay.service"
WELL_LOCKED = 1.5


def analyze(*arguments: str) -> str:
    """Return what systemd-analyze says; fail with its words when it fails."""
    done = subprocess.run(
        [program("systemd-analyze"), "--no-pager", *arguments],
        capture_output=True,
        text=True,
        env={"LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"},
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def exposure(unit: Path) -> float:
    """Return how much of the machine a unit can reach, 0 to 10, with the drop-ins beside it."""
    found = re.search(
        r"Overall exposure level .*: ([0-9.]+)",
        analyze("security", "--offline=true", str(unit)),
    )
    assert found
    return float(found[1])


def with_drop_in(name: str, folder: Path) -> Path:
    """Return a copy of the unit that has a drop-in."""
    (folder / "relay.service.d").mkdir()
    for source, target in ((SERVICE, SERVICE.name), (UNITS / name, "relay.service.d/it.conf")):
        (folder / target).write_bytes(source.read_bytes())
    return folder / SERVICE.name


def written_in(name: str) -> float:
    """Return the exposure that a file of ours says it has."""
    found = re.search(r"exposure ([0-9]\.[0-9])", (UNITS / name).read_text("utf-8"))
    assert found
    return float(found[1])


def test_the_service_is_as_well_locked_up_as_it_says():
    assert exposure(SERVICE) <= written_in("relay.service") <= WELL_LOCKED


@pytest.mark.parametrize("name", ["relay-sendmail.conf", "relay-sendmail-before-255.conf"])
def test_a_setgid_sendmail_costs_what_is_written_at_its_drop_in(name: str, tmp_path: Path):
    assert exposure(SERVICE) < exposure(with_drop_in(name, tmp_path)) <= written_in(name)


def test_the_units_are_read_without_a_word(tmp_path: Path):
    for unit in ("relay.service", "relay.socket"):
        text = (UNITS / unit).read_text("utf-8")
        (tmp_path / unit).write_text(text.replace("/opt/relay/bin/relay", sys.executable), "utf-8")
    said = analyze("verify", "--man=no", *map(str, tmp_path.iterdir()))
    assert said == ""


def test_the_socket_opens_the_port_that_is_the_default_and_those_in_remarks_are_good():
    text = (UNITS / "relay.socket").read_text("utf-8")
    streams = re.findall(r"^(#?)ListenStream=(.*)$", text, re.MULTILINE)
    assert ("", "127.0.0.1:2525") in streams
    assert ("#", "127.0.0.1:25") in streams
    assert all(address.startswith(("127.0.0.1:", "[::1]:")) for _, address in streams)


def test_a_missing_password_file_does_not_keep_relay_from_starting():
    text = SERVICE.read_text("utf-8")
    loaded = re.findall(r"^LoadCredential=([^:]+):", text, re.MULTILINE)
    fallen_back_on = re.findall(r"^SetCredential=([^:]+):(.+)$", text, re.MULTILINE)
    assert loaded == [name for name, _ in fallen_back_on]
    assert all(value == r"\n" for _, value in fallen_back_on)  # which relay tells from a password

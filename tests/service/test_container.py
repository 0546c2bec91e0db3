"""The image and its settings say the same; `make test-container` builds and runs it."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path

from relay.settings.loader import load

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "config" / "container.yaml"
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def said(instruction: str) -> str:
    """Return what the last stage says after `instruction`."""
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    found = re.search(rf"^{instruction} (.*)$", last, re.MULTILINE)
    assert found
    return found[1]


def test_without_settings_of_its_owner_it_rehearses():
    assert load(SETTINGS, {}).rehearsal


def test_it_takes_mail_from_private_networks_alone_at_the_port_that_is_exposed():
    (listener,) = load(SETTINGS, {}).listeners
    assert str(listener.port) == said("EXPOSE")
    assert listener.networks
    assert all(network.is_private for network in listener.networks)
    assert not any(network.supernet_of(ip_network("8.8.8.8")) for network in listener.networks)


def test_its_state_is_in_the_volume():
    assert str(load(SETTINGS, {}).state_dir) == said("VOLUME")
    assert f"-o relay -g relay {said('VOLUME')}" in DOCKERFILE


def test_it_runs_as_a_user_of_its_own_with_a_number_that_stays():
    uid, _, gid = said("USER").partition(":")
    assert (f"--uid {uid}" in DOCKERFILE, f"--gid {gid}" in DOCKERFILE) == (True, True)
    assert f"the number {uid}" in SETTINGS.read_text("utf-8")


def test_the_build_is_given_no_more_than_it_copies():
    given = set((ROOT / ".dockerignore").read_text("utf-8").split()) - {"*", "**/__pycache__"}
    copied = {
        source.partition("/")[0]
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
        for source in line.split()
    }
    assert {name.removeprefix("!") for name in given} == copied

"""A new user's first minutes: run without settings, send, look, stop. And what a stop leaves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from commanding import Terminal
from conftest import Live
from upstream import Stall, Upstream

Start = Callable[..., "Running"]


class Running:
    """A daemon in a process of its own."""

    def __init__(self, relay: Terminal, port: int) -> None:
        self.port = port
        self.folder = relay.folder
        environ = {**os.environ, **relay.environ}
        with (relay.folder / "out").open("wb") as out, (relay.folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "relay", "run"], env=environ, stdout=out, stderr=err
            )

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    def wait_until_ready(self) -> None:
        """Wait for the listener, for 20 seconds at most."""
        for _ in range(400):
            assert self.process.poll() is None, (self.folder / "err").read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        pytest.fail("relay did not open its listener")

    def stop(self, number: signal.Signals) -> int:
        """Return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def start(relay: Terminal) -> Iterator[Start]:
    """Start daemons with these settings besides a free port and a state_dir of their own."""
    started: list[Running] = []

    def run(settings: str, listener: str = "") -> Running:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        relay.write_settings(
            f"state_dir: {relay.folder}/state\nhttp: null\n"
            f"listeners: [{{address: 127.0.0.1:{port}{listener}}}]\n{settings}"
        )
        running = Running(relay, port)
        started.append(running)
        running.wait_until_ready()
        return running

    yield run
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


REHEARSAL = """\
rehearsal: true
channels:
  direct: {folder: {path: /}}
  native: {folder: {path: /}}
"""


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(400):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it did not come to that")


def test_the_first_minutes_of_a_new_user(relay: Terminal, start: Start) -> None:
    running = start(REHEARSAL)
    wait_for(lambda: "Ctrl-C ends it." in running.out)
    for words in (
        "Nothing leaves this machine.",
        f"swaks --server 127.0.0.1:{running.port} ",
        f"mail out  {relay.folder}/state/rehearsal/",
        "To go live, take `rehearsal: true` out of ",
    ):
        assert words in running.out

    sent = relay("send", "--kind", "invoice")
    assert sent.code == 0
    assert "(invoice -> native, rehearsal: nothing leaves this machine)" in sent.out
    assert "(marketing -> direct, " in relay("send", "--kind", "newsletter").out
    assert "(direct -> direct, " in relay("send").out

    def states() -> list[str]:
        return [row["state"] for row in relay("queue", "list", "--json").json]

    wait_for(lambda: states() == ["sent"] * 3)
    status = relay("status")
    assert status.code == 0
    assert "REHEARSAL: nothing leaves this machine" in status.out
    assert relay("status", "--json").json["snapshot"]["accounting"]["difference"] == 0

    (invoice,) = relay("queue", "list", "--kind", "invoice", "--json").json
    shown = relay("queue", "show", invoice["queue_id"]).out
    assert "channel   native, planned native, then direct (by its kind)" in shown
    assert "sent after" in shown
    folder = Path(f"{relay.folder}/state/rehearsal")
    assert len(list((folder / "direct").glob("*.eml"))) == 2
    (filed,) = (folder / "native").glob("*.eml")
    mail = message_from_bytes(filed.read_bytes(), policy=policy.default)
    assert mail["Subject"] == "Your invoice 2026-0042"

    assert running.stop(signal.SIGTERM) == 0
    assert relay("status").code == 69


def test_mail_waits_for_a_stopped_channel_and_is_held_and_dropped(
    relay: Terminal, start: Start
) -> None:
    running = start(REHEARSAL)
    assert relay("channel", "stop", "direct").code == 0
    relay("send", "--count", "2")
    ids = [row["queue_id"] for row in relay("queue", "list", "--state", "queued", "--json").json]
    assert len(ids) == 2
    assert "waits     direct is stopped by a person" in relay("queue", "show", ids[0]).out
    assert relay("queue", "hold", *ids).out == "2 recipients held\n"
    assert "why       held by hand" in relay("queue", "show", ids[0]).out
    assert relay("queue", "drop", ids[0]).out == "1 recipient dropped\n"
    assert relay("queue", "release", "--all").out == "1 recipient released\n"
    assert relay("channel", "resume", "direct").code == 0
    wait_for(lambda: relay("queue", "list", "--state", "sent", "--json").json != [])
    assert relay("reload").code == 0
    assert running.stop(signal.SIGINT) == 0


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_send_encrypts_and_signs_in_as_the_listener_asks(
    relay: Terminal, start: Start, tls: str
) -> None:
    relay.environ["SHOP_PASSWORD"] = "correct horse"
    pem = Path(__file__).parents[1] / "certificates" / "localhost.pem"
    start(
        REHEARSAL,
        f", tls: {tls}, certificate: {pem}, key: {pem}, auth: required, "
        "applications: [{login: shop, password: {env: SHOP_PASSWORD}}]",
    )
    assert relay("send").out.startswith("250 2.0.0 queued as ")
    relay.environ["SHOP_PASSWORD"] = "wrong"
    refused = relay("send")
    assert (refused.code, refused.err[:9]) == (77, "Refused: ")
    relay.environ["SHOP_PASSWORD"] = ""
    unread = relay("send")
    assert unread.code == 1
    assert "The password of shop: " in unread.err


def test_a_stop_that_cannot_wait_longer_says_so(relay: Terminal, start: Start, live: Live) -> None:
    upstream = live(Upstream(script={"dot": Stall()}))
    running = start(
        "shutdown: {drain: 100ms}\nchannels:\n  native:\n    smtp: "
        f"{{host: {upstream.host}, port: {upstream.port}, security: none}}\n"
    )
    assert relay("send", "--to", "anna@example.net").code == 0
    wait_for(lambda: "DATA" in upstream.verbs())
    assert running.stop(signal.SIGTERM) == 75


def test_a_second_relay_on_the_same_state_does_not_run(relay: Terminal, start: Start) -> None:
    start(REHEARSAL)
    second = Running(relay, 0)
    assert second.process.wait(20) == 1
    assert "relay cannot run: another relay is running" in (relay.folder / "err").read_text()


def test_a_state_dir_that_cannot_be_used_is_named(relay: Terminal) -> None:
    (relay.folder / "file").touch()
    relay.write_settings(f"state_dir: {relay.folder}/file/state\nhttp: null\n{REHEARSAL}")
    running = Running(relay, 0)
    assert running.process.wait(20) == 1
    said = (relay.folder / "err").read_text()
    assert f"relay cannot run: {relay.folder}/file/state" in said
    assert "not a directory" in said

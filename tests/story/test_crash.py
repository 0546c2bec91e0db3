"""Killed between any two steps: what was acknowledged arrives, and no limit is broken."""

from __future__ import annotations

import asyncio
import random
import re
import smtplib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from daemon import ROOT, Daemon, DaemonError
from upstream import Upstream

CRASH = Path(__file__).parent / "crash"
NUMBER = b"X-Number: "


class Sink:
    """A scripted upstream in a thread of its own, for daemons that live and die."""

    def __init__(self) -> None:
        self.upstream = Upstream()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Sink:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.upstream.__aenter__(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        leaving = self.upstream.__aexit__(None, None, None)
        asyncio.run_coroutine_threadsafe(leaving, self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def numbers(self) -> Counter[int]:
        """Return how often each message was accepted."""
        return Counter(
            int(line[len(NUMBER) :])
            for message in list(self.upstream.messages)
            for line in message.content.split(b"\r\n")
            if line.startswith(NUMBER)
        )


@contextmanager
def relay(folder: Path, sink: Sink, more: str = "", **environ: str) -> Iterator[Daemon]:
    smtp = f"{{host: 127.0.0.1, port: {sink.upstream.port}, security: none}}"
    settings = f"channels: {{native: {{smtp: {smtp}{more}}}}}\nretry: {{waits: [300ms]}}\n"
    path = {"PYTHONPATH": f"{CRASH}:{ROOT}"}
    with Daemon(folder, settings, environ={**path, **environ}) as daemon:
        yield daemon


def content(number: int) -> bytes:
    return b"Subject: Invoice %d\r\n%s%d\r\n\r\nInvoice %d over 10.00 EUR\r\n" % (
        number, NUMBER, number, number,
    )  # fmt: skip


def hand_in(daemon: Daemon, numbers: range) -> set[int]:
    """Hand messages in until the daemon dies; return those that were acknowledged."""
    taken: set[int] = set()
    for number in numbers:
        try:
            daemon.submit("shop@example.com", ["c@example.net"], content(number))
        except (OSError, smtplib.SMTPException):
            continue
        taken.add(number)
    return taken


POINTS = [
    "before:SqliteStore.put:3",
    "after:SqliteStore.put:3",
    "before:SqliteStore.claim:2",
    "after:SqliteStore.claim:2",
    "before:SmtpChannel.send:2",
    "after:SmtpChannel.send:2",
    "before:SqliteStore.settle:2",
    "after:SqliteStore.settle:2",
]


@pytest.mark.parametrize("point", POINTS)
def test_killed_between_any_two_steps_nothing_is_lost(tmp_path, point):
    with Sink() as sink:
        with relay(tmp_path, sink, CRASH=point) as daemon:
            taken = hand_in(daemon, range(6))
            daemon.wait(seconds=10)
            daemon.environ.pop("CRASH")
            daemon.start()  # nobody helps it
            taken |= hand_in(daemon, range(10, 12))
            daemon.wait_until(lambda: set(daemon.states()) <= {"sent"})
            assert daemon.states()["sent"] >= len(taken)
        arrived = sink.numbers()
        assert taken <= set(arrived)
        twice = [number for number, times in arrived.items() if times > 1]
        # only what was being sent may come twice, and it is counted
        *_, recovered = re.findall(r"recovered=(\d+)", daemon.log())
        assert len(twice) <= int(recovered)
        assert max(arrived.values()) <= 2


def test_killed_again_and_again_under_load_nothing_is_lost_and_the_limit_holds(tmp_path):
    """The limit is charged before sending, so that no number of crashes lets more through."""
    limits = ", limits: [{messages: 40, per: 24h}]"
    chance = random.Random(20261121)
    with Sink() as sink:
        with relay(tmp_path, sink, limits) as daemon:
            taken: set[int] = set()
            for cycle in range(5):
                timer = threading.Timer(chance.uniform(0.05, 0.4), daemon.kill)
                timer.start()
                taken |= hand_in(daemon, range(cycle * 100, cycle * 100 + 30))
                timer.join()
                daemon.start()
            daemon.wait_until(lambda: not set(daemon.states()) & {"sending"})
            assert sink.upstream.transactions
            assert len(sink.upstream.transactions) <= 40
            states = daemon.states()
            assert sum(states.values()) >= len(taken)
            arrived = set(sink.numbers())
            daemon.configure({**daemon.settings, "channels": _without_limits(daemon)})
            daemon.control.reload()
            daemon.wait_until(lambda: set(daemon.states()) <= {"sent"})
        assert arrived | taken <= set(sink.numbers())


def _without_limits(daemon: Daemon) -> dict[str, object]:
    native = dict(daemon.settings["channels"]["native"])
    del native["limits"]
    return {"native": native}


def test_sigterm_finishes_what_is_under_way_and_nothing_comes_twice(tmp_path):
    with Sink() as sink:
        with relay(tmp_path, sink) as daemon:
            taken: set[int] = set()
            for cycle in range(3):
                sender = threading.Thread(
                    target=lambda cycle=cycle: taken.update(
                        hand_in(daemon, range(cycle * 100, cycle * 100 + 40))
                    )
                )
                sender.start()
                daemon.wait_until(lambda cycle=cycle: len(sink.numbers()) > cycle * 10)
                assert daemon.terminate() == 0
                sender.join()
                daemon.start()
            daemon.wait_until(lambda: set(daemon.states()) <= {"sent"})
        arrived = sink.numbers()
        assert set(arrived) == taken
        assert set(arrived.values()) == {1}


def test_a_state_folder_that_is_in_use_is_said_at_start(tmp_path):
    with Sink() as sink:
        with relay(tmp_path, sink) as daemon:
            other = Daemon(tmp_path / "other", {**daemon.settings, "listeners": [{}]})
            with pytest.raises(DaemonError, match="another relay is running"):
                other.start()

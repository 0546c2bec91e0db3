"""Kill, stop and starve a relay again and again, and account for every recipient.

    python -m tests.bench.crash_loop kill --cycles 150
    python -m tests.bench.crash_loop all --cycles 20 --seed 7

`--cycles` counts kills, stops or faults, or the seconds of load. disk-full needs root, bad-disk
strace, clock libfaketime.

Each scenario runs a real relay with real sockets and files and ends with a judgement: nothing that
was acknowledged is lost, nothing that was refused or broken off is delivered, a copy too many has a
cause that the relay counted, and there are never more than three.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from tests.bench.ledger import Client, Finding, Ledger, Sink, Told, is_quiet, judge
from tests.story.daemon import Daemon

_CLIENTS = 8
_QUIET_SECONDS = 120.0
_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


@dataclass(slots=True)
class House:
    """A relay, its upstream, and clients that never rest."""

    daemon: Daemon
    sink: Sink
    ledger: Ledger
    chance: random.Random
    clients: list[Client] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)

    def load(self, clients: int = _CLIENTS, **manners: Any) -> None:
        """Begin to hand in mail."""
        for _ in range(clients):
            client = Client(
                self.ledger, lambda: self.daemon.smtp_port,
                random.Random(self.chance.random()), **manners,
            )  # fmt: skip
            self.clients.append(client)
            self.threads.append(threading.Thread(target=client.run, daemon=True))
            self.threads[-1].start()

    def rest(self) -> None:
        """Hand in no more."""
        for client in self.clients:
            client.stopping.set()
        for thread in self.threads:
            thread.join()
        self.clients.clear()
        self.threads.clear()

    def start(self) -> None:
        """Start the relay, and look at its books."""
        began = time.monotonic()
        self.daemon.start()
        self.starts.append(time.monotonic() - began)
        self.daemon.states()

    def settle(self, seconds: float = _QUIET_SECONDS) -> None:
        """Wait until nothing is under way."""
        self.daemon.wait_until(lambda: is_quiet(self.daemon.states()), seconds=seconds)

    def until_quiet(self, seconds: float) -> str | None:
        """Return how long it took until nothing is under way, None if it takes longer."""
        began = time.monotonic()
        while not is_quiet(self.daemon.states()):
            if time.monotonic() > began + seconds:
                return None
            time.sleep(0.2)
        return f"{time.monotonic() - began:.1f} s"

    def judge(self, **limits: Any) -> Finding:
        """Return what is wrong, with the time that starts took."""
        finding = judge(self.ledger, self.daemon.state_dir, **limits)
        if self.starts:
            finding.figures["starts"] = len(self.starts)
            finding.figures["longest start"] = f"{max(self.starts):.2f} s"
        if "Traceback" in self.daemon.log():
            finding.wrong.append("a traceback in the log")
        return finding


@contextmanager
def house(folder: Path, seed: int, channel: str = "", **settings: Any) -> Iterator[House]:
    """Open a house in `folder`."""
    ledger = Ledger()
    with Sink(ledger) as sink:
        given = {
            "channels": {
                "direct": {
                    "smtp": {
                        "host": "127.0.0.1", "port": sink.port, "security": "none",
                        "connect_timeout": "3s", "command_timeout": "3s",
                        "final_dot_timeout": "5s", "stall_timeout": "3s",
                    },
                    **settings.pop("channel_more", {}),
                }
            },
            "routing": {"only_use_for_direct_emails": False},
            "retry": {"waits": ["500ms"], "in_doubt_wait": "1s", **settings.pop("retry", {})},
            **settings,
        }  # fmt: skip
        daemon = Daemon(folder, given, environ={"PYTHONPATH": str(Path.cwd())})
        here = House(daemon, sink, ledger, random.Random(seed))
        try:
            yield here
        finally:
            here.rest()
            daemon.kill()


def kill(folder: Path, cycles: int, seed: int) -> Finding:
    """SIGKILL at any moment under load."""
    with house(folder, seed) as here:
        here.start()
        here.load()
        for _ in range(cycles):
            time.sleep(here.chance.uniform(0.02, 0.9))
            here.daemon.kill()
            here.start()
        here.rest()
        here.settle()
        here.daemon.terminate()
        return here.judge()


def term(folder: Path, cycles: int, seed: int) -> Finding:
    """SIGTERM under load: no copy too many at all, and nothing left half done."""
    with house(folder, seed) as here:
        here.start()
        here.load()
        wrong = []
        for _ in range(cycles):
            time.sleep(here.chance.uniform(0.05, 0.9))
            if status := here.daemon.terminate(seconds=60):
                wrong.append(f"exit status {status}")
            here.start()
        here.rest()
        here.settle()
        here.daemon.terminate()
        finding = here.judge(max_copies=1)
        log = here.daemon.log()
        left = [line for line in log.splitlines() if "recovered=" in line]
        left = [line for line in left if "recovered=0" not in line]
        if left:
            finding.wrong.append(f"left in the middle {len(left)} times: {left[0]}")
        finding.wrong += wrong
        return finding


def faults(folder: Path, cycles: int, seed: int) -> Finding:
    """An upstream that answers 4yz, 5yz and 421 at every step, drops, resets and dawdles."""
    with house(folder, seed) as here:
        chance = random.Random(seed + 1)
        rates = {"greeting": 0.1, "ehlo": 0.1, "mail": 0.1, "rcpt": 0.05, "data": 0.1,
                 "content": 0.05, "dot": 0.15, "after": 0.1}  # fmt: skip
        said = {
            "greeting": ["421 4.3.2 busy", "554 5.3.2 no service", "drop", "reset", 1.0],
            "ehlo": ["421 4.3.2 busy", "drop", "reset", 0.5],
            "mail": ["451 4.3.0 later", "421 4.7.0 slow down", "drop", "reset", 0.5,
                     "450 4.2.1 later"],
            "rcpt": ["450 4.2.1 busy", "451 4.7.1 greylisted", "452 4.5.3 too many",
                     "421 4.7.0 slow down", "drop"],
            "data": ["451 4.3.0 later", "421 4.7.0 slow down", "drop", "reset", 0.5],
            "content": ["drop", "reset", "421 4.3.2 closing", "451 4.3.0 disk full", 0.5],
            "dot": ["451 4.3.0 later", "452 4.3.1 full", "421 4.3.2 later", "drop", "reset", 1.0,
                    0.2, 0.2],
            "after": ["421 4.4.2 idle", "drop", "reset"],
        }  # fmt: skip

        def manners(step: str, argument: str) -> str | float | None:
            if argument.startswith("bad"):
                return "550 5.1.1 no such user"
            return chance.choice(said[step]) if chance.random() < rates[step] else None

        here.sink.manners = manners
        here.start()
        here.load(4, is_bad=lambda number, index: number % 10 == 0 and index == 0)
        ends_at = time.monotonic() + cycles
        while time.monotonic() < ends_at:
            time.sleep(0.2)
            here.daemon.control.resume("direct")  # a pause would spare it the next fault
        here.rest()
        here.sink.manners = lambda step, argument: (
            "550 5.1.1 no such user" if argument.startswith("bad") else None
        )
        for _ in range(60):
            here.daemon.control.resume("direct")
            time.sleep(1)
            if is_quiet(here.daemon.states()):
                break
        here.settle()
        here.daemon.terminate()
        return _check_reports(here)


def reject(folder: Path, cycles: int, seed: int) -> Finding:
    """550 for one in five: a report for each, never about a report."""
    with house(folder, seed) as here:
        here.sink.manners = lambda step, argument: (
            "550 5.1.1 no such user"
            if argument.startswith(("bad", "sender7")) and step == "rcpt"
            else None
        )
        here.start()
        here.load(4, is_bad=lambda number, index: (number + index) % 5 == 0, sizes=(2000,))
        time.sleep(cycles)
        here.rest()
        here.settle()
        here.daemon.terminate()
        return _check_reports(here, unknown="sender7")


def _check_reports(here: House, unknown: str = "nobody") -> Finding:
    """Every bad recipient failed, nobody else did, and the sender was told once."""
    finding = here.judge()
    accepted = {
        number: entry for number, entry in here.ledger.entries.items() if entry.told == "accepted"
    }
    bad = {n for n, entry in accepted.items() if any(r.startswith("bad") for r in entry.recipients)}
    for number in bad:
        sender = f"sender{number}@example.com"
        told = here.ledger.reports.count(sender)
        if told != 1 and not sender.startswith(unknown):
            finding.wrong.append(f"{told} reports to {sender}")
    known = {f"sender{number}@example.com" for number in bad}
    known |= {
        f"sender{n}@example.com" for n, e in here.ledger.entries.items() if e.told == "unknown"
    }
    if more := set(here.ledger.reports) - known:
        finding.wrong.append(f"reports about nothing: {sorted(more)[:5]}")
    failed = _failed(here)
    if wrongly := [path for path in failed if not path.startswith(("bad", unknown))]:
        finding.wrong.append(f"failed without fault: {len(wrongly)}, {wrongly[:5]}")
    finding.figures["reports"] = len(here.ledger.reports)
    return finding


def _failed(here: House) -> list[str]:
    with closing(sqlite3.connect(here.daemon.state_dir / "queue.sqlite")) as db:
        rows = db.execute("SELECT forward_path FROM recipient WHERE state = 'failed'")
        return [path for (path,) in rows]


def outage(folder: Path, cycles: int, seed: int) -> Finding:
    """The upstream is away while mail comes in, and comes back."""
    with house(folder, seed) as here:
        here.start()
        here.load(4)
        for _ in range(max(1, cycles // 10)):
            here.sink.go_away()
            time.sleep(3)
            here.sink.listen()
            time.sleep(2)
        here.rest()
        here.daemon.control.resume("direct")
        here.settle()
        here.daemon.terminate()
        return here.judge()


def greylist(folder: Path, cycles: int, seed: int) -> Finding:
    """451 for each recipient's first try."""
    with house(folder, seed) as here:
        seen: set[str] = set()

        def manners(step: str, argument: str) -> str | None:
            if step != "rcpt" or argument in seen:
                return None
            seen.add(argument)
            return "451 4.7.1 greylisted, try again later"

        here.sink.manners = manners
        here.start()
        here.load(4)
        time.sleep(cycles)
        here.rest()
        here.settle()
        here.daemon.terminate()
        return here.judge(max_copies=1)


def clock(folder: Path, cycles: int, seed: int) -> Finding:
    """The clock is wrong and then set right, between runs and in one; nothing waits for tomorrow.

    The upstream goes away meanwhile, so that all that waits is dated by the wrong time. Needs
    libfaketime.
    """
    wrong: list[str] = []
    figures: dict[str, object] = {}
    limits = {"limits": [{"messages": 20, "per": "1s"}]}
    with house(folder, seed, channel_more=limits) as here:
        time_file = folder / "time"
        here.daemon.environ |= {
            "LD_PRELOAD": _FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(time_file),
            "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip
        for step, is_running in product(("+1h", "-1h", "+1d", "-1d", "+40d"), (False, True)):
            time_file.write_text(step)
            here.start()
            here.load(2, sizes=(2000,))
            time.sleep(1)
            here.sink.go_away()
            time.sleep(1.5)
            here.rest()
            if not is_running:
                here.daemon.kill()
            time_file.write_text("+0")
            if not is_running:
                here.start()
            here.sink.listen()
            took = here.until_quiet(60)
            figures[f"{step} to 0 {'in one run' if is_running else 'between runs'}"] = took
            if took is None:
                wrong.append(f"stuck after {step}: {here.daemon.states()}")
            here.daemon.kill()
        finding = here.judge()
        finding.wrong += wrong
        finding.figures |= figures
        return finding


def limit(folder: Path, cycles: int, seed: int) -> Finding:
    """Fifty an hour, whatever the kills."""
    more = {"limits": [{"messages": 50, "per": "1h"}]}
    with house(folder, seed, channel_more=more) as here:
        here.start()
        here.load(4)
        for _ in range(cycles):
            time.sleep(here.chance.uniform(0.05, 0.6))
            here.daemon.kill()
            here.start()
        here.rest()
        time.sleep(2)
        here.daemon.terminate()
        finding = here.judge()
        arrived = len(here.ledger.arrivals)
        finding.figures["arrived under a limit of 50"] = arrived
        if arrived > 50 or arrived < 25:
            finding.wrong.append(f"{arrived} arrived under a limit of 50")
        return finding


@contextmanager
def small_disk(folder: Path, megabytes: int = 40) -> Iterator[Path]:
    """Give the relay a disk of its own for its state. Needs root."""
    state = folder / "state"
    state.mkdir(parents=True)
    options = f"size={megabytes}m,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(state)], check=True)
    try:
        yield state
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


def disk_full(folder: Path, cycles: int, seed: int) -> Finding:
    """The disk fills up with mail that cannot leave, then with somebody else's, then is free."""
    with small_disk(folder) as state, house(folder, seed) as here:
        here.start()
        for _ in range(max(1, cycles // 10)):
            here.sink.go_away()
            here.load(4)
            time.sleep(5)
            ballast = state / "ballast"
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while file.write(b"x" * 4096):
                    pass
            here.sink.listen()
            time.sleep(4)
            ballast.unlink()
            here.daemon.control.resume("direct")
            _recovers(here)
            here.rest()
        here.daemon.control.resume("direct")
        here.settle()
        here.daemon.terminate()
        return here.judge()


def bad_disk(folder: Path, cycles: int, seed: int) -> Finding:
    """Calls to the disk fail for a while, some of them or all, with EIO or ENOSPC."""
    with house(folder, seed) as here:
        here.start()
        here.load(4)
        kinds = [("fsync,fdatasync", "EIO", "1+3"), ("pwrite64", "ENOSPC", "1+5"),
                 ("pwrite64", "EIO", "1+2"), ("fsync,fdatasync", "EIO", "1+1"),
                 ("fsync,fdatasync,pwrite64,ftruncate", "EIO", "1+4"),
                 ("fsync,fdatasync,pwrite64,ftruncate", "EROFS", "1+1")]  # fmt: skip
        for cycle in range(cycles):
            calls, error, when = kinds[cycle % len(kinds)]
            strace = subprocess.Popen(
                ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(here.daemon.pid),
                 "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={when}"]
            )  # fmt: skip
            time.sleep(2.5)
            strace.send_signal(signal.SIGINT)
            strace.wait(20)
            _recovers(here)
        here.rest()
        here.daemon.control.resume("direct")
        here.settle()
        here.daemon.terminate()
        return here.judge()


def descriptors(folder: Path, cycles: int, seed: int) -> Finding:
    """Sixty-four files may be open, and a hundred clients sit there."""
    with house(folder, seed) as here:
        here.start()
        resource.prlimit(here.daemon.pid, resource.RLIMIT_NOFILE, (64, 64))
        with ExitStack() as idle:
            for _ in range(100):
                with suppress(OSError):
                    idle.enter_context(
                        socket.create_connection(("127.0.0.1", here.daemon.smtp_port), 2)
                    )
            here.load(4)
            time.sleep(cycles / 2)
        _recovers(here)
        time.sleep(cycles / 2)
        here.rest()
        here.settle()
        here.daemon.terminate()
        return here.judge()


def _recovers(here: House, seconds: float = 60) -> None:
    """Wait until mail is taken again, without a restart."""
    before = here.ledger.count(Told.ACCEPTED)
    here.daemon.wait_until(lambda: here.ledger.count(Told.ACCEPTED) > before + 5, seconds=seconds)


SCENARIOS: dict[str, Callable[[Path, int, int], Finding]] = {
    "kill": kill, "term": term, "faults": faults, "outage": outage, "greylist": greylist,
    "reject": reject, "limit": limit, "clock": clock,
    "disk-full": disk_full, "bad-disk": bad_disk, "descriptors": descriptors,
}  # fmt: skip


def main() -> int:
    """Run what is asked for; return how many scenarios failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", choices=["all", *SCENARIOS])
    parser.add_argument("--cycles", type=int, default=20, help="cycles, or seconds of load")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    names = list(SCENARIOS) if asked.scenario == "all" else [asked.scenario]
    failed = 0
    for name in names:
        folder = Path(tempfile.mkdtemp(prefix=f"relay-{name}-"))
        began = time.monotonic()
        finding = SCENARIOS[name](folder, asked.cycles, asked.seed)
        print(f"{name}: {'FAIL' if finding.wrong else 'PASS'} in {time.monotonic() - began:.0f} s")
        for figure, value in finding.figures.items():
            print(f"  {figure}: {value}")
        for words in finding.wrong[:20]:
            print(f"  WRONG {words}")
        if finding.wrong:
            print(f"  files: {folder}", flush=True)
        else:
            shutil.rmtree(folder)
        failed += bool(finding.wrong)
    return failed


if __name__ == "__main__":
    sys.exit(main())

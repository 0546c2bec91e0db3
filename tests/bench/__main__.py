"""Measures relay and a private Postfix in turn, against the same sink: `python -m tests.bench`.

Each work is done by one right after the other, and by the other first in the next round, so that
what else the machine does hits both. Every message is checked byte for byte at the sink.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from tests.bench import load, processes, sink, systems, table
from tests.bench.load import Handed, Order, Work
from tests.bench.systems import CannotMeasureError, System
from tests.bench.table import Measured

WORKS = (
    Work("small", count=5_000, size_bytes=2_000, sessions=20),
    Work("large", count=500, size_bytes=300_000, sessions=10),
    Work("each", count=300, size_bytes=2_000, sessions=1, connection_each=True),
)
_QUICKLY = 10  # the share of each work that --quick does
_ALL_THERE_SECONDS = 300
_QUIET_SECONDS, _QUIET_LIMIT_SECONDS = 0.5, 20.0


@dataclass(frozen=True, slots=True)
class Bench:
    """The two processes at either end."""

    generator: Connection
    sink: Connection
    sink_port: int

    def measure(self, work: Work, seed: int, system: System | None) -> Measured:
        """Do a work by a system, or none: generator and sink by themselves."""
        self.generator.send(Order(work, seed))
        digests: dict[str, bytes] = self.generator.recv()
        root = system.root if system else os.getpid()
        processes.wait_until_idle(root, _QUIET_SECONDS, _QUIET_LIMIT_SECONDS)
        self.sink.send(work.count)
        cpu_before = processes.cpu_seconds(root)
        self.generator.send(system.port if system else self.sink_port)
        handed: Handed = self.generator.recv()
        if handed.fault:
            raise CannotMeasureError(handed.fault)
        ended_at = self.sink.recv() if self.sink.poll(_ALL_THERE_SECONDS) else 0.0
        processes.wait_until_idle(root, _QUIET_SECONDS, _QUIET_LIMIT_SECONDS)
        cpu = processes.cpu_seconds(root) - cpu_before
        self._check(digests)
        return Measured(ended_at - handed.began_at, cpu, handed.waits)

    def _check(self, digests: dict[str, bytes]) -> None:
        """Raise unless the sink has each message once, as it was handed in, and no other."""
        self.sink.send(None)
        arrived: list[tuple[str, bytes]] = self.sink.recv()
        wrong = [name for name, digest in arrived if digests.get(name) != digest]
        names = {name for name, _ in arrived}
        if wrong or len(arrived) != len(digests) or names != digests.keys():
            raise CannotMeasureError(
                f"{len(digests)} messages went in, {len(arrived)} came out, "
                f"{len(digests.keys() - names)} are missing, "
                f"{len(arrived) - len(names)} came twice, {len(wrong)} are not the same: "
                f"{wrong[:3]}"
            )


@contextmanager
def _bench(sink_port: int) -> Iterator[Bench]:
    """Start both processes; they end when the runner hangs up."""
    context = multiprocessing.get_context("spawn")
    listening = socket.create_server(("127.0.0.1", sink_port), backlog=1024)
    ours, theirs = context.Pipe()
    sink_process = context.Process(target=sink.serve, args=(listening, theirs))
    generator, end = context.Pipe()
    generator_process = context.Process(target=load.generate, args=(end,))
    with listening:
        sink_process.start()
        generator_process.start()
    theirs.close()
    end.close()
    try:
        yield Bench(generator, ours, sink_port)
    finally:
        ours.close()
        generator.close()
        sink_process.join()
        generator_process.join()


def _started(
    stack: ExitStack, folder: Path, sink_port: int, only: str | None
) -> tuple[list[System], dict[str, int]]:
    """Start what is to be measured; return it, and the memory of each before any mail."""
    start = {"relay": systems.relay, "postfix": systems.postfix}
    if only != "relay" and (missing := systems.why_no_postfix()):
        print(f"Postfix is not measured: {missing}", file=sys.stderr)
        del start["postfix"]
    running, memory = [], {}
    for name in start if only is None else [only]:
        system = stack.enter_context(start[name](folder / name, sink_port))
        processes.wait_until_idle(system.root, 2.0, _QUIET_LIMIT_SECONDS)
        running.append(system)
        memory[system.name] = processes.pss_bytes(system.root)
    return running, memory


def run(arguments: argparse.Namespace) -> list[str]:
    """Measure all; return the report, a line each."""
    works = [work for work in WORKS if arguments.work in (None, work.name)]
    rounds = arguments.rounds
    if arguments.quick:
        works, rounds = [replace(work, count=work.count // _QUICKLY) for work in works], 1
    sink_port = systems.free_port()
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="relay-bench-", dir=arguments.dir)
        )
        Path(folder).chmod(0o755)  # Postfix works as a user of its own
        running, memory = _started(stack, Path(folder), sink_port, arguments.only)
        bench = stack.enter_context(_bench(sink_port))
        measured = {work: _measured(bench, work, running, rounds) for work in works}
    how = f"median of {rounds} rounds (min-max)" if rounds > 1 else "one round"
    report = [f"{table.machine()}; {how}", ""]
    for work, (bare, each) in measured.items():
        report += table.of_work(work, each, bare.messages_per_second)
    return report + table.of_memory(memory)


def _measured(
    bench: Bench, work: Work, running: list[System], rounds: int
) -> tuple[Measured, dict[str, list[Measured]]]:
    """Have a work done by each in turn; return it without any, and the rounds of each."""
    bare = bench.measure(work, 0, None)
    each: dict[str, list[Measured]] = {system.name: [] for system in running}
    for number in range(rounds):
        for system in running if number % 2 == 0 else reversed(running):
            done = bench.measure(work, number + 1, system)
            each[system.name].append(done)
            print(
                f"{work.name} {number + 1}/{rounds} {system.name}:"
                f" {done.messages_per_second:.0f}/s, {done.cpu_ms:.2f} CPU ms",
                file=sys.stderr,
            )
    return bare, each


def main() -> None:
    """Measure, print, perhaps write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of a tenth of the mail")
    parser.add_argument("--only", choices=("relay", "postfix"), help="measure one alone")
    parser.add_argument("--work", choices=[work.name for work in WORKS], help="do one work alone")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the tables as Markdown")
    parser.add_argument(
        "--dir",
        default="/var/tmp",
        help="where the queues are put: on a disk (default: %(default)s)",
    )
    arguments = parser.parse_args()
    try:
        report = run(arguments)
    except CannotMeasureError as error:
        sys.exit(f"bench: {error}")
    print("\n".join(report))
    if arguments.write:
        arguments.write.write_text("\n".join(report))


if __name__ == "__main__":
    main()

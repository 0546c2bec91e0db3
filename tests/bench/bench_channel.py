"""How fast the SMTP channel alone is: to a sink in another process that discards all it gets.

    python tests/bench/bench_channel.py [--loop asyncio|uvloop] [--connections 10]

Prints, for 2 KB and 300 KB from memory and from a file, messages per second and CPU-ms per message
of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import uvloop

from relay.channels.channel import Parcel
from relay.channels.options import Security, SmtpOptions
from relay.channels.smtp import SmtpChannel
from relay.mail.attempt import Sent
from relay.mail.message import Content, Spooled

LINE = b"The quick brown fox jumps over the lazy dog, and the invoice gets through.\r\n"


class Sink(asyncio.Protocol):
    """Says yes to everything; looks at no more than it must."""

    def __init__(self, features: bytes) -> None:
        self._features = features
        self._rest = b""
        self._in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        if self._in_data:
            data = self._rest + data
            if data.endswith(b"\r\n.\r\n"):
                self._in_data, self._rest = False, b""
                self._transport.write(b"250 2.0.0 taken\r\n")
            else:
                self._rest = data[-4:]
            return
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        self._transport.write(b"".join(self._answer(line) for line in lines))

    def _answer(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb == b"EHLO":
            return b"250-sink\r\n" + self._features + b"250 SIZE\r\n"
        if verb == b"DATA":
            self._in_data = True
            return b"354 go\r\n"
        return b"221 2.0.0 bye\r\n" if verb == b"QUIT" else b"250 2.1.0 ok\r\n"


def sink(pipe: Connection, features: bytes) -> None:
    """Serve until the process is ended."""

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Sink(features), "127.0.0.1", 0, backlog=512)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


async def send_all(port: int, content: Content, count: int, connections: int) -> None:
    """Send `count` messages over `connections`; every one has to be taken."""
    options = SmtpOptions(
        host="127.0.0.1",
        port=port,
        security=Security.NONE,
        connections=connections,
        messages_per_connection=sys.maxsize,
    )
    channel = SmtpChannel("bench", options)
    parcel = Parcel(
        queue_id="0123456789ABC",
        reverse_path="me@example.com",
        forward_paths=("ann@example.net",),
        content=content,
        body_8bit=False,
        smtputf8=False,
    )

    async def worker(messages: int) -> None:
        for _ in range(messages):
            attempt = await channel.send(parcel)
            assert isinstance(attempt.outcomes[0], Sent), attempt

    await asyncio.gather(*(worker(count // connections) for _ in range(connections)))
    await channel.close()


def measure(
    name: str, port: int, content: Content, count: int, arguments: argparse.Namespace
) -> None:
    """Send and print one row."""
    factory = uvloop.new_event_loop if arguments.loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(send_all(port, content, count // 10, arguments.connections))  # warm up
        wall, cpu = time.perf_counter(), time.process_time()
        runner.run(send_all(port, content, count, arguments.connections))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name:28} {count / wall:9.0f} msg/s {cpu / count * 1000:9.3f} CPU-ms/msg")


def main() -> None:
    """Run all rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="uvloop")
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--scale", type=float, default=1.0, help="how many times the messages")
    arguments = parser.parse_args()
    small, large = LINE * (2048 // len(LINE)), LINE * (300 * 1024 // len(LINE))
    for way, features in (("pipelined", b"250-PIPELINING\r\n"), ("one by one", b"")):
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=sink, args=(theirs, features), daemon=True
        )
        process.start()
        port = ours.recv()
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(large)
            spooled = Spooled(file.name, len(large))
            many, few = int(30_000 * arguments.scale), int(3_000 * arguments.scale)
            measure(f"2 KB, {way}", port, small, many, arguments)
            measure(f"300 KB, {way}", port, large, few, arguments)
            measure(f"300 KB from a file, {way}", port, spooled, few, arguments)
        process.terminate()
        process.join()


if __name__ == "__main__":
    main()

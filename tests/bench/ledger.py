"""What a relay was told, what came out of it, and whether that is right, recipient by recipient.

Clients hand in mail and note each answer; the sink notes each copy. What the relay says of itself
is asked last and only for what has not arrived.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

_FIELD = re.compile(rb"^X-Ledger: (\d+)\r$", re.MULTILINE)
_ANSWER_SECONDS = 60.0
_BODY_LINE = b"%010d: a line of a letter that is long enough to be one, and then some.\r\n"
_FINISHED = {"sent", "failed", "held", "dropped"}


class Told(StrEnum):
    """What a client knows of a message."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # 4yz or 5yz
    BROKEN_OFF = "broken off"  # the final dot was never sent
    UNKNOWN = "unknown"  # the final dot was sent, no reply came


@dataclass(slots=True)
class Entry:
    """One message: to whom, and what became of it at the client."""

    recipients: tuple[str, ...]
    told: Told
    reply: bytes


@dataclass(slots=True)
class Ledger:
    """Everything that was handed in and everything that arrived."""

    entries: dict[int, Entry] = field(default_factory=dict)
    copies: Counter[tuple[int, str]] = field(default_factory=Counter)
    arrivals: list[tuple[float, int]] = field(default_factory=list)  # time, recipients
    reports: list[str] = field(default_factory=list)  # to whom
    damaged: list[int] = field(default_factory=list)
    _next: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def number(self) -> int:
        """Return the number of a new message."""
        with self._lock:
            self._next += 1
            return self._next

    def count(self, told: Told) -> int:
        """Return how many messages have this answer."""
        return sum(entry.told is told for entry in list(self.entries.values()))

    def arrived(self, recipients: tuple[str, ...], content: bytes) -> None:
        """Note a copy that an upstream took for these recipients."""
        self.arrivals.append((time.time(), len(recipients)))
        found = _FIELD.search(content)
        if b"multipart/report" in content[:4000]:
            self.reports += recipients
            return
        number = int(found[1]) if found else -1
        _, _, body = content.partition(b"\r\n\r\n")
        if body != make_content(number, len(body)).partition(b"\r\n\r\n")[2]:
            self.damaged.append(number)
        for recipient in recipients:
            self.copies[number, recipient] += 1


@dataclass(slots=True)
class Row:
    """A recipient as the queue has it."""

    state: str
    attempts: int
    in_doubt: int
    written: int  # attempts with a result


@dataclass(slots=True)
class Finding:
    """The judgement over a ledger: what is wrong is a list of words, the rest figures."""

    wrong: list[str] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)


def judge(ledger: Ledger, state_dir: Path, *, max_copies: int = 3) -> Finding:
    """Return what is lost, forbidden, damaged, copied without cause or too often."""
    rows, possible = _rows(state_dir)
    finding = Finding()
    accepted = lost = forbidden = explained = 0
    most = 0
    for number, entry in ledger.entries.items():
        for recipient in entry.recipients:
            copies = ledger.copies[number, recipient]
            row = rows.get(recipient)
            most = max(most, copies)
            if entry.told is Told.ACCEPTED:
                accepted += 1
                if not copies and (row is None or row.state == "sent"):
                    lost += 1
                    finding.wrong.append(f"lost: {recipient} ({row})")
            elif entry.told is Told.REFUSED and entry.reply[:1] != b"4":
                finding.wrong.append(f"refused for good: {entry.reply!r}")
            elif entry.told in (Told.REFUSED, Told.BROKEN_OFF) and (copies or row):
                forbidden += 1
                finding.wrong.append(f"forbidden: {recipient} ({entry}, {row})")
            if copies > 1:
                cause = 0 if row is None else row.attempts - row.written + row.in_doubt
                if copies - 1 > cause:
                    finding.wrong.append(f"copied without cause: {recipient} {copies} ({row})")
                explained += copies - 1
            if copies > max_copies:
                finding.wrong.append(f"{copies} copies: {recipient} ({row})")
    unknown = {number for number, _ in ledger.copies} - set(ledger.entries)
    if unknown:
        finding.wrong.append(f"never handed in: {sorted(unknown)[:5]}")
    if ledger.damaged:
        finding.wrong.append(f"damaged: {ledger.damaged[:5]}")
    if explained > possible:
        finding.wrong.append(f"{explained} copies too many, {possible} counted as possible")
    finding.figures = {
        "handed in": len(ledger.entries),
        **{told.value: ledger.count(told) for told in Told},
        "recipients": accepted,
        "lost": lost,
        "refused with": dict(
            Counter(e.reply[:9].decode() for e in ledger.entries.values() if e.told is Told.REFUSED)
        ),
        "forbidden": forbidden,
        "copies too many": explained,
        "counted as possible": possible,
        "most copies": most,
        "states": dict(Counter(row.state for row in rows.values())),
    }
    return finding


def _rows(state_dir: Path) -> tuple[dict[str, Row], int]:
    """Return every recipient of the queue, and how many may have got a message twice."""
    with closing(sqlite3.connect(f"file:{state_dir / 'queue.sqlite'}?mode=ro", uri=True)) as db:
        rows = {
            path: Row(state, attempts, in_doubt or 0, written)
            for path, state, attempts, in_doubt, written in db.execute(
                "SELECT forward_path, state, attempts, sum(a.result IN ('in_doubt', 'held')),"
                " count(a.id) FROM recipient r LEFT JOIN attempt a ON a.recipient_id = r.id"
                " GROUP BY r.id"
            )
        }
        found = db.execute("SELECT value FROM counter WHERE name = 'possible_duplicates'")
        row = found.fetchone()
        return rows, row[0] if row else 0


# -- the way in -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Client:
    """Hands in one message after the other until told to stop; a dead relay is waited for."""

    ledger: Ledger
    port: Callable[[], int]
    chance: random.Random
    breaks_off: float = 0.05  # share of messages
    sizes: tuple[int, ...] = (2_000, 2_000, 2_000, 200_000)
    is_bad: Callable[[int, int], bool] = lambda number, index: False  # a recipient nobody knows
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self, count: int | None = None) -> None:
        """Hand in `count` messages, or as many as there is time for."""
        done = 0
        while not self.stopping.is_set() and done != count:
            try:
                with socket.create_connection(("127.0.0.1", self.port()), 5) as sock:
                    sock.settimeout(_ANSWER_SECONDS)
                    with sock.makefile("rb") as replies:
                        _expect(replies.readline(), b"220")
                        _say(sock, replies, b"EHLO client.test\r\n")
                        for _ in range(self.chance.randint(1, 5)):
                            if self.stopping.is_set() or done == count:
                                break
                            done += 1
                            self._hand_in(sock, replies)
            except (OSError, ValueError):
                time.sleep(0.01)

    def _hand_in(self, sock: socket.socket, replies: object) -> None:
        number = self.ledger.number()
        recipients = tuple(
            f"{'bad' if self.is_bad(number, index) else 'ok'}{number}.{index}@example.net"
            for index in range(self.chance.choice((1, 1, 1, 2, 5)))
        )
        entry = Entry(recipients, Told.BROKEN_OFF, b"")
        self.ledger.entries[number] = entry
        commands = b"MAIL FROM:<sender%d@example.com>\r\n" % number
        commands += b"".join(f"RCPT TO:<{path}>\r\n".encode() for path in recipients)
        sock.sendall(commands + b"DATA\r\n")
        for _ in recipients:
            _expect(_reply(replies), b"2", entry)
        _expect(_reply(replies), b"2", entry)
        _expect(_reply(replies), b"354", entry)
        content = make_content(number, self.chance.choice(self.sizes))
        if self.chance.random() < self.breaks_off:
            sock.sendall(content[: self.chance.randrange(len(content))])
            raise ConnectionError("broken off on purpose")
        sock.sendall(content)
        entry.told = Told.UNKNOWN
        sock.sendall(b".\r\n")
        entry.reply = _reply(replies)
        if entry.reply.startswith(b"250"):
            entry.told = Told.ACCEPTED
        elif entry.reply[:1] in b"45":
            entry.told = Told.REFUSED


def make_content(number: int, size: int) -> bytes:
    """Return a letter of about `size` bytes that has its number in each line."""
    line = _BODY_LINE % number
    lines = max(1, size // len(line))
    return b"Subject: number %d\r\nX-Ledger: %d\r\n\r\n%s" % (number, number, line * lines)


def _reply(replies: object) -> bytes:
    """Return the last line of a reply; raises ConnectionError at the end."""
    while True:
        line: bytes = replies.readline()  # type: ignore[attr-defined]
        if not line:
            raise ConnectionError("closed")
        if line[3:4] != b"-":
            return line


def _expect(reply: bytes, code: bytes, entry: Entry | None = None) -> None:
    if not reply.startswith(code):
        if entry is not None and reply:
            entry.told, entry.reply = Told.REFUSED, reply
        raise ConnectionError(reply)


def _say(sock: socket.socket, replies: object, line: bytes) -> None:
    sock.sendall(line)
    _expect(_reply(replies), b"2")


# -- the way out ----------------------------------------------------------------------------------

Manners = Callable[[str, str], "str | float | None"]
"""What the sink does at a step (`greeting ehlo mail rcpt data content dot after`) with an argument:
a reply, "drop", "reset", seconds to wait before the usual reply, or None for the usual reply."""


def polite(_step: str, _argument: str) -> None:
    """Take everything."""


class Sink:
    """An upstream in a thread of its own; `manners` may be changed at any time."""

    def __init__(self, ledger: Ledger, manners: Manners = polite) -> None:
        self.ledger = ledger
        self.manners = manners
        self.port = 0
        self.sessions = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Sink:
        self._thread.start()
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_away()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def listen(self) -> None:
        """Be there, on the port it always had."""
        self._do(self._listen())

    def go_away(self) -> None:
        """Refuse connections and close those that are open."""
        self._do(self._go_away())

    def _do(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=1 << 20, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _go_away(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()

    async def _end(self) -> None:
        sessions = asyncio.all_tasks() - {asyncio.current_task()}
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        self._writers.add(writer)
        try:
            await self._session(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipients: list[str] = []
        await self._answer(writer, "greeting", "", "220 sink ESMTP")
        while line := await reader.readline():
            text = line.decode("latin-1").strip()
            verb = text[:4].upper()
            match verb:
                case "EHLO":
                    usual = "250-sink\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250 8BITMIME"
                    await self._answer(writer, "ehlo", text, usual)
                case "MAIL":
                    recipients = []
                    await self._answer(writer, "mail", text, "250 ok")
                case "RCPT":
                    path = text[text.index("<") + 1 : text.rindex(">")]
                    if (await self._answer(writer, "rcpt", path, "250 ok")).startswith("2"):
                        recipients.append(path)
                case "DATA":
                    if recipients:
                        await self._data(reader, writer, tuple(recipients))
                    else:
                        writer.write(b"554 nobody\r\n")
                    recipients = []
                case "QUIT":
                    writer.write(b"221 bye\r\n")
                    return
                case _:
                    writer.write(b"250 ok\r\n")

    async def _data(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        recipients: tuple[str, ...],
    ) -> None:
        if not (await self._answer(writer, "data", "", "354 go on")).startswith("3"):
            return
        lines = []
        said = self.manners("content", "")
        if said is not None:
            await reader.read(1)
            if (await self._do_as(writer, said, "")).startswith("4"):
                raise EOFError  # refused half-way
        while (line := await reader.readline()) != b".\r\n":
            if not line:
                raise EOFError
            lines.append(line[1:] if line.startswith(b".") else line)
        said = self.manners("dot", "")
        if isinstance(said, str) and said[:1] in "45":
            await self._do_as(writer, said, "")
            return
        self.ledger.arrived(recipients, b"".join(lines))
        await self._do_as(writer, said, "250 2.0.0 taken")
        await self._do_as(writer, self.manners("after", ""), "")

    async def _answer(
        self, writer: asyncio.StreamWriter, step: str, argument: str, usual: str
    ) -> str:
        return await self._do_as(writer, self.manners(step, argument), usual)

    async def _do_as(
        self, writer: asyncio.StreamWriter, said: str | float | None, usual: str
    ) -> str:
        match said:
            case "drop":
                raise EOFError
            case "reset":
                writer.transport.abort()
                raise EOFError
            case float() | int():
                await asyncio.sleep(said)
            case str():
                usual = said
        if usual:
            writer.write(usual.encode() + b"\r\n")
            await writer.drain()
            if usual.startswith("421"):
                raise EOFError
        return usual


def is_quiet(states: dict[str, int]) -> bool:
    """Return whether nothing is under way any more."""
    return set(states) <= _FINISHED

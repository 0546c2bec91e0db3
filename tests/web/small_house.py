"""A house of two recipients and one channel, and a way to serve an app and talk to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from starlette.types import ASGIApp

from relay.mail.message import Envelope, Origin
from relay.observe.events import Event
from relay.observe.journal import Journal
from relay.observe.metrics import Metrics
from relay.observe.snapshot import ChannelView, Snapshot
from relay.policy.accounting import Accounting, State
from relay.policy.corrections import Past
from relay.policy.health import Health, Open, Paused, Stopped
from relay.policy.kinds import Kind, Reason
from relay.policy.limits import Limit, Unit, Usage
from relay.policy.plan import Plan
from relay.queue.rows import AttemptRow, Depth, MessageRow, RecipientRow
from relay.queue.store import Corrected, Selection, StoreError
from relay.web.control import SOCKET_NAME, control_app
from relay.web.house import HouseError, Proposed, Status
from relay.web.options import HttpOptions
from relay.web.public import public_app
from relay.web.server import Tcp, UnixSocket, WebServer

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIRST, SECOND = "01ABCDEFGHJKM", "01ABCDEFGHJKN"
NAMES = ("localhost", "127.0.0.1", "[::1]", "relay.example")
OPTIONS = HttpOptions(address="127.0.0.1:0", host="127.0.0.1", port=0, allowed_hosts=NAMES)
LOOPBACK = Tcp("127.0.0.1", 0)
HOSTILE = "\x1b[31m<script>alert(1)</script>\r\n\u202e"


def row(queue_id: str, state: State, kind: Kind) -> RecipientRow:
    return RecipientRow(
        id=1,
        queue_id=queue_id,
        forward_path="bob@example.net",
        state=state,
        channel="direct",
        plan=Plan(channels=("direct",)),
        due_at=NOON + timedelta(minutes=5),
        attempts=1,
        why="451 4.7.1 later",
        reverse_path=None,
        subject=HOSTILE,
        kind=kind,
        size_bytes=2048,
        received_at=NOON,
        finished_at=None,
    )


@dataclass
class SmallHouse:
    """Does in memory what the app does; `acts` remembers what it was asked to do."""

    rows: list[RecipientRow] = field(
        default_factory=lambda: [
            row(FIRST, State.DEFERRED, Kind.INVOICE),
            row(SECOND, State.HELD, Kind.MARKETING),
        ]
    )
    attempts: tuple[tuple[int, AttemptRow], ...] = ()
    health: Health = field(default_factory=Open)
    acts: list[tuple[str, object]] = field(default_factory=list)
    proposed: tuple[Proposed, ...] = ()
    unhealthy: tuple[str, ...] = ()
    not_ready: tuple[str, ...] = ()
    store_down: bool = False
    snapshots: int = 0

    async def status(self) -> Status:
        return Status(
            version="1.0",
            settings="rehearsal",
            rehearsal=True,
            started_at=NOON,
            listeners=("127.0.0.1:2525",),
            http=None,
        )

    async def snapshot(self) -> Snapshot:
        self._ask_store()
        self.snapshots += 1
        await asyncio.sleep(0)
        depths = tuple(
            Depth(
                state=each.state,
                channel=each.channel,
                kind=each.kind,
                recipients=1,
                oldest_at=each.received_at,
            )
            for each in self.rows
        )
        states = {state: sum(each.state is state for each in self.rows) for state in State}
        usage = Usage(Limit(Unit.RECIPIENTS, 500, timedelta(days=1)), 3, None)
        channel = ChannelView(
            name="direct",
            upstream="mail:25",
            health=self.health,
            throttled_until=None,
            usage=(usage,),
        )
        return Snapshot(
            now=NOON,
            depths=depths,
            accounting=Accounting(len(self.rows), states),
            channels=(channel,),
        )

    async def why_unhealthy(self) -> Sequence[str]:
        self._ask_store()
        return self.unhealthy

    async def why_not_ready(self) -> Sequence[str]:
        return self.not_ready

    async def queue(self, selection: Selection, limit: int) -> Sequence[RecipientRow]:
        self._ask_store()
        return self._select(selection)[:limit]

    async def message(self, queue_id: str) -> MessageRow | None:
        rows = tuple(each for each in self.rows if each.queue_id == queue_id)
        if not rows:
            return None
        return MessageRow(
            queue_id=queue_id,
            received_at=NOON,
            envelope=Envelope(reverse_path=None, forward_paths=("bob@example.net",)),
            origin=Origin(listener="127.0.0.1:2525"),
            size_bytes=2048,
            subject=HOSTILE,
            kind=Kind.INVOICE,
            certainty=0.98,
            reasons=(Reason("Subject", "'Rechnung'"),),
            recipients=rows,
            attempts=self.attempts,
            has_content=True,
        )

    async def retry(self, selection: Selection) -> int:
        return self._act("retry", selection, State.QUEUED)

    async def hold(self, selection: Selection) -> int:
        return self._act("hold", selection, State.HELD)

    async def release(self, selection: Selection) -> int:
        return self._act("release", selection, State.QUEUED)

    async def drop(self, selection: Selection) -> int:
        return self._act("drop", selection, State.DROPPED)

    async def correct(self, queue_ids: Sequence[str], kind: Kind) -> Corrected:
        self.acts.append(("correct", (tuple(queue_ids), kind)))
        chosen = self._select(Selection(queue_ids=tuple(queue_ids)))
        return Corrected(messages=len(chosen), recipients=len(chosen))

    async def proposals(self) -> Sequence[Proposed]:
        return self.proposed

    async def resume(self, channel: str) -> str:
        return self._set(channel, Open(), "sends again")

    async def stop(self, channel: str) -> str:
        return self._set(channel, Stopped(by="a person", since=NOON), "is stopped")

    async def reload(self) -> str:
        self.acts.append(("reload", None))
        if "reload" in self.not_ready:
            raise HouseError("relay.yaml:3: retry.waits: expected a list", "Mend the settings.")
        return "nothing changed"

    def _ask_store(self) -> None:
        if self.store_down:
            raise StoreError("disk I/O error")

    def _select(self, asked: Selection) -> list[RecipientRow]:
        return [
            each
            for each in self.rows
            if (not asked.queue_ids or each.queue_id in asked.queue_ids)
            and asked.forward_path in {None, each.forward_path}
            and asked.state in {None, each.state}
            and asked.channel in {None, each.channel}
            and asked.kind in {None, each.kind}
        ]

    def _act(self, verb: str, selection: Selection, state: State) -> int:
        self.acts.append((verb, selection))
        chosen = self._select(selection)
        self.rows = [replace(each, state=state) if each in chosen else each for each in self.rows]
        return len(chosen)

    def _set(self, channel: str, health: Health, says: str) -> str:
        if channel != "direct":
            raise HouseError(f"There is no channel {channel!r}.", "Give one of: direct.")
        self.health = health
        return f"{channel} {says}"


PROPOSED = Proposed(
    kind=Kind.QUOTE,
    rule='- when: {sender: "a@b.example"}\n  kind: quote',
    corrected=1,
    changes=0,
    examples=(
        Past(
            queue_id=FIRST,
            listener="127.0.0.1:2525",
            application=None,
            reverse_path="a@b.example",
            subject=HOSTILE,
            kind=Kind.QUOTE,
            found=Kind.DIRECT,
            is_corrected=True,
        ),
    ),
)
PAUSED = Paused(
    entry="auth",
    category="auth",
    cause="The password is wrong.",
    fix="Set it anew.",
    reply=HOSTILE,
    since=NOON,
    until=NOON,
    failures=1,
)


@asynccontextmanager
async def serving(
    app: ASGIApp,
    at: Tcp | UnixSocket = LOOPBACK,
    events: list[Event] | None = None,
    request_seconds: float = 30.0,
) -> AsyncIterator[WebServer]:
    heard: list[Event] = [] if events is None else events
    server = WebServer(app, at, Journal(heard.append), request_seconds)
    await server.start()
    try:
        yield server
    finally:
        await server.close()
    if events is None:
        assert not heard


@asynccontextmanager
async def open_house(house: SmallHouse, metrics: Metrics | None = None) -> AsyncIterator[WebServer]:
    async with serving(public_app(house, metrics or Metrics("1.0"), OPTIONS)) as server:
        yield server


@asynccontextmanager
async def control_of(house: SmallHouse, folder: Path) -> AsyncIterator[Path]:
    path = folder / SOCKET_NAME
    async with serving(control_app(house), UnixSocket(path)):
        yield path


@dataclass(frozen=True)
class Answer:
    """A reply as it came over the wire."""

    status: int
    fields: dict[str, str]
    body: bytes


async def ask(port: int, request: bytes) -> Answer:
    """Send `request` as it stands and read until the server hangs up or the body is whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await read_answer(reader, has_body=not request.startswith(b"HEAD"))
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader, *, has_body: bool = True) -> Answer:
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {}
        for line in head[1:-2]:
            name, _, value = line.partition(": ")
            assert name.lower() not in fields, f"{name} twice"
            fields[name.lower()] = value
        size = int(fields.get("content-length", "0")) if has_body else 0
        return Answer(int(head[0].split()[1]), fields, await reader.readexactly(size))

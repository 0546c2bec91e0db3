"""The whole house in one process, with scripted upstreams and a clock that a story turns."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

from making import NOON

from relay.app.clock import Ids
from relay.app.graph import Foundation, Graph, build
from relay.channels.pace import Paces
from relay.delivery.board import Board
from relay.inspect.inspector import Inspector
from relay.mail.message import Envelope, Message, Origin
from relay.mail.reply import Reply
from relay.observe.events import Event
from relay.observe.journal import Journal
from relay.policy.accounting import State
from relay.providers.detect import Providers
from relay.providers.replies import ReplyDictionary
from relay.providers.sms import load_gateways
from relay.queue.rows import RecipientRow
from relay.queue.spool import Spool
from relay.queue.sqlite import SqliteStore
from relay.queue.store import Selection
from relay.settings.loader import load

INVOICE = """\
    From: Shop <shop@example.com>
    To: customer@example.net
    Subject: Rechnung RE-2026-118
    Date: Sat, 21 Nov 2026 12:00:00 +0000
    Message-ID: <118@example.com>

    Sehr geehrte Frau Muster,

    Ihre Rechnung Nr. RE-2026-118: 100,00 EUR netto, 19 % USt. 19,00 EUR, Gesamtbetrag 119,00 EUR.
    Zahlbar bis zum 5.12.2026 auf IBAN DE02120300000000202051.
    """
NEWSLETTER = """\
    From: Shop <news@example.com>
    To: reader@example.net
    Subject: Unsere Angebote im November: 20 % Rabatt auf alles
    Date: Sat, 21 Nov 2026 12:00:00 +0000
    Message-ID: <news-11@example.com>
    List-Unsubscribe: <https://example.com/unsubscribe/7>
    List-ID: <news.example.com>
    Precedence: bulk

    Nur diese Woche: 20 % Rabatt auf alle Gartenstühle, versandkostenfrei.
    Newsletter abbestellen: https://example.com/unsubscribe/7
    """


class Clock:
    """Wall-clock time that stands still until it is turned."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class Box:
    """A running house."""

    def __init__(self, base: Foundation, clock: Clock, events: list[Event]) -> None:
        self.base = base
        self.clock = clock
        self.events = events
        self.graph: Graph
        self.changed = asyncio.Condition()

    async def hand_in(self, text: str, *to: str, sender: str | None = "shop@example.com") -> Reply:
        """Hand a message in, as a listener does."""
        content = textwrap.dedent(text).replace("\n", "\r\n").encode()
        reception = self.graph.reception
        return await reception.accept(
            Message(
                id=reception.new_id(),
                received_at=reception.now(),
                envelope=Envelope(reverse_path=sender, forward_paths=to or ("c@example.net",)),
                origin=Origin(listener="127.0.0.1:2525", client="127.0.0.1"),
                content=content,
            )
        )

    async def turn(self, by: timedelta) -> None:
        """Let time pass, and everybody look at the clock."""
        self.clock.now += by
        for channel in self.graph.lanes:
            self.graph.changed(channel)

    async def states(self) -> dict[str, int]:
        """Return the states that are not empty, having checked the first promise."""
        sheet = await self.base.store.accounting()
        assert sheet.difference == 0
        return {state.value: count for state, count in sheet.states.items() if count}

    async def rows(self, state: State | None = None) -> list[RecipientRow]:
        """Return recipients as people see them."""
        return await self.base.store.recipients(Selection(state=state), 10_000)

    async def until(self, condition: Callable[[dict[str, int]], bool], seconds: float = 10) -> None:
        """Wait until the states are as told; raises TimeoutError with what they are."""
        try:
            async with asyncio.timeout(seconds):
                while not condition(await self.states()):
                    async with self.changed:
                        try:
                            await asyncio.wait_for(self.changed.wait(), 0.05)
                        except TimeoutError:
                            continue
        except TimeoutError:
            told = "\n".join(map(str, self.told()[-12:]))
            raise TimeoutError(f"{await self.states()}\n{told}") from None

    def told(self, kind: type[Event] | None = None) -> list[Event]:
        """Return what the journal heard."""
        return [event for event in self.events if kind is None or isinstance(event, kind)]


@asynccontextmanager
async def box(folder: Path, settings: str, clock: Clock | None = None) -> AsyncIterator[Box]:
    """Run a house with `settings` (YAML without state_dir and listeners), drained at the end."""
    folder.mkdir(exist_ok=True)
    file = folder / "relay.yaml"
    file.write_text(f"state_dir: {folder}/state\n{textwrap.dedent(settings)}", "utf-8")
    loaded = load(file, {})
    clock = clock or Clock()
    heard: list[Event] = []
    store = SqliteStore(loaded.state_dir, Spool(loaded.state_dir / "spool"))
    opened = await store.open(clock(), clock() + loaded.retry.waits[0])
    inspector = Inspector(load_gateways(), loaded.classification.guide)
    base = Foundation(
        store=store,
        board=Board(opened.health),
        journal=Journal(heard.append),
        clock=clock,
        ids=Ids(clock),
        inspector=inspector,
        replies=ReplyDictionary.load(),
        providers=Providers(),
        paces=Paces(used_until=-1e9),
    )
    house = Box(base, clock, heard)
    house.graph = build(loaded, base)
    store.set_limits({name: channel.limits for name, channel in loaded.channels.items()})
    store.tell(house.graph.changed)
    await store.plan_again(house.graph.fingerprint, house.graph.plan_again, clock())
    await house.graph.sweep.hold_doubts()
    try:
        async with asyncio.TaskGroup() as group:
            for lane in house.graph.lanes.values():
                group.create_task(lane.run(group))
            try:
                yield house
            finally:
                await asyncio.gather(*(lane.drain() for lane in house.graph.lanes.values()))
    finally:
        for channel in house.graph.channels.values():
            await channel.close()
        await inspector.close()
        await store.close()

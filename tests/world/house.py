"""A relay in virtual time: the real queue, delivery and SMTP channels, stopped and killed."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from relay.app.clock import Ids
from relay.app.graph import Foundation, Graph, build
from relay.channels.pace import Paces
from relay.delivery.board import Board
from relay.delivery.sweep import STEP
from relay.inspect.inspection import Guide
from relay.inspect.inspector import Inspector
from relay.mail.message import Envelope, Message, Origin
from relay.observe import events
from relay.observe.journal import Journal
from relay.policy.accounting import State
from relay.policy.limits import Limit
from relay.providers.detect import Providers
from relay.providers.replies import ReplyDictionary
from relay.providers.sms import load_gateways
from relay.queue.rows import RecipientRow
from relay.queue.spool import Spool
from relay.queue.sqlite import SqliteStore
from relay.queue.store import Selection
from relay.settings.loader import load
from relay.settings.values import Settings

_RULES = Guide().rules()
_REPLIES = ReplyDictionary.load()
_PROVIDERS = Providers()
_GATEWAYS = load_gateways()
_DISK_SECONDS = (0.0, 0.0005, 0.02)  # that a commit takes


class _Disk:
    """Takes the place of the queue's thread for commits: what it does takes virtual time."""

    def __init__(self, end: Callable[[Any], None], chance: random.Random) -> None:
        self._end = end
        self._chance = chance
        self.is_cut_off = False

    def put(self, work: Callable[[], Any] | None) -> None:
        if work is not None:
            self._later(lambda: self._do(work))

    def get(self) -> None:
        """Let the thread end at once."""

    def _do(self, work: Callable[[], Any]) -> None:
        outcomes = work()
        self._later(lambda: self._end(outcomes))

    def _later(self, step: Callable[[], None]) -> None:
        seconds = self._chance.choice(_DISK_SECONDS)
        asyncio.get_running_loop().call_later(seconds, self._unless_cut_off, step)

    def _unless_cut_off(self, step: Callable[[], None]) -> None:
        if not self.is_cut_off:
            step()


class Queue(SqliteStore):
    """The queue, which can die as with its process."""

    def __init__(self, folder: Path, steady: Callable[[], timedelta], seed: int) -> None:
        super().__init__(folder, Spool(folder / "spool"), steady)
        self._disk = _Disk(self._writer._end, random.Random(seed))
        self._writer._work = self._disk  # type: ignore[assignment]

    def die(self) -> None:
        """Do nothing more: what is not committed now never happened."""
        self._disk.is_cut_off = True
        self._writer._close()
        if self._reader is not None:
            self._reader.close()
        os.close(self._lock)


class House:
    """A relay and its clock. What happens is in `told`, with the true time (seconds)."""

    def __init__(
        self, folder: Path, settings: str, limits: Mapping[str, Sequence[Limit]], begins: datetime,
        seed: int, look_every: timedelta | None,
    ) -> None:  # fmt: skip
        """`limits` take the place of those of the settings.

        `look_every` is how often the relay looks whether the clock was set, None for as it does:
        some seconds, of which there are many in weeks.
        """
        file = folder / "relay.yaml"
        file.write_text(f"state_dir: {folder}/state\n{settings}", "utf-8")
        self.settings = _limited(load(file, {}), limits)
        self.offset = timedelta()  # of the wall clock
        self.told: list[tuple[float, events.Event]] = []
        self.begins = begins
        self.is_up = False
        self._look_every = look_every
        self._seeds = random.Random(seed)
        self._ids = Ids(self.clock)

    def clock(self) -> datetime:
        """Return what the clock on the wall says."""
        return self.begins + self.steady() + self.offset

    def steady(self) -> timedelta:
        """Return the true time that has passed."""
        return timedelta(seconds=asyncio.get_running_loop().time())

    async def start(self) -> None:
        """Begin, with what the last run left."""
        settings, now = self.settings, self.clock()
        self.store = Queue(settings.state_dir, self.steady, self._seeds.randrange(1 << 30))
        opened = await self.store.open(now, now + settings.retry.waits[0])
        self.base = Foundation(
            store=self.store,
            board=Board(opened.health),
            journal=Journal(self._hear),
            clock=self.clock,
            ids=self._ids,
            inspector=Inspector(_GATEWAYS, rules=_RULES),
            replies=_REPLIES,
            providers=_PROVIDERS,
            paces=Paces(used_until=-1e9),
        )
        self.graph = self._build()
        if opened.latest_at > now + STEP:
            await self.graph.sweep.after_step_back()
        self.store.set_limits({name: each.limits for name, each in settings.channels.items()})
        self.store.tell(self.graph.changed)
        await self.store.plan_again(self.graph.fingerprint, self.graph.plan_again, now)
        await self.graph.sweep.hold_doubts()
        self._life = asyncio.get_running_loop().create_task(self._live())
        self.is_up = True

    def _build(self) -> Graph:
        graph = build(self.settings, self.base)
        if self._look_every is None:
            return graph
        for lane in graph.lanes.values():
            lane.look_again = self._look_every
        return replace(graph, sweep=replace(graph.sweep, every=self._look_every))

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            for lane in self.graph.lanes.values():
                group.create_task(lane.run(group))
            sweep = group.create_task(self.graph.sweep.run())
            self._sweep = sweep

    async def stop(self) -> None:
        """Settle what is being sent, and end."""
        self.is_up = False
        await asyncio.gather(*(lane.drain() for lane in self.graph.lanes.values()))
        self._sweep.cancel()
        await self._life
        await self._close()
        await self.store.close()

    async def kill(self) -> None:
        """End in the middle of everything."""
        self.is_up = False
        self.store.die()
        self._life.cancel()
        with suppress(asyncio.CancelledError):
            await self._life
        await self._close()

    async def _close(self) -> None:
        for channel in self.graph.channels.values():
            await channel.close()
        await self.base.inspector.close()

    async def hand_in(
        self, content: bytes, forward_paths: tuple[str, ...], application: str
    ) -> events.Accepted:
        """Hand a message in, as a listener does; return what the relay makes of it."""
        reception = self.graph.reception
        number = reception.new_id()
        reply = await reception.accept(
            Message(
                id=number,
                received_at=reception.now(),
                envelope=Envelope(reverse_path="me@example.com", forward_paths=forward_paths),
                origin=Origin(
                    listener="127.0.0.1:2525", client="127.0.0.1", application=application
                ),
                content=content,
            )
        )
        assert reply.code == 250, reply
        accepted = self.told[-1][1]
        assert isinstance(accepted, events.Accepted)
        return accepted

    async def states(self) -> dict[str, int]:
        """Return the states that are not empty, having checked the first promise."""
        sheet = await self.store.accounting()
        assert sheet.difference == 0
        return {state.value: count for state, count in sheet.states.items() if count}

    async def rows(self, state: State | None = None) -> list[RecipientRow]:
        """Return recipients as people see them."""
        return await self.store.recipients(Selection(state=state), 1_000_000)

    def _hear(self, event: events.Event) -> None:
        self.told.append((asyncio.get_running_loop().time(), event))


def _limited(settings: Settings, limits: Mapping[str, Sequence[Limit]]) -> Settings:
    channels = {
        name: replace(each, limits=tuple(limits.get(name, each.limits)))
        for name, each in settings.channels.items()
    }
    return replace(settings, channels=MappingProxyType(channels))

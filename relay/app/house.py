"""What the web and the command line ask of a running relay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from relay import __version__
from relay.app.graph import Foundation, Graph
from relay.observe import events
from relay.observe.snapshot import ChannelView, Snapshot
from relay.policy.accounting import WAITING, State
from relay.policy.corrections import propose
from relay.policy.health import Health, Stopped, resumed
from relay.policy.kinds import Kind
from relay.queue.rows import MessageRow, RecipientRow
from relay.queue.store import Corrected, Selection, StoreError
from relay.settings.paste import as_rule
from relay.web.house import HouseError, Proposed, Status

_ANSWER_SECONDS = 10.0
_HISTORY = 20_000  # messages that are looked at for proposals
_EXAMPLES = 3


@dataclass(slots=True, kw_only=True)
class House:
    """See `relay.web.house.House`."""

    base: Foundation
    graph: Graph  # the one that runs; `reload` replaces it
    started_at: datetime
    addresses: Callable[[], tuple[str, ...]]  # that are listened on
    again: Callable[[], Awaitable[str]]  # reads the settings anew

    async def status(self) -> Status:
        """Return what is known of this run."""
        settings = self.graph.settings
        return Status(
            version=__version__,
            settings=settings.source,
            rehearsal=settings.rehearsal,
            started_at=self.started_at,
            listeners=self.addresses(),
            http=settings.http.address if settings.http else None,
        )

    async def snapshot(self) -> Snapshot:
        """Return how queue and channels stand."""
        now = self.base.clock()
        usage = await self.base.store.usage(now)
        board = self.base.board
        channels = []
        for name, channel in self.graph.channels.items():
            throttle = board.throttled(name, now)
            channels.append(
                ChannelView(
                    name=name,
                    upstream=channel.upstream,
                    health=board.health(name),
                    throttled_until=throttle.until if throttle else None,
                    usage=usage.get(name, ()),
                    connected_at=self.graph.settings.channels[name].connected_at,
                )
            )
        return Snapshot(
            now=now,
            depths=tuple(await self.base.store.depth()),
            accounting=await self.base.store.accounting(),
            channels=tuple(channels),
        )

    async def why_unhealthy(self) -> Sequence[str]:
        """Return why this process should be restarted: its queue does not answer at all."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self.base.store.usage(self.base.clock())
        except TimeoutError:
            return (f"the queue has not answered for {_ANSWER_SECONDS:g} seconds",)
        except StoreError:
            return ()  # it answered; a restart would not mend the disk
        return ()

    async def why_not_ready(self) -> Sequence[str]:
        """Return why mail cannot be taken now."""
        if not self.addresses():
            return ("no listener is open",)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self.base.store.probe()
        except TimeoutError:
            return (f"the queue has not answered for {_ANSWER_SECONDS:g} seconds",)
        except StoreError as error:
            return (str(error),)
        return ()

    async def queue(self, selection: Selection, limit: int) -> Sequence[RecipientRow]:
        """Return recipients, the newest message first."""
        return await self._with_turns(await self.base.store.recipients(selection, limit))

    async def message(self, queue_id: str) -> MessageRow | None:
        """Return one message with its history."""
        message = await self.base.store.message(queue_id)
        if message is None:
            return None
        return replace(message, recipients=tuple(await self._with_turns(message.recipients)))

    async def retry(self, selection: Selection) -> int:
        """Make due now."""
        return self._acted("retry", await self.base.store.retry(selection, self.base.clock()))

    async def hold(self, selection: Selection) -> int:
        """Hold what waits."""
        return self._acted("hold", await self.base.store.hold(selection, "held by hand"))

    async def release(self, selection: Selection) -> int:
        """Let go what is held."""
        return self._acted("release", await self.base.store.release(selection, self.base.clock()))

    async def drop(self, selection: Selection) -> int:
        """Throw away what waits or is held."""
        return self._acted("drop", await self.base.store.drop(selection, self.base.clock()))

    async def correct(self, queue_ids: Sequence[str], kind: Kind) -> Corrected:
        """Set the kind of messages; what of them waits goes by its new way at once."""
        plan = self.graph.plan_again
        done = await self.base.store.correct(queue_ids, kind, plan, self.base.clock())
        await self.graph.sweep.hold_doubts()
        self._acted("correct", done.recipients)
        return done

    async def proposals(self) -> Sequence[Proposed]:
        """Return rules for what was corrected."""
        history = await self.base.store.past(_HISTORY)
        rules = self.graph.settings.classification.rules
        # in a thread: a long history takes some hundred milliseconds
        proposals = await asyncio.to_thread(propose, history, rules)
        return [
            Proposed(
                kind=each.kind,
                rule=as_rule(each),
                corrected=len(each.corrected),
                changes=len(each.changes),
                examples=(*each.corrected[:_EXAMPLES], *each.changes[:_EXAMPLES]),
            )
            for each in proposals
        ]

    async def resume(self, channel: str) -> str:
        """Let a channel send."""
        await self._set_health(channel, resumed(self.base.board.health(channel)))
        await self.base.store.retry(
            Selection(channel=channel, state=State.DEFERRED), self.base.clock()
        )
        self.graph.changed(channel)
        self.base.journal.record(events.ChannelResumed(channel=channel, why="resumed by hand"))
        return f"{channel} sends again"

    async def stop(self, channel: str) -> str:
        """Stop a channel until it is resumed."""
        await self._set_health(channel, Stopped(by="a person", since=self.base.clock()))
        self.base.journal.record(events.OwnerActed(action="stop", recipients=0))
        return f"{channel} is stopped; mail for it waits until `relay channel resume {channel}`"

    async def reload(self) -> str:
        """Read the settings anew."""
        return await self.again()

    async def _with_turns(self, rows: Sequence[RecipientRow]) -> Sequence[RecipientRow]:
        """Say of what waits for a limit when it goes."""
        waiting = [row.id for row in rows if row.state in WAITING]
        turns = await self.base.store.turns(waiting, self.base.clock())
        return [replace(row, turn=turns[row.id]) if row.id in turns else row for row in rows]

    async def _set_health(self, channel: str, health: Health) -> None:
        if channel not in self.graph.channels:
            known = ", ".join(self.graph.channels)
            raise HouseError(f"there is no channel {channel!r}", f"use one of: {known}")
        await self.base.store.set_health(channel, health)
        self.base.board.set_health(channel, health)
        self.graph.changed(channel)

    def _acted(self, action: str, recipients: int) -> int:
        """Tell of it, and wake every lane."""
        self.base.journal.record(events.OwnerActed(action=action, recipients=recipients))
        for channel in self.graph.lanes:
            self.graph.changed(channel)
        return recipients

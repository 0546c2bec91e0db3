"""Who waits to send by a channel whose sign-in was refused: asked before it is used again.

A second fault often hides behind the first: another account may not send as everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from relay.channels.channel import Channel
from relay.delivery.board import Board
from relay.mail.attempt import Refused
from relay.observe import events
from relay.observe.journal import Journal
from relay.policy.accounting import State
from relay.policy.health import Paused, after_fault
from relay.policy.judgement import Judgement
from relay.policy.route import first_channel
from relay.queue.rows import Waiting
from relay.queue.store import Store

_MOST_WAITING = 10_000
_MOST_SENDERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderCheck:
    """Asks a channel's server for the senders that wait."""

    channel: Channel
    store: Store
    judge: Callable[[Refused], Judgement]
    board: Board
    journal: Journal
    clock: Callable[[], datetime]
    changed: Callable[[str], None]

    async def run(self) -> None:
        """Pause the channel again, or keep back the mail of whom it does not take."""
        name = self.channel.name
        waiting = await self.store.waiting(name, only_alternatives=False, limit=_MOST_WAITING)
        senders = dict.fromkeys(item.reverse_path for item in waiting if item.reverse_path)
        asked = tuple(senders)[:_MOST_SENDERS]
        if not asked:
            return
        answer = await self.channel.ask_senders(asked)
        if isinstance(answer, Refused):  # it did not get as far: that was the probe
            await self._pause(answer)
            return
        first = answer.refused.get(asked[0])
        if not answer.takes_some and first and self.judge(first).is_channel_fault:
            await self._pause(first)
            return
        for sender, refused in answer.refused.items():
            if refused.reply.is_permanent:
                mine = [item for item in waiting if item.reverse_path == sender]
                await self._keep_back(sender, str(refused.reply), mine)

    async def _pause(self, refused: Refused) -> None:
        name, judgement, reply = self.channel.name, self.judge(refused), str(refused.reply)
        paused = after_fault(self.board.health(name), judgement, reply, self.clock())
        if not isinstance(paused, Paused):  # a person stopped it meanwhile
            return
        await self.store.set_health(name, paused)
        self.board.set_health(name, paused)
        self.journal.record(
            events.ChannelPaused(
                channel=name,
                category=judgement.category,
                cause=judgement.cause,
                fix=judgement.fix,
                reply=reply,
                until=paused.until,
            )
        )
        self.changed(name)

    async def _keep_back(self, sender: str, reply: str, mine: list[Waiting]) -> None:
        """Let the mail of a sender go by its next channel, now or later; hold what has none."""
        name, now = self.channel.name, self.clock()
        moves: dict[int, str] = {}
        for item in mine:
            others = tuple(each for each in item.plan.channels if each != name)
            if others and not item.doubts:
                moves[item.id] = first_channel(others, self.board.closed(now, item.is_essential))
        held = [item.id for item in mine if item.id not in moves]
        if moves:
            await self.store.move(moves)
        if held:
            why = f"{name} does not take {sender} as sender: {reply}"
            await self.store.give_up(held, State.HELD, why, (), self.clock())
        self.journal.record(
            events.SenderRefused(
                channel=name, reverse_path=sender, reply=reply, moved=len(moves), held=len(held)
            )
        )
        for way in set(moves.values()):
            self.changed(way)

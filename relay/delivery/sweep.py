"""What has to happen by itself: lost leases, notices of delay, giving up, forgetting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from relay.delivery.board import Board
from relay.delivery.reports import About, Reporter
from relay.mail.dsn import Action, Failure, header_of
from relay.mail.message import encode_id
from relay.mail.reply import Reply, make_reply
from relay.observe import events
from relay.observe.journal import Journal
from relay.policy.accounting import State
from relay.policy.health import Paused, Stopped
from relay.policy.retry import Schedule
from relay.policy.settle import may_have_arrived
from relay.queue.rows import Turn, Waiting
from relay.queue.store import Retention, Selection, Store, StoreError

_EVERY = timedelta(seconds=20)
_AT_ONCE = 500
STEP = timedelta(seconds=30)  # back: the clock was set
_HEADER_BYTES = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Looks after the queue until it is cancelled."""

    store: Store
    board: Board
    schedule: Schedule
    retention: Retention
    reporter: Reporter
    journal: Journal
    clock: Callable[[], datetime]
    in_flight: Callable[[], frozenset[int]]
    changed: Callable[[str], None]
    every: timedelta = _EVERY

    async def run(self) -> None:
        """Sweep again and again; a failing queue is waited for."""
        while True:
            wall, steady = self.clock(), asyncio.get_running_loop().time()
            try:
                await self.once()
            except StoreError as error:
                self.journal.record(events.StoreTrouble(detail=str(error)))
            await asyncio.sleep(self.every.total_seconds())
            passed = timedelta(seconds=asyncio.get_running_loop().time() - steady)
            if self.clock() < wall + passed - STEP:
                await self.after_step_back()

    async def once(self) -> None:
        """Do everything that is due."""
        now = self.clock()
        lost = await self.store.take_back(self.in_flight(), now)
        if lost:
            await self.hold_doubts()
        expired = await self._hold_expired(now)
        notices = await self._notice(now)
        purged = await self._purge(now)
        if lost or expired or notices or purged:
            self.journal.record(events.Swept(expired=expired, purged=purged, notices=notices))

    async def hold_doubts(self) -> None:
        """Hold what is in doubt and of a kind that the owner wants nobody to get twice.

        That is what broke off at the last end of the relay, and what the settings or a correction
        say so of since; the rest is held by its own attempt (`settle`).
        """
        why = may_have_arrived("it was being sent when that broke off")
        for kind in self.schedule.held_in_doubt:
            await self.store.hold(Selection(state=State.IN_DOUBT, kind=kind), why)

    async def _purge(self, now: datetime) -> int:
        """Forget what is old, in parts that keep nobody waiting; return how many messages."""
        messages = 0
        while True:
            part = await self.store.purge(self.retention, now)
            messages += part.messages
            if not part.more:
                return messages

    async def after_step_back(self) -> None:
        """The clock was stepped back: nothing waits longer than its wait from now."""
        now = self.clock()
        longest = max(*self.schedule.waits, self.schedule.in_doubt_wait)
        try:
            await self.store.clamp(now, now + longest)
        except StoreError as error:
            self.journal.record(events.StoreTrouble(detail=str(error)))
        self.board.hurry(now)
        for channel in self.board.channels:
            self.changed(channel)

    async def _hold_expired(self, now: datetime) -> int:
        """Hold for a person what grew too old on a channel that does not work.

        It is not failed: the fault is not its own. What is tried in vain on a channel that works
        is given up by its own attempts (`settle`).
        """
        old = await self.store.expired(now - self.schedule.give_up_after, _AT_ONCE)
        stuck = [
            item.id for item in old if isinstance(self.board.health(item.channel), Paused | Stopped)
        ]
        if stuck:
            days = self.schedule.give_up_after / timedelta(days=1)
            why = (
                f"Its channel did not work for {days:g} days. `relay queue release` sends it when "
                "the channel works again, `relay queue drop` gives it up."
            )
            await self.store.give_up(stuck, State.HELD, why, (), now)
        return len(stuck)

    async def _notice(self, now: datetime) -> int:
        """Tell senders of what waits for long, once a recipient; return how many notices."""
        after = self.schedule.delay_notice_after
        if after is None:
            return 0
        late = await self.store.overdue(now - after, _AT_ONCE)
        notices = 0
        for message_id, group in groupby(
            sorted(late, key=lambda item: item.message_id), key=lambda item: item.message_id
        ):
            items = list(group)
            head = await self.store.content_head(message_id, _HEADER_BYTES)
            about = About(
                queue_id=encode_id(message_id),
                reverse_path=items[0].reverse_path or "",
                subject=items[0].subject,
                received_at=items[0].received_at,
                header=header_of(head),
            )
            until = items[0].received_at + self.schedule.give_up_after
            turns = await self.store.turns([item.id for item in items], now)
            reports = self.reporter.write(
                Action.DELAYED,
                about,
                [self._delay(item, turns.get(item.id), now) for item in items],
                until,
                now,
            )
            await self.store.notice([item.id for item in items], reports)
            notices += len(reports)
            for report in reports:
                self._tell(report.message.queue_id, about.queue_id, items)
        return notices

    def _delay(self, item: Waiting, turn: Turn | None, now: datetime) -> Failure:
        """Return why a recipient waits, in the words of the last reply or of its channel."""
        cause = ""
        match self.board.health(item.channel):
            case Paused(cause=cause):
                pass
            case Stopped():
                cause = "The channel that it goes by was stopped by hand."
            case _:
                if turn is not None:
                    cause = (
                        f"It waits for the sending limit of {turn.usage.limit.name}. "
                        f"Its turn is about {turn.at:%Y-%m-%d %H:%M} UTC."
                    )
        return Failure(
            forward_path=item.forward_path,
            reply=_last_reply(item.why),
            cause=cause,
            upstream="",
            attempted_at=now,
        )

    def _tell(self, report: str, about: str, items: Iterable[Waiting]) -> None:
        self.journal.record(
            events.Reported(
                queue_id=report,
                about=about,
                action=Action.DELAYED,
                recipients=sum(1 for _ in items),
            )
        )


def _last_reply(why: str) -> Reply:
    """Return the reply that the queue keeps as text, or the one for what was never tried."""
    code, _, text = why.partition(" ")
    if code.isascii() and code.isdigit() and len(code) == 3:
        return make_reply(int(code), text)
    return Reply(451, "4.4.7", why or "not yet tried")

"""One channel's queue at work: claims as much as it may, keeps quiet when it must."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from relay.delivery.board import Board, Throttle
from relay.delivery.overflow import Moves, diverted, overflowing
from relay.delivery.senders import SenderCheck
from relay.delivery.worker import Worker
from relay.observe import events
from relay.observe.journal import Journal
from relay.policy.health import Open, Paused, Stopped
from relay.queue.rows import Claim, Lease
from relay.queue.store import Room, Store, StoreError

_LEASE_FOR = timedelta(hours=2)  # longer than any transaction may last
_LOOK_AGAIN = timedelta(seconds=30)  # at the latest: the clock may have been stepped
_TROUBLE_WAIT = timedelta(seconds=1)
_GATHER_SECONDS = 0.02  # at most, between claims of mail that comes in one by one
_PAUSE_SECONDS = 0.004  # in which nothing came, so that nothing is waited for
_DIVERT_AT_ONCE = 500
_CHECK_SECONDS = 60.0


@dataclass(slots=True, kw_only=True)
class Lane:
    """Runs one channel until it is told to drain."""

    name: str
    worker: Worker
    store: Store
    board: Board
    journal: Journal
    clock: Callable[[], datetime]
    connections: int
    max_recipients: int  # of one transaction
    senders: SenderCheck
    changed: Callable[[str], None]
    look_again: timedelta = _LOOK_AGAIN
    in_flight: Counter[int] = field(default_factory=Counter)  # leases, by message id
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _turning: asyncio.Lock = field(default_factory=asyncio.Lock)
    _hungry: bool = True  # what ends may make room for more
    _claimed_at: float = 0.0  # loop time of the last claim that took something
    _sending: int = 0  # of the tasks, the others are writing down what came of it
    _draining: bool = False
    _checking: bool = False  # who waits to send; nothing is claimed meanwhile

    def wake(self) -> None:
        """Look again: there is mail, room, or another state."""
        self._news.set()

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Claim and send until drained; a failing queue is waited for."""
        while not self._draining:
            self._news.clear()
            try:
                async with self._turning:
                    look_at = await self._turn(group)
            except StoreError as error:
                self.journal.record(events.StoreTrouble(detail=str(error)))
                look_at = self.clock() + _TROUBLE_WAIT
            await self._sleep_until(look_at)
            await self._let_gather()

    async def drain(self) -> None:
        """Take no more; return when what is being sent is settled."""
        self._draining = True
        self.wake()
        async with self._turning:  # what is just being claimed is sent too
            while self._tasks:
                await asyncio.wait(self._tasks)

    def abandon(self) -> None:
        """Break off what is still being sent: its lease is found at the next start."""
        for task in self._tasks:
            task.cancel()

    async def _turn(self, group: asyncio.TaskGroup) -> datetime | None:
        """Start what may be started; return when to look again, None for not before news."""
        self._hungry = True
        now = self.clock()
        if self.name in self.board.closed(now, is_essential=False):
            await self._divert(now)
        if self._checking or self.board.take_check(self.name, now):
            self._check(group)
            return None
        room = self._room(now)
        if isinstance(room, datetime):
            return room
        if room == 0:
            return None
        claim = await self.store.claim(
            self.name,
            Room(leases=room, recipients=self.max_recipients, lease_for=_LEASE_FOR),
            now,
        )
        self._hungry = len(claim.leases) == room or claim.throttled is not None
        if claim.leases:
            self._claimed_at = asyncio.get_running_loop().time()
        for lease in claim.leases:
            self._start(group, lease)
        look_at = self._after(claim, room, now)
        if look_at is None or claim.throttled is None or claim.has_reserve:
            return look_at
        return min(look_at, await self._overflow(now) or look_at)

    def _room(self, now: datetime) -> int | datetime:
        """Return how many leases may be taken, or when to ask again.

        No more than can be sent now, so that little is tried in vain when the channel fails; a
        connection is free again while what it sent is still written down. A channel that comes
        back from a pause is probed with one message.
        """
        match self.board.health(self.name):
            case Stopped():
                return 0
            case Paused(until=until):
                if until > now:
                    return until
                return 0 if self._tasks else 1
            case Open():
                waiting = len(self._tasks) - self._sending
                return max(0, self.connections - self._sending - waiting // 2)

    def _after(self, claim: Claim, room: int, now: datetime) -> datetime | None:
        """Note a limit without room; return when to look again."""
        if claim.throttled is None or claim.next_at is None:
            self.board.throttle(self.name, None)
            if isinstance(self.board.health(self.name), Paused) and claim.leases:
                return None  # the probe's answer is news
            return now if len(claim.leases) == room else claim.next_at
        was_closed = self.name in self.board.closed(now, is_essential=False)
        limit, until = claim.throttled.limit, claim.throttled.until
        self.board.throttle(self.name, Throttle(limit, until, claim.has_reserve))
        if not was_closed and self.name in self.board.closed(now, is_essential=False):
            self.journal.record(
                events.ChannelThrottled(channel=self.name, limit=limit.name, until=until)
            )
            self.wake()  # the next turn lets go what has another way
        return claim.next_at

    def _start(self, group: asyncio.TaskGroup, lease: Lease) -> None:
        self.in_flight[lease.message_id] += 1
        self._sending += 1
        task = group.create_task(self._work(lease), name=f"send {lease.queue_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _check(self, group: asyncio.TaskGroup) -> None:
        if self._checking:
            return
        self._checking = True
        task = group.create_task(self._check_senders(), name=f"senders of {self.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _check_senders(self) -> None:
        """The edge of a task: when it fails, mail is sent and says the same."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await self.senders.run()
        except TimeoutError:
            return
        except StoreError as error:
            self.journal.record(events.StoreTrouble(detail=str(error)))
        except Exception as error:
            self.journal.record(events.Crashed(where=f"senders of {self.name}", detail=repr(error)))
        finally:
            self._checking = False
            asyncio.get_running_loop().call_soon(self.wake)

    async def _work(self, lease: Lease) -> None:
        """The edge of a task: a mistake of ours is told; the lease runs out and is tried again."""
        try:
            await self.worker.step(lease, self._sent)
        except Exception as error:
            self.journal.record(
                events.Crashed(where=f"sending {lease.queue_id}", detail=repr(error))
            )
        finally:
            self.in_flight[lease.message_id] -= 1
            if not self.in_flight[lease.message_id]:
                del self.in_flight[lease.message_id]
            if self._hungry:
                asyncio.get_running_loop().call_soon(self.wake)

    def _sent(self) -> None:
        """A connection is free."""
        self._sending -= 1
        if self._hungry:
            self.wake()

    async def _divert(self, now: datetime) -> None:
        """Let what has another channel in its plan go by it, now that this one is closed."""
        closed = {
            is_essential: self.board.closed(now, is_essential) for is_essential in (True, False)
        }
        while True:
            waiting = await self.store.waiting(
                self.name, only_alternatives=True, limit=_DIVERT_AT_ONCE
            )
            moves = diverted(self.name, waiting, closed)
            await self._move(moves)
            if not moves or len(waiting) < _DIVERT_AT_ONCE:
                return

    async def _overflow(self, now: datetime) -> datetime | None:
        """Let essential mail that has waited for a limit long enough go by a channel with room.

        Return when the next one has: room may come soon, again and again, and never be enough.
        """
        full = {**self.board.closed(now, True, patience=timedelta()), self.name: now}
        waiting = await self.store.waiting(
            self.name, only_alternatives=True, only_essential=True, limit=_DIVERT_AT_ONCE
        )
        moves, next_at = overflowing(waiting, full, now)
        await self._move(moves)
        return now if moves and len(waiting) == _DIVERT_AT_ONCE else next_at

    async def _move(self, moves: Moves) -> None:
        if moves:
            await self.store.move(moves)
        for channel in set(moves.values()):
            self.changed(channel)

    async def _sleep_until(self, look_at: datetime | None) -> None:
        wait = self.look_again
        if look_at is not None:
            wait = min(look_at - self.clock(), wait)
        if wait <= timedelta():
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(wait.total_seconds()):
                await self._news.wait()
        except TimeoutError:
            return

    async def _let_gather(self) -> None:
        """Let mail that comes in one by one, after a claim that took all there was, gather.

        To claim, send and write down ten together costs little more than one of them; a message
        that comes alone goes at once, and the last one of many soon.
        """
        loop = asyncio.get_running_loop()
        until = self._claimed_at + _GATHER_SECONDS
        more_comes = True
        while more_comes and loop.time() < until and not (self._hungry or self._draining):
            self._news.clear()
            await asyncio.sleep(_PAUSE_SECONDS)
            more_comes = self._news.is_set()

"""One attempt: send, judge, settle. Read `step` and you know the way out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from relay.channels.channel import Channel, Parcel
from relay.delivery.board import Board
from relay.delivery.reports import About, Reporter, header_of
from relay.mail.attempt import Attempt, Refused
from relay.mail.dsn import Action, Failure
from relay.observe import events
from relay.observe.events import Result
from relay.observe.journal import Journal
from relay.policy.health import Health, Open, Paused, Stopped, after_fault
from relay.policy.judgement import Judgement
from relay.policy.retry import Schedule
from relay.policy.runs import Run, blame, run_after
from relay.policy.settle import Circumstances, Copy, channel_fault, settle
from relay.policy.settlement import Dead, Disposition, Done, Doubt, Held, Later, Settlement
from relay.queue.rows import Lease
from relay.queue.store import Entry, Store, StoreError

_SETTLE_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Sends leases of one channel; many `step` run at once."""

    channel: Channel
    store: Store
    judge: Callable[[Refused], Judgement]
    board: Board
    schedule: Schedule
    reporter: Reporter
    journal: Journal
    clock: Callable[[], datetime]
    changed: Callable[[str], None]  # a channel is in another state

    async def step(self, lease: Lease, sent: Callable[[], None]) -> None:
        """Send a lease and write down what came of it; `sent` is called in between, always."""
        try:
            attempt = await self.channel.send(_parcel(lease))
        finally:
            sent()
        judgements = tuple(
            self.judge(outcome) if isinstance(outcome, Refused) else None
            for outcome in attempt.outcomes
        )
        reset_at = await self._learn(lease, attempt, judgements)
        run = self._run_after(lease, attempt, judgements)
        judgements = blame(run, attempt, judgements)
        health = self._health_after(attempt, judgements, run, reset_at)
        settlement = settle(attempt, _copies(lease), judgements, self._circumstances(lease))
        reports = self._reports(lease, attempt, settlement)
        await self._write(lease, attempt, settlement, health, reports)
        self._tell(lease, attempt, settlement, reports)

    async def _learn(
        self, lease: Lease, attempt: Attempt, judgements: tuple[Judgement | None, ...]
    ) -> datetime | None:
        """Note what an over-quota reply says of a limit; return when it is reset, if known."""
        fault = channel_fault(attempt, judgements)
        if fault is None or not fault[0].is_over_quota or self._says_nothing_new(attempt):
            return None
        try:
            lesson = await self.store.learn(lease, fault[0].window, self.clock())
        except StoreError as error:
            self.journal.record(events.StoreTrouble(detail=str(error)))
            return None
        if lesson is None:
            return None
        self.journal.record(
            events.LimitLearned(
                channel=lease.channel,
                limit=lesson.limit,
                counted=lesson.counted,
                until=lesson.until,
            )
        )
        return lesson.until if lesson.is_reset else None

    def _says_nothing_new(self, attempt: Attempt) -> bool:
        """Return whether it began before the pause that the channel is in."""
        health = self.board.health(self.channel.name)
        return isinstance(health, Paused) and attempt.started_at < health.until

    def _run_after(
        self, lease: Lease, attempt: Attempt, judgements: tuple[Judgement | None, ...]
    ) -> Run | None:
        """Return the run of equal refusals that the channel is in."""
        health = self.board.health(self.channel.name)
        run = None if isinstance(health, Stopped) else health.run
        paths = [target.forward_path for target in lease.targets]
        return run_after(run, attempt, judgements, paths, lease.queue_id)

    def _health_after(
        self,
        attempt: Attempt,
        judgements: tuple[Judgement | None, ...],
        run: Run | None,
        reset_at: datetime | None,
    ) -> Health | None:
        """Note what the attempt says of the channel; return its new state, None if it has none.

        Only one that began after the pause is a probe; others, before it or claimed as it began,
        say nothing new.
        """
        name = self.channel.name
        before = self.board.health(name)
        if self._says_nothing_new(attempt):
            return None
        after = before if isinstance(before, Stopped) else replace(before, run=run)
        fault = channel_fault(attempt, judgements)
        if fault is not None:
            judgement, reply = fault
            after = after_fault(after, judgement, str(reply), self.clock(), reset_at)
        elif isinstance(after, Paused):
            after = Open(run=run)
        if after == before:
            return None
        self.board.set_health(name, after)
        self._tell_health(before, after)
        return after

    def _tell_health(self, before: Health, after: Health) -> None:
        name = self.channel.name
        if isinstance(after, Paused):
            self.journal.record(
                events.ChannelPaused(
                    channel=name,
                    category=after.category,
                    cause=after.cause,
                    fix=after.fix,
                    reply=after.reply,
                    until=after.until,
                )
            )
        elif isinstance(before, Paused):
            self.journal.record(events.ChannelResumed(channel=name, why="a message went through"))
        else:
            return
        self.changed(name)

    def _circumstances(self, lease: Lease) -> Circumstances:
        now = self.clock()
        return Circumstances(
            schedule=self.schedule,
            kind=lease.kind,
            received_at=lease.received_at,
            closed=self.board.closed(now, lease.is_essential),
            now=now,
        )

    def _reports(self, lease: Lease, attempt: Attempt, settlement: Settlement) -> tuple[Entry, ...]:
        """Return the report on what failed; there is none about mail without a reverse-path."""
        if lease.reverse_path is None:
            return ()
        failures = [
            Failure(
                forward_path=target.forward_path,
                reply=disposition.reply,
                cause=_in_words(judgement),
                upstream=attempt.upstream,
                attempted_at=attempt.ended_at,
            )
            for target, disposition, judgement in zip(
                lease.targets, settlement.dispositions, settlement.judgements, strict=True
            )
            if isinstance(disposition, Dead)
        ]
        if not failures:
            return ()
        about = About(
            queue_id=lease.queue_id,
            reverse_path=lease.reverse_path,
            subject=lease.subject,
            received_at=lease.received_at,
            header=header_of(lease.content),
        )
        return self.reporter.write(Action.FAILED, about, failures, None, self.clock())

    async def _write(
        self,
        lease: Lease,
        attempt: Attempt,
        settlement: Settlement,
        health: Health | None,
        reports: tuple[Entry, ...],
    ) -> None:
        """Settle, again and again while the queue cannot be written: the upstream has spoken."""
        while True:
            try:
                await self.store.settle(lease, attempt, settlement, health, reports)
            except StoreError as error:
                self.journal.record(events.StoreTrouble(detail=str(error)))
                await asyncio.sleep(_SETTLE_AGAIN_SECONDS)
            else:
                return

    def _tell(
        self, lease: Lease, attempt: Attempt, settlement: Settlement, reports: tuple[Entry, ...]
    ) -> None:
        seconds = (attempt.ended_at - attempt.started_at).total_seconds()
        for target, disposition, judgement in zip(
            lease.targets, settlement.dispositions, settlement.judgements, strict=True
        ):
            result, reply, due_at = _result(disposition, lease.channel)
            self.journal.record(
                events.Attempted(
                    queue_id=lease.queue_id,
                    channel=lease.channel,
                    upstream=attempt.upstream,
                    kind=lease.kind,
                    forward_path=target.forward_path,
                    result=result,
                    reply=reply,
                    entry=judgement.entry if judgement else None,
                    attempts=target.attempts,
                    seconds=seconds,
                    due_at=due_at,
                )
            )
        for report in reports:
            self.journal.record(
                events.Reported(
                    queue_id=report.message.queue_id,
                    about=lease.queue_id,
                    action=Action.FAILED,
                    recipients=sum(isinstance(d, Dead) for d in settlement.dispositions),
                )
            )


def _in_words(judgement: Judgement | None) -> str:
    """Return what a sender is told of a failure; not how to mend what was tried for days."""
    if judgement is None:
        return ""
    return f"{judgement.cause} {judgement.fix}" if judgement.is_final else judgement.cause


def _parcel(lease: Lease) -> Parcel:
    return Parcel(
        queue_id=lease.queue_id,
        reverse_path=lease.reverse_path,
        forward_paths=tuple(target.forward_path for target in lease.targets),
        content=lease.content,
        body_8bit=lease.body_8bit,
        smtputf8=lease.smtputf8,
    )


def _copies(lease: Lease) -> tuple[Copy, ...]:
    return tuple(
        Copy(attempts=target.attempts, doubts=target.doubts, channels=target.plan.channels)
        for target in lease.targets
    )


def _result(disposition: Disposition, channel: str) -> tuple[Result, str, datetime | None]:
    match disposition:
        case Done(reply):
            return Result.SENT, str(reply), None
        case Later(due_at, by, reply):
            return (Result.DEFERRED if by == channel else Result.DIVERTED), str(reply), due_at
        case Doubt(due_at, reply):
            return Result.IN_DOUBT, str(reply), due_at
        case Held(why):
            return Result.HELD, why, None
        case Dead(reply):
            return Result.FAILED, str(reply), None

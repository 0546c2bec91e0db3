"""The queue's contract: what was acknowledged is there, each recipient in exactly one state."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from making import (
    CHANNEL_FAULT,
    CONTENT,
    DAY,
    GREYLISTED,
    HOUR,
    MINUTE,
    NOON,
    RECIPIENT_FAULT,
    ROOM,
    SCHEDULE,
    SECOND,
    attempt,
    entry,
    in_doubt,
    refused,
    sent,
)

from relay.mail.attempt import Outcome
from relay.mail.message import Spooled
from relay.mail.reply import Phase
from relay.policy.accounting import State
from relay.policy.evidence import EInvoice
from relay.policy.health import Open, Paused
from relay.policy.kinds import Kind
from relay.policy.limits import Limit, Unit
from relay.policy.plan import Plan
from relay.policy.runs import Run
from relay.policy.settle import Circumstances, Copy, settle
from relay.policy.settlement import Settlement
from relay.queue.rows import Claim, Correction, Lease
from relay.queue.spool import Spool
from relay.queue.sqlite import SqliteStore
from relay.queue.sqlite import writer as writers
from relay.queue.sqlite.writer import Writer
from relay.queue.store import (
    Corrected,
    Entry,
    QueueDamagedError,
    Retention,
    Room,
    Selection,
    StoreError,
)

DIRECT = Plan(channels=("direct",))
KEEP = Retention(rows=30 * DAY, content=timedelta(), charges=32 * DAY, contacts=DAY)


@asynccontextmanager
async def opened(folder: Path, **limits: tuple[Limit, ...]) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(folder, Spool(folder / "spool"))
    await store.open(NOON, NOON + MINUTE)
    store.set_limits(limits)
    try:
        yield store
    finally:
        await store.close()


async def states(store: SqliteStore) -> dict[str, int]:
    """Return the states that are not empty, having checked the first promise."""
    sheet = await store.accounting()
    assert sheet.difference == 0
    return {state.value: count for state, count in sheet.states.items() if count}


async def finish(
    store: SqliteStore, lease: Lease, *outcomes: Outcome, judgement=None, at: datetime = NOON
) -> Settlement:
    """Settle a lease as the worker does."""
    done = attempt(lease, *outcomes, at=at)
    judgements = [judgement if type(o).__name__ == "Refused" else None for o in outcomes]
    settlement = settle(
        done,
        [Copy(attempts=t.attempts, doubts=t.doubts, channels=t.plan.channels)
         for t in lease.targets],
        judgements,
        Circumstances(
            schedule=SCHEDULE,
            kind=lease.kind,
            received_at=lease.received_at,
            closed={},
            now=done.ended_at,
        ),
    )  # fmt: skip
    await store.settle(lease, done, settlement, None, ())
    return settlement


def run(story: Callable[[], object]) -> None:
    asyncio.run(story())


def test_a_message_goes_in_and_out(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry("a@example.net", "b@example.net", subject="Rechnung 7"))
            assert await states(store) == {"queued": 2}
            claim = await store.claim("native", ROOM, NOON)
            (lease,) = claim.leases
            assert lease.content == CONTENT
            assert [t.forward_path for t in lease.targets] == ["a@example.net", "b@example.net"]
            assert await states(store) == {"sending": 2}
            await finish(store, lease, sent(), refused(550), judgement=RECIPIENT_FAULT)
            assert await states(store) == {"sent": 1, "failed": 1}
            row = await store.message(lease.queue_id)
            assert row.subject == "Rechnung 7"
            assert [(a.result, a.reply) for _, a in row.attempts] == [
                ("sent", "250 2.0.0 taken"),
                ("failed", "550 no"),
            ]

    run(story)


def test_what_was_put_is_there_after_a_restart_and_what_was_being_sent_comes_back(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry("a@example.net"))
            await store.put(entry("b@example.net"))
            await store.claim("native", replace(ROOM, leases=1), NOON)
        store = SqliteStore(tmp_path, Spool(tmp_path / "spool"))
        found = await store.open(NOON, NOON + MINUTE)
        assert found.recovered == 1
        assert await store.possible_duplicates() == 1
        assert await states(store) == {"queued": 1, "in_doubt": 1}
        first = await store.claim("native", ROOM, NOON)
        assert len(first.leases) == 1
        assert first.next_at == NOON + MINUTE
        again = await store.claim("native", ROOM, NOON + MINUTE)
        assert [t.attempts for t in again.leases[0].targets] == [2]
        await store.close()

    run(story)


def test_what_matters_goes_first_and_then_the_oldest(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            for number, kind in enumerate((Kind.MARKETING, Kind.DIRECT, Kind.INVOICE, Kind.DIRECT)):
                await store.put(
                    entry(kind=kind, plan=DIRECT, at=NOON + number * SECOND, subject=str(number))
                )
            order = []
            while True:
                claim = await store.claim("direct", replace(ROOM, leases=1), NOON + MINUTE)
                if not claim.leases:
                    break
                order.append(claim.leases[0].subject)
            assert order == ["2", "1", "3", "0"]

    run(story)


def test_limits_are_charged_in_the_claim_and_survive_a_restart(tmp_path):
    limits = (Limit(Unit.RECIPIENTS, 3, DAY),)

    async def story():
        async with opened(tmp_path, direct=limits) as store:
            await store.put(entry("a@x.example", "b@x.example", plan=DIRECT))
            await store.put(entry("c@x.example", "d@x.example", plan=DIRECT))
            claim = await store.claim("direct", ROOM, NOON)
            assert [len(lease.targets) for lease in claim.leases] == [2, 1]
        async with opened(tmp_path, direct=limits) as store:
            claim = await store.claim("direct", ROOM, NOON + HOUR)
            assert claim.leases == ()
            assert claim.throttled.limit == limits[0]
            assert claim.next_at == NOON + DAY
            (usage,) = (await store.usage(NOON + HOUR))["direct"]
            assert (usage.used, usage.room_at) == (3, NOON + DAY)
            later = await store.claim("direct", ROOM, NOON + DAY)
            assert sum(len(lease.targets) for lease in later.leases) == 3

    run(story)


def test_what_matters_is_looked_for_when_it_is_due_though_other_mail_waits_longer(tmp_path):
    limits = (Limit(Unit.RECIPIENTS, 2, DAY, reserve=1),)

    async def story():
        async with opened(tmp_path, direct=limits) as store:
            for kind in (Kind.DIRECT, Kind.DIRECT):
                await store.put(entry(kind=kind, plan=DIRECT))
            (lease,) = (await store.claim("direct", ROOM, NOON)).leases
            await finish(store, lease, sent())
            await store.put(entry(kind=Kind.INVOICE, plan=DIRECT, at=NOON + HOUR))
            claim = await store.claim("direct", ROOM, NOON + MINUTE)
            assert claim.throttled.until == NOON + SECOND + DAY
            assert (claim.next_at, claim.has_reserve) == (NOON + HOUR, True)

    run(story)


def test_there_is_no_reserve_where_what_matters_itself_waits(tmp_path):
    """The room that is left is too small for this one."""
    limits = (Limit(Unit.BYTES, 2 * len(CONTENT) - 1, DAY),)

    async def story():
        async with opened(tmp_path, direct=limits) as store:
            for _ in range(2):
                await store.put(entry(kind=Kind.INVOICE, plan=DIRECT))
            claim = await store.claim("direct", ROOM, NOON)
            assert (len(claim.leases), claim.has_reserve) == (1, False)

    run(story)


def test_a_limit_that_is_added_later_counts_what_was_sent_before(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry("a@x.example", plan=DIRECT))
            await store.put(entry("b@x.example", plan=DIRECT))
            (lease,) = (await store.claim("direct", replace(ROOM, leases=1), NOON)).leases
            store.set_limits({"direct": (Limit(Unit.MESSAGES, 1, HOUR),)})
            while_it_is_sent = await store.claim("direct", ROOM, NOON + MINUTE)
            assert (while_it_is_sent.leases, while_it_is_sent.throttled.limit.maximum) == ((), 1)
            await finish(store, lease, sent(), at=NOON + MINUTE)
            claim = await store.claim("direct", ROOM, NOON + 2 * MINUTE)
            assert (claim.leases, claim.next_at) == ((), NOON + MINUTE + SECOND + HOUR)

    run(story)


@pytest.mark.parametrize("ends", ["settings", "clock", "crash"])
def test_parts_of_a_message_that_leave_in_the_same_moment_are_counted_each(tmp_path, ends):
    limits = (Limit(Unit.MESSAGES, 5, DAY), Limit(Unit.BYTES, 10 * len(CONTENT), DAY))
    room = replace(ROOM, recipients=2)

    async def story():
        async with opened(tmp_path, direct=limits) as store:
            await store.put(entry(*(f"{name}@x.example" for name in "abcd"), plan=DIRECT))
            for _ in range(2):
                assert len((await store.claim("direct", room, NOON)).leases) == 1
            if ends == "settings":
                store.set_limits({"direct": limits})
            elif ends == "clock":
                await store.clamp(NOON, NOON + MINUTE)
            if ends != "crash":
                used = [usage.used for usage in (await store.usage(NOON))["direct"]]
                assert used == [2, 2 * len(CONTENT)]
        async with opened(tmp_path, direct=limits) as store:
            used = [usage.used for usage in (await store.usage(NOON))["direct"]]
            assert used == [2, 2 * len(CONTENT)]

    run(story)


def test_a_clean_refusal_before_data_gives_the_charge_back(tmp_path):
    async def story():
        async with opened(tmp_path, direct=(Limit(Unit.MESSAGES, 1, DAY),)) as store:
            await store.put(entry("a@x.example", plan=DIRECT))
            (lease,) = (await store.claim("direct", ROOM, NOON)).leases
            refusal = attempt(lease, refused(550), data=False)
            settlement = Settlement(
                dispositions=settle(
                    refusal,
                    [Copy(attempts=1, doubts=0, channels=("direct",))],
                    [RECIPIENT_FAULT],
                    Circumstances(
                        schedule=SCHEDULE,
                        kind=Kind.INVOICE,
                        received_at=NOON,
                        closed={},
                        now=NOON,
                    ),
                ).dispositions,
                judgements=(RECIPIENT_FAULT,),
                refund_messages=1,
                refund_recipients=1,
            )
            await store.settle(lease, refusal, settlement, None, ())
            (usage,) = (await store.usage(NOON))["direct"]
            assert usage.used == 0
        async with opened(tmp_path, direct=(Limit(Unit.MESSAGES, 1, DAY),)) as store:
            (usage,) = (await store.usage(NOON))["direct"]
            assert usage.used == 0

    run(story)


def test_a_refusal_of_one_copy_does_not_forget_another_to_the_same_address(tmp_path):
    """The second departs in the moment in which the first one has arrived."""
    limits = (Limit(Unit.DISTINCT_RECIPIENTS, 5, DAY),)

    async def story():
        async with opened(tmp_path, direct=limits) as store:
            for outcome in (sent(), refused(450)):
                await store.put(entry("a@x.example", plan=DIRECT))
                (lease,) = (await store.claim("direct", ROOM, NOON + SECOND)).leases
                done = attempt(lease, outcome, at=NOON, data=outcome == sent())
                settlement = settle(
                    done,
                    [Copy(attempts=1, doubts=0, channels=("direct",))],
                    [None if outcome == sent() else GREYLISTED],
                    Circumstances(
                        schedule=SCHEDULE, kind=Kind.INVOICE, received_at=NOON, closed={}, now=NOON
                    ),
                )
                await store.settle(lease, done, settlement, None, ())
        async with opened(tmp_path, direct=limits) as store:
            (usage,) = (await store.usage(NOON + MINUTE))["direct"]
            assert usage.used == 1

    run(story)


def test_ordinary_mail_leaves_the_reserve_to_what_matters(tmp_path):
    limits = (Limit(Unit.RECIPIENTS, 4, DAY, reserve=2),)

    async def story():
        async with opened(tmp_path, direct=limits) as store:
            people = [f"{name}@x.example" for name in "abc"]
            await store.put(entry(*people, kind=Kind.DIRECT, plan=DIRECT))
            claim = await store.claim("direct", ROOM, NOON)
            assert [len(lease.targets) for lease in claim.leases] == [2]
            claim = await store.claim("direct", ROOM, NOON)
            assert (claim.leases, claim.throttled.limit, claim.has_reserve) == ((), limits[0], True)
            await store.put(entry(*people, kind=Kind.INVOICE, plan=DIRECT))
            claim = await store.claim("direct", ROOM, NOON)
            assert [len(lease.targets) for lease in claim.leases] == [2]
            claim = await store.claim("direct", ROOM, NOON)
            assert (claim.leases, claim.has_reserve) == ((), False)

    run(story)


def test_applications_take_turns_and_a_newsletter_lets_others_between(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            readers = [f"r{n}@x.example" for n in range(250)]
            await store.put(entry(*readers, kind=Kind.DIRECT, plan=DIRECT, application="shop"))
            for number in range(3):
                await store.put(
                    entry(
                        kind=Kind.DIRECT, plan=DIRECT, application="shop", subject=f"s{number}",
                        at=NOON + SECOND,
                    )
                )  # fmt: skip
            await store.put(
                entry(
                    kind=Kind.DIRECT, plan=DIRECT, application="crm", subject="c", at=NOON + MINUTE
                )
            )
            order = []
            one = replace(ROOM, leases=1)
            while (claim := await store.claim("direct", one, NOON + MINUTE)).leases:
                order += [(lease.subject, len(lease.targets)) for lease in claim.leases]
            assert order == [
                ("c", 1), ("s0", 1), ("hello", 100), ("s1", 1), ("hello", 100), ("s2", 1),
                ("hello", 50),
            ]  # fmt: skip

    run(story)


def test_what_waits_for_a_limit_knows_its_turn(tmp_path):
    limit = Limit(Unit.RECIPIENTS, 10, DAY, reserve=1)

    async def story():
        async with opened(tmp_path, direct=(limit,)) as store:
            many = [f"r{n}@x.example" for n in range(25)]
            await store.put(entry(*many, kind=Kind.DIRECT, plan=DIRECT, application="shop"))
            (lease,) = (await store.claim("direct", ROOM, NOON)).leases
            await finish(store, lease, *[sent()] * 9)
            await store.put(entry(kind=Kind.DIRECT, plan=DIRECT, application="shop"))
            await store.put(entry(kind=Kind.INVOICE, plan=DIRECT, application="shop"))
            await store.put(entry(kind=Kind.INVOICE, plan=DIRECT, application="shop"))
            now = NOON + MINUTE
            waiting = await store.waiting("direct", only_alternatives=False, limit=100)
            turns = await store.turns([item.id for item in waiting], now)
            invoices = [turns.get(it.id) for it in waiting if it.kind is Kind.INVOICE]
            assert [turn and (turn.ahead, turn.at) for turn in invoices] == [
                None, (1, NOON + SECOND + DAY)
            ]  # fmt: skip
            letters = [turns[it.id] for it in waiting if it.kind is Kind.DIRECT]
            assert {turn.usage.used for turn in letters} == {9}
            newest = max(waiting, key=lambda it: it.id if it.kind is Kind.DIRECT else 0)
            assert turns[newest.id].ahead == 3
            last = max(letters, key=lambda turn: turn.ahead)
            assert (last.ahead, last.at) == (2 + 1 + 15, NOON + SECOND + 2 * DAY)

    run(story)


def test_nothing_waits_for_a_channel_without_limits(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry(plan=DIRECT))
            (item,) = await store.waiting("direct", only_alternatives=False, limit=1)
            assert await store.turns([item.id], NOON) == {}

    run(story)


def test_distinct_recipients_are_remembered_over_a_restart(tmp_path):
    limits = (Limit(Unit.DISTINCT_RECIPIENTS, 2, DAY),)

    async def story():
        async with opened(tmp_path, direct=limits) as store:
            for to in ("a@x.example", "A@x.example", "b@x.example", "c@x.example", "a@x.example"):
                await store.put(entry(to, plan=DIRECT))
            claim = await store.claim("direct", ROOM, NOON)
            assert [lease.targets[0].forward_path[0] for lease in claim.leases] == ["a", "A", "b"]
            for lease in claim.leases:
                await finish(store, lease, sent())
        async with opened(tmp_path, direct=limits) as store:
            claim = await store.claim("direct", ROOM, NOON + MINUTE)
            assert (claim.leases, claim.next_at) == ((), NOON + SECOND + DAY)
            await store.purge(KEEP, NOON + 2 * DAY)
            (usage,) = (await store.usage(NOON + 2 * DAY))["direct"]
            assert usage.used == 0

    run(story)


def test_what_was_being_sent_at_a_crash_is_dated_at_the_next_start(tmp_path):
    limits = (Limit(Unit.MESSAGES, 1, MINUTE),)

    async def story():
        async with opened(tmp_path, direct=limits) as store:
            await store.put(entry(plan=DIRECT))
            assert len((await store.claim("direct", ROOM, NOON)).leases) == 1
        store = SqliteStore(tmp_path, Spool(tmp_path / "spool"))
        await store.open(NOON + HOUR, NOON + HOUR)
        store.set_limits({"direct": limits})
        claim = await store.claim("direct", ROOM, NOON + HOUR)
        assert (claim.leases, claim.next_at) == ((), NOON + HOUR + MINUTE)
        await store.close()

    run(story)


@pytest.mark.parametrize("step", [DAY, -DAY], ids=["forward and back", "back"])
def test_a_clock_that_is_set_neither_opens_nor_locks_a_limit(tmp_path, step):
    """What was sent by a clock that was ahead counts as sent now, and so do the charges before."""
    limits = (Limit(Unit.MESSAGES, 2, HOUR),)

    async def story():
        async with opened(tmp_path, direct=limits) as store:
            for _ in range(4):
                await store.put(entry(plan=DIRECT, at=NOON - 2 * DAY))
            room = replace(ROOM, leases=1)
            (lease,) = (await store.claim("direct", room, NOON)).leases
            await finish(store, lease, sent())
            (lease,) = (await store.claim("direct", room, NOON + max(step, MINUTE))).leases
            await finish(store, lease, sent(), at=NOON + max(step, MINUTE))
            now = NOON + 5 * MINUTE if step > timedelta() else NOON + step
            claim = await store.claim("direct", room, now)
            assert claim.leases == ()
            assert now < claim.next_at <= now + HOUR
            assert len((await store.claim("direct", room, now + HOUR + SECOND)).leases) == 1

    run(story)


@pytest.mark.parametrize("step", [DAY, -DAY], ids=["forward", "back"])
def test_what_was_charged_moves_with_a_clock_that_is_set(tmp_path, step):
    limits = (Limit(Unit.MESSAGES, 2, HOUR),)
    passed = [timedelta()]

    async def story():
        store = SqliteStore(tmp_path, Spool(tmp_path / "spool"), lambda: passed[0])
        await store.open(NOON, NOON)
        store.set_limits({"direct": limits})
        for _ in range(3):
            await store.put(entry(plan=DIRECT, at=NOON - 2 * DAY))
        one = replace(ROOM, leases=1)
        (settled,) = (await store.claim("direct", one, NOON)).leases
        await finish(store, settled, sent(), at=NOON)
        (lease,) = (await store.claim("direct", one, NOON)).leases
        passed[0] = 10 * MINUTE
        now = NOON + 10 * MINUTE + step
        assert (await store.claim("direct", one, now)).next_at == now + 50 * MINUTE + SECOND
        await finish(store, lease, sent(), at=now)
        passed[0] = HOUR + SECOND
        assert len((await store.claim("direct", one, NOON + HOUR + SECOND + step)).leases) == 1
        await store.close()

    run(story)


def test_a_message_is_split_at_the_recipients_of_one_transaction(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry(*(f"r{n}@x.example" for n in range(5)), plan=DIRECT))
            sizes = []
            while (claim := await store.claim("direct", replace(ROOM, recipients=2), NOON)).leases:
                sizes += [len(lease.targets) for lease in claim.leases]
            assert sizes == [2, 2, 1]

    run(story)


@pytest.mark.parametrize(
    ("outcome", "judgement", "state", "due"),
    [
        pytest.param(refused(450), GREYLISTED, "deferred", SECOND + MINUTE, id="greylisted"),
        pytest.param(in_doubt(), None, "in_doubt", SECOND + 30 * MINUTE, id="in doubt"),
        pytest.param(
            refused(535, phase=Phase.AUTH), CHANNEL_FAULT, "deferred", SECOND, id="channel fault"
        ),
    ],
)
def test_what_is_not_settled_waits_as_policy_says(tmp_path, outcome, judgement, state, due):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry(plan=DIRECT))
            (lease,) = (await store.claim("direct", ROOM, NOON)).leases
            await finish(store, lease, outcome, judgement=judgement)
            assert await states(store) == {state: 1}
            assert (await store.claim("direct", ROOM, NOON)).next_at == NOON + due

    run(story)


def test_settling_twice_is_settling_once(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry(plan=DIRECT))
            (lease,) = (await store.claim("direct", ROOM, NOON)).leases
            await finish(store, lease, sent())
            await finish(store, lease, sent())
            assert len((await store.message(lease.queue_id)).attempts) == 1
            assert await states(store) == {"sent": 1}

    run(story)


def test_settling_twice_gives_a_charge_back_once(tmp_path):
    """The first time may be one whose commit failed, and reached the disk all the same."""

    async def story():
        limit = Limit(Unit.RECIPIENTS, 2, HOUR)
        async with opened(tmp_path, direct=(limit,)) as store:
            await store.put(entry("a@example.net", plan=DIRECT))
            await store.put(entry("b@example.net", plan=DIRECT))
            first, _ = (await store.claim("direct", ROOM, NOON)).leases  # charged together
            done = attempt(first, refused(450), data=False)
            settlement = settle(
                done,
                [Copy(attempts=1, doubts=0, channels=("direct",))],
                [GREYLISTED],
                Circumstances(
                    schedule=SCHEDULE,
                    kind=Kind.INVOICE,
                    received_at=NOON,
                    closed={},
                    now=NOON,
                ),
            )
            for _ in range(2):
                await store.settle(first, done, settlement, None, ())
            for forget in (False, True):  # what is remembered, and what is written
                if forget:
                    store.set_limits({"direct": (limit,)})
                (usage,) = (await store.usage(NOON + SECOND))["direct"]
                assert usage.used == 1

    run(story)


def test_what_died_with_the_relay_three_times_is_left_to_a_person(tmp_path):
    """Each of these times it may have arrived; nobody gets more than three copies."""

    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry(plan=DIRECT))
        for death in range(1, 4):
            store = SqliteStore(tmp_path, Spool(tmp_path / "spool"))
            await store.open(NOON, NOON)
            assert await store.possible_duplicates() == death - 1
            assert len((await store.claim("direct", ROOM, NOON)).leases) == 1
            await store.close()
        async with opened(tmp_path) as store:
            assert await states(store) == {"held": 1}
            assert (await store.claim("direct", ROOM, NOON + DAY)).leases == ()
            (row,) = await store.recipients(Selection(), 10)
            assert "three times" in row.why

    run(story)


def test_what_our_own_mistake_breaks_off_three_times_is_left_to_a_person(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry(plan=DIRECT))
            for day in range(3):
                now = NOON + day * DAY
                assert len((await store.claim("direct", ROOM, now)).leases) == 1
                assert await store.take_back(frozenset(), now + 2 * HOUR) == 1
            assert await states(store) == {"held": 1}

    run(story)


def test_a_report_is_queued_with_the_failure_or_not_at_all(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry(plan=DIRECT))
            (lease,) = (await store.claim("direct", ROOM, NOON)).leases
            done = attempt(lease, refused(550))
            settlement = settle(
                done,
                [Copy(attempts=1, doubts=0, channels=("direct",))],
                [RECIPIENT_FAULT],
                Circumstances(
                    schedule=SCHEDULE,
                    kind=Kind.INVOICE,
                    received_at=NOON,
                    closed={},
                    now=NOON,
                ),
            )
            report = entry("shop@example.com", kind=Kind.REPORT, reverse_path=None)
            broken = replace(report, channels=())  # one channel too few: fails inside the settling
            with pytest.raises(ValueError, match="shorter"):
                await store.settle(lease, done, settlement, None, (broken,))
            assert await states(store) == {"sending": 1}
            await store.settle(lease, done, settlement, None, (report,))
            assert await states(store) == {"failed": 1, "queued": 1}

    run(story)


def test_mail_is_claimed_in_the_commit_that_puts_it(tmp_path, monkeypatch):
    commits = []
    commit = Writer._commit
    monkeypatch.setattr(
        Writer, "_commit", lambda *given: commits.append(len(given[1].jobs)) or commit(*given)
    )

    async def story():
        async with opened(tmp_path) as store, asyncio.TaskGroup() as group:
            heard = asyncio.Event()
            store.tell(lambda _: heard.set())

            async def lane() -> Claim:
                await heard.wait()
                return await store.claim("direct", ROOM, NOON)

            claimed = group.create_task(lane())
            await store.probe()
            commits.clear()
            await store.put(entry(plan=DIRECT))
            assert len((await claimed).leases) == 1
            assert commits == [2]

    run(story)


def test_when_that_commit_fails_nothing_is_claimed(tmp_path, monkeypatch):
    def broken() -> None:
        raise OSError(5, "the disk is broken")

    async def story():
        async with opened(tmp_path) as store, asyncio.TaskGroup() as group:
            heard = asyncio.Event()
            store.tell(lambda _: heard.set())

            async def lane() -> None:
                await heard.wait()
                with pytest.raises(StoreError):
                    await store.claim("direct", ROOM, NOON)

            group.create_task(lane())
            await asyncio.sleep(0)
            path = tmp_path / "content"
            path.write_bytes(CONTENT)
            message = entry(plan=DIRECT)
            content = Spooled(str(path), len(CONTENT))
            with monkeypatch.context() as disk:
                disk.setattr(store._writer, "_sync_names", broken)
                with pytest.raises(StoreError):
                    await store.put(
                        replace(message, message=replace(message.message, content=content))
                    )
            assert await states(store) == {}
            await store.put(entry(plan=DIRECT))
            assert len((await store.claim("direct", ROOM, NOON)).leases) == 1

    run(story)


def test_who_hears_of_mail_and_fails_does_not_stop_the_queue(tmp_path):
    def deaf(channel: str) -> None:
        raise KeyError(channel)

    async def story():
        heard = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
        async with opened(tmp_path) as store, asyncio.timeout(10):
            store.tell(deaf)
            await store.put(entry(plan=DIRECT))
            await store.put(entry(plan=DIRECT))
            assert await states(store) == {"queued": 2}
        assert [type(context["exception"]) for context in heard] == [KeyError, KeyError]

    run(story)


def test_when_another_program_holds_the_file_all_wait_once(tmp_path, monkeypatch):
    waits = []
    begin = writers._begin_patiently
    monkeypatch.setattr(writers, "_BUSY_MS", 50)
    monkeypatch.setattr(writers, "_begin_patiently", lambda db: waits.append(db) or begin(db))

    async def story():
        async with opened(tmp_path) as store:
            await store.probe()
            waits.clear()
            other = sqlite3.connect(tmp_path / "queue.sqlite", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            puts = (store.put(entry(plan=DIRECT)) for _ in range(3))
            answers = await asyncio.gather(*puts, return_exceptions=True)
            assert [type(answer) for answer in answers] == [StoreError] * 3
            assert len(waits) == 1
            other.execute("ROLLBACK")
            other.close()
            await store.put(entry(plan=DIRECT))
            assert await states(store) == {"queued": 1}

    run(story)


def test_the_loop_never_waits_for_another_program(tmp_path, monkeypatch):
    """Not even after something failed in the thread, which may wait."""

    def full() -> None:
        raise StoreError("the disk is full")

    async def story():
        async with opened(tmp_path) as store:
            with monkeypatch.context() as disk:
                disk.setattr(store, "_check_free", full)
                with pytest.raises(StoreError):
                    await store.put(entry(plan=DIRECT))
            (milliseconds,) = store._writer._db.execute("PRAGMA busy_timeout").fetchone()
            assert milliseconds == 0

    run(story)


def test_what_one_caller_does_wrong_does_not_spoil_the_commit_of_others(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            good, bad = entry("a@x.example"), replace(entry("b@x.example"), channels=())
            results = await asyncio.gather(store.put(good), store.put(bad), return_exceptions=True)
            assert results[0] is None
            assert isinstance(results[1], ValueError)
            assert await states(store) == {"queued": 1}

    run(story)


def test_large_content_is_a_file_that_goes_when_the_message_is_done(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            spool = Spool(tmp_path / "spool")
            message = entry(plan=DIRECT)
            writer = spool.open()
            writer.write(CONTENT * 1000)
            content = writer.finish()
            large = replace(message, message=replace(message.message, content=content))
            await store.put(large)
            (lease,) = (await store.claim("direct", ROOM, NOON)).leases
            assert lease.content == Spooled(content.path, len(CONTENT) * 1000)
            await finish(store, lease, sent())
            assert Path(content.path).exists()
            await store.purge(KEEP, NOON + MINUTE)
            assert not Path(content.path).exists()
            assert not (await store.message(lease.queue_id)).has_content

    run(story)


def test_where_content_is_not_kept_its_file_is_used_again_once_all_have_it(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            store.keep_content(timedelta())
            content = await put_large(store, entry("a@x.example", "b@x.example", plan=DIRECT))
            one = replace(ROOM, leases=1, recipients=1)
            for recipient in range(2):
                (lease,) = (await store.claim("direct", one, NOON)).leases
                assert (await store.message(lease.queue_id)).has_content
                await finish(store, lease, sent())
                assert store._spool.is_short
                assert (large(store).path == content.path) == (recipient == 1)
            assert not (await store.message(lease.queue_id)).has_content

    run(story)


def test_content_of_what_failed_is_kept_for_a_person(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            store.keep_content(timedelta())
            content = await put_large(store, entry(plan=DIRECT))
            (lease,) = (await store.claim("direct", ROOM, NOON)).leases
            await finish(store, lease, refused(550), judgement=RECIPIENT_FAULT)
            assert (await store.message(lease.queue_id)).has_content
            assert Path(content.path).read_bytes() == CONTENT * 1000

    run(story)


def large(store: SqliteStore) -> Spooled:
    writer = store._spool.open()
    writer.write(CONTENT * 1000)
    return writer.finish()


async def put_large(store: SqliteStore, message: Entry) -> Spooled:
    """Put `message` with content in a file, and return that."""
    content = large(store)
    await store.put(replace(message, message=replace(message.message, content=content)))
    return content


def test_a_file_that_somebody_still_reads_is_not_used_again(tmp_path):
    """The machine slept; what was being sent was taken back, and is sent a second time."""

    async def story():
        async with opened(tmp_path) as store:
            store.keep_content(timedelta())
            await put_large(store, entry(plan=DIRECT))
            (slow,) = (await store.claim("direct", ROOM, NOON)).leases
            assert await store.take_back(frozenset(), NOON + DAY) == 1
            (second,) = (await store.claim("direct", ROOM, NOON + DAY)).leases
            await finish(store, slow, sent(), at=NOON + DAY)
            assert await states(store) == {"sending": 1}  # it is the second one's to settle
            assert large(store).path != second.content.path
            assert Path(second.content.path).read_bytes() == CONTENT * 1000
            await finish(store, second, sent(), at=NOON + DAY)
            assert await states(store) == {"sent": 1}

    run(story)


def test_mail_in_files_is_found_when_the_folder_has_another_name(tmp_path):
    async def before():
        async with opened(tmp_path / "old") as store:
            await put_large(store, entry(plan=DIRECT))

    async def after():
        async with opened(tmp_path / "new") as store:
            (lease,) = (await store.claim("direct", ROOM, NOON)).leases
            assert Path(lease.content.path).read_bytes() == CONTENT * 1000

    run(before)
    (tmp_path / "old").rename(tmp_path / "new")
    run(after)


def test_half_files_of_a_run_that_died_are_removed_at_the_next_start(tmp_path):
    spool = Spool(tmp_path / "spool")
    orphan = Path(spool.open().finish().path)

    async def story():
        async with opened(tmp_path):
            assert not orphan.exists()

    run(story)


def test_finished_rows_are_forgotten_and_stay_counted(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry("a@x.example", "b@x.example", plan=DIRECT))
            (lease,) = (await store.claim("direct", ROOM, NOON)).leases
            await finish(store, lease, sent(), refused(550), judgement=RECIPIENT_FAULT)
            assert (await store.purge(KEEP, NOON + 29 * DAY)).messages == 0
            assert (await store.purge(KEEP, NOON + 31 * DAY)).messages == 1
            assert await store.message(lease.queue_id) is None
            assert await states(store) == {"sent": 1, "failed": 1}

    run(story)


def test_old_charges_are_merged_without_ever_making_room_early(tmp_path):
    limits = (Limit(Unit.MESSAGES, 5000, DAY),)

    async def story():
        async with opened(tmp_path, direct=limits) as store:
            for number in range(40):
                await store.put(entry(plan=DIRECT, at=NOON))
                await store.claim("direct", ROOM, NOON + number * timedelta(milliseconds=50))
            await store.purge(KEEP, NOON + HOUR)
            with sqlite3.connect(tmp_path / "queue.sqlite") as db:
                rows = db.execute("SELECT at, messages FROM charge ORDER BY at").fetchall()
            assert sum(messages for _, messages in rows) == 40
            assert len(rows) <= 3
        async with opened(tmp_path, direct=limits) as store:
            (usage,) = (await store.usage(NOON + DAY + timedelta(milliseconds=1500)))["direct"]
            assert usage.used >= 10

    run(story)


# -- what a person does ---------------------------------------------------------------------------


def test_a_person_holds_releases_retries_and_drops(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry("a@x.example", plan=DIRECT))
            await store.put(entry("b@x.example", plan=DIRECT, kind=Kind.MARKETING))
            everything = Selection()
            assert await store.hold(everything, "by hand") == 2
            assert await states(store) == {"held": 2}
            assert (await store.claim("direct", ROOM, NOON)).leases == ()
            assert await store.release(Selection(kind=Kind.INVOICE), NOON) == 1
            assert await store.drop(Selection(forward_path="b@x.example"), NOON) == 1
            assert await states(store) == {"queued": 1, "dropped": 1}
            (lease,) = (await store.claim("direct", ROOM, NOON)).leases
            await finish(store, lease, refused(550), judgement=RECIPIENT_FAULT)
            assert await store.retry(Selection(queue_ids=(lease.queue_id,)), NOON) == 1
            assert await states(store) == {"queued": 1, "dropped": 1}
            assert len((await store.claim("direct", ROOM, NOON)).leases) == 1

    run(story)


def test_what_is_being_sent_cannot_be_dropped(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry(plan=DIRECT))
            await store.claim("direct", ROOM, NOON)
            assert await store.drop(Selection(), NOON) == 0
            assert await states(store) == {"sending": 1}

    run(story)


def test_a_bad_queue_id_is_said_to_be_one(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            with pytest.raises(ValueError, match="13 characters"):
                await store.message("nonsense")

    run(story)


def test_what_waits_moves_to_another_channel_and_plans_change_with_the_rules(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry("a@x.example"))
            (item,) = await store.waiting("native", only_alternatives=True, limit=10)
            assert await store.move({item.id: "direct"}) == 1
            assert await store.waiting("native", only_alternatives=True, limit=10) == []
            (moved,) = await store.waiting("direct", only_alternatives=True, limit=10)
            assert moved.plan.channels == ("native", "direct")
            other = Plan(channels=("esp",), rule="rule 1")
            assert await store.plan_again("new", lambda item, head: other, NOON) == 1
            assert await store.plan_again("new", lambda item, head: None, NOON) == 0
            (lease,) = (await store.claim("esp", ROOM, NOON)).leases
            assert lease.targets[0].plan.rule == "rule 1"

    run(story)


def test_a_person_says_what_a_message_is(tmp_path):
    def by_kind(item, head):
        assert item.unsure is False
        return DIRECT if item.kind is Kind.DIRECT else Plan(channels=("native", "direct"))

    async def story():
        async with opened(tmp_path) as store:
            first, second = entry("a@x.example", "b@x.example"), entry("c@x.example")
            for each in (first, second):
                await store.put(each)
            await store.hold(Selection(forward_path="b@x.example"), "a look first")
            ids = [first.message.queue_id, "0000000000000"]

            done = await store.correct(ids, Kind.DIRECT, by_kind, NOON)
            assert done == Corrected(messages=1, recipients=2)
            row = await store.message(ids[0])
            assert (row.kind, row.corrected) == (
                Kind.DIRECT,
                Correction(at=NOON, kind=Kind.INVOICE),
            )
            assert (row.certainty, row.reasons[0].where) == (0.99, "Subject")
            assert [(each.state, each.channel) for each in row.recipients] == [
                (State.QUEUED, "direct"),
                (State.HELD, "direct"),
            ]
            newest, oldest = await store.past(10)
            assert (newest.is_corrected, oldest.is_corrected) == (False, True)
            assert (oldest.kind, oldest.found) == (Kind.DIRECT, Kind.INVOICE)
            (lease,) = (await store.claim("direct", ROOM, NOON)).leases
            assert (lease.kind, lease.is_essential) == (Kind.DIRECT, False)
            await finish(store, lease, sent())

            back = await store.correct(ids, Kind.INVOICE, by_kind, NOON)
            assert back == Corrected(messages=1, recipients=1)
            assert (await store.message(ids[0])).corrected is None
            await store.correct([second.message.queue_id], Kind.SMS, by_kind, NOON)
            await store.drop(Selection(), NOON)
            everything = Retention(rows=timedelta(), content=timedelta(), charges=HOUR)
            await store.purge(everything, NOON + HOUR)
            assert await store.past(10) == []

    run(story)


def test_what_documents_say_is_kept(tmp_path):
    facts = (
        EInvoice(syntax="UBL", document="invoice", number="7", total="119.00", currency="EUR"),
        EInvoice(syntax="CII", document="credit note", due="2026-12-05"),
    )

    async def story():
        async with opened(tmp_path) as store:
            plain, telling = entry(), replace(entry(), facts=facts)
            for each in (plain, telling):
                await store.put(each)
            assert (await store.message(plain.message.queue_id)).facts == ()
            assert (await store.message(telling.message.queue_id)).facts == facts

    run(story)


def test_a_sender_is_told_of_a_delay_once_however_often_a_person_retries(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry())
            (lease,) = (await store.claim("native", ROOM, NOON)).leases
            await finish(store, lease, refused(450), judgement=GREYLISTED)
            (late,) = await store.overdue(NOON + HOUR, 10)
            await store.notice([late.id], ())
            assert await store.retry(Selection(state=State.DEFERRED), NOON) == 1
            assert await store.overdue(NOON + HOUR, 10) == []

    run(story)


def test_the_health_of_channels_survives_a_restart(tmp_path):
    paused = Paused(
        entry="auth", category="auth", cause="c", fix="f", reply="535 no", since=NOON,
        until=NOON + HOUR, failures=2,
    )  # fmt: skip
    run_of_two = Run(likeness="550 - no", domains=("a.example", "b.example"), failed=("1", "2"))
    healths = {
        "direct": paused,
        "native": Open(),
        "open": Open(run=run_of_two),
        "paused": replace(paused, run=run_of_two),
    }

    async def story():
        async with opened(tmp_path) as store:
            for channel, health in healths.items():
                await store.set_health(channel, health)
        store = SqliteStore(tmp_path, Spool(tmp_path / "spool"))
        found = await store.open(NOON, NOON)
        await store.close()
        assert found.health == healths

    run(story)


# -- when the world fails -------------------------------------------------------------------------


def test_a_second_relay_in_the_same_folder_is_told_so(tmp_path):
    async def story():
        async with opened(tmp_path):
            with pytest.raises(StoreError, match="another relay is running"):
                await SqliteStore(tmp_path, Spool(tmp_path / "spool")).open(NOON, NOON)

    run(story)


def test_a_damaged_file_is_not_used(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            for _ in range(50):
                await store.put(entry(content=CONTENT * 50))

    run(story)
    path = tmp_path / "queue.sqlite"
    raw = bytearray(path.read_bytes())
    raw[4096 : len(raw) // 2] = os.urandom(len(raw) // 2 - 4096)
    path.write_bytes(raw)

    async def again():
        with pytest.raises(QueueDamagedError, match=r"damaged|queue\.sqlite"):
            await SqliteStore(tmp_path, Spool(tmp_path / "spool")).open(NOON, NOON)

    run(again)


def test_a_full_disk_is_said_and_gets_well_by_itself(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)], capture_output=True
    )
    if mount.returncode:
        pytest.skip("this machine does not allow mounting")

    async def story():
        async with opened(disk) as store:
            await store.put(entry("first@x.example"))
            (disk / "ballast").write_bytes(b"x" * 5_000_000)
            with pytest.raises(StoreError, match="full"):
                await store.put(entry("second@x.example"))
            (lease,) = (await store.claim("native", ROOM, NOON)).leases
            await finish(store, lease, sent())
            (disk / "ballast").unlink()
            await store.put(entry("third@x.example"))
            assert await states(store) == {"sent": 1, "queued": 1}

    try:
        run(story)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


_PUT_LOOP = """
    import asyncio, sys
    from pathlib import Path
    from making import MINUTE, NOON, entry
    from relay.queue.spool import Spool
    from relay.queue.sqlite import SqliteStore
    from relay.queue.store import StoreError

    async def main(folder):
        store = SqliteStore(folder, Spool(folder / "spool"))
        await store.open(NOON, NOON + MINUTE)
        for _ in range(int(sys.argv[2])):
            one = entry()
            try:
                await store.put(one)
            except StoreError:
                print("refused", flush=True)
            else:
                print(one.message.queue_id, flush=True)
        print("end", flush=True)
        await store.close()

    asyncio.run(main(Path(sys.argv[1])))
"""


def put_loop(folder: Path, count: int, *, wrapper: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start a process that puts messages and prints the id of each that was acknowledged."""
    return subprocess.Popen(
        [*wrapper, sys.executable, "-c", textwrap.dedent(_PUT_LOOP), str(folder), str(count)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_whatever_was_acknowledged_before_a_kill_is_there_after_it(tmp_path):
    acknowledged = set()
    for _ in range(3):
        process = put_loop(tmp_path, 1_000_000)
        for _ in range(40):
            acknowledged.add(process.stdout.readline().strip())
        process.kill()
        acknowledged |= {line for line in process.stdout.read().split("\n") if len(line) == 13}
        process.wait()
        process.stdout.close()
        process.stderr.close()

    async def story():
        async with opened(tmp_path) as store:
            rows = await store.recipients(Selection(), 1_000_000)
            assert acknowledged <= {row.queue_id for row in rows}
            await states(store)

    run(story)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_failed_fsync_is_never_acknowledged_and_leaves_no_copy(tmp_path):
    """The writer's sync fails for a while: what was refused is not in the queue, the rest is."""
    process = put_loop(
        tmp_path,
        30,
        wrapper=("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync",
                 "-e", "inject=fdatasync,fsync:error=EIO:when=16..20"),
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    lines = out.split()
    assert "end" in lines, err
    acknowledged = {line for line in lines if len(line) == 13}
    assert "refused" in lines
    assert acknowledged

    async def story():
        async with opened(tmp_path) as store:
            rows = await store.recipients(Selection(), 1000)
            assert {row.queue_id for row in rows} == acknowledged
            assert await states(store) == {"queued": len(acknowledged)}

    run(story)


def test_leases_of_tasks_that_are_gone_are_taken_back(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry(plan=DIRECT))
            await store.put(entry(plan=DIRECT))
            room = Room(leases=2, recipients=10, lease_for=HOUR)
            first, second = (await store.claim("direct", room, NOON)).leases
            assert await store.take_back(frozenset(), NOON + MINUTE) == 0
            working = frozenset({second.message_id})
            assert await store.take_back(working, NOON + 2 * HOUR) == 1
            (again,) = (await store.claim("direct", room, NOON + 2 * HOUR)).leases
            assert again.message_id == first.message_id

    run(story)


def test_what_was_never_tried_is_due_at_once_when_the_clock_was_stepped_back(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry(plan=DIRECT, at=NOON + DAY))
            await store.clamp(NOON, NOON + HOUR)
            assert len((await store.claim("direct", ROOM, NOON)).leases) == 1

    run(story)


@pytest.mark.parametrize("step", [-3 * DAY, 3 * DAY], ids=["back", "forward"])
def test_what_waits_moves_with_a_clock_that_is_set(tmp_path, step):
    """It is due as long after the attempt as without, and what came in is due at once."""
    passed = timedelta()

    async def story():
        nonlocal passed
        store = SqliteStore(tmp_path, Spool(tmp_path / "spool"), lambda: passed)
        await store.open(NOON, NOON + MINUTE)
        await store.put(entry(plan=DIRECT))
        (lease,) = (await store.claim("direct", ROOM, NOON)).leases
        await finish(store, lease, refused(450), judgement=GREYLISTED)
        await store.put(entry(plan=DIRECT))
        passed += SECOND
        assert len((await store.claim("direct", ROOM, NOON + step + SECOND)).leases) == 1
        passed += MINUTE
        claim = await store.claim("direct", ROOM, NOON + step + SECOND + MINUTE)
        assert len(claim.leases) == 1
        await store.close()

    run(story)


def test_a_clock_that_was_stepped_back_leaves_nothing_waiting_for_tomorrow(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry(plan=DIRECT, at=NOON + DAY))
            assert (await store.claim("direct", ROOM, NOON)).next_at == NOON + DAY
            assert await store.clamp(NOON, NOON + HOUR) == 1
            assert len((await store.claim("direct", ROOM, NOON + HOUR)).leases) == 1

    run(story)


def test_a_limit_used_up_before_the_clock_was_stepped_back_counts_from_now(tmp_path):
    """Neither forgotten nor in force until tomorrow, in this run and the next."""
    limit = Limit(Unit.MESSAGES, 1, HOUR)

    async def story():
        async with opened(tmp_path, direct=(limit,)) as store:
            await store.put(entry(plan=DIRECT))
            await store.put(entry(plan=DIRECT))
            (lease,) = (await store.claim("direct", ROOM, NOON + DAY)).leases
            await finish(store, lease, sent(), at=NOON + DAY)
            await store.clamp(NOON, NOON + HOUR)
            throttled = await store.claim("direct", ROOM, NOON + MINUTE)
            assert (throttled.leases, throttled.next_at) == ((), NOON + HOUR)
        async with opened(tmp_path, direct=(limit,)) as store:
            assert (await store.claim("direct", ROOM, NOON + 2 * MINUTE)).next_at == NOON + HOUR
            assert len((await store.claim("direct", ROOM, NOON + HOUR)).leases) == 1

    run(story)


def test_a_queue_says_how_late_it_was_when_it_was_last_written(tmp_path):
    async def story():
        store = SqliteStore(tmp_path, Spool(tmp_path / "spool"))
        assert (await store.open(NOON, NOON)).latest_at < NOON
        await store.put(entry(at=NOON + DAY))
        await store.close()
        store = SqliteStore(tmp_path, Spool(tmp_path / "spool"))
        assert (await store.open(NOON, NOON)).latest_at == NOON + DAY
        await store.close()

    run(story)


def test_depth_says_how_much_there_is_and_how_old(tmp_path):
    async def story():
        async with opened(tmp_path) as store:
            await store.put(entry("a@x.example", at=NOON))
            await store.put(entry("b@x.example", at=NOON + MINUTE))
            await store.put(entry(kind=Kind.MARKETING, plan=DIRECT))
            rows = {(d.state, d.channel, d.kind): d for d in await store.depth()}
            invoices = rows[State.QUEUED, "native", Kind.INVOICE]
            assert (invoices.recipients, invoices.oldest_at) == (2, NOON)

    run(story)

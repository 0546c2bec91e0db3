"""A clock that is set while the relay is down, and while it runs; limits neither open nor lock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from making import DAY, HOUR, MINUTE, NOON, ROOM, SECOND, entry

from relay.app.clock import boot, steady
from relay.policy.limits import Limit, Unit, Window
from relay.queue.rows import Claim
from relay.queue.spool import Spool
from relay.queue.sqlite import SqliteStore
from tests.queue.test_sqlite_store import DIRECT, finish, sent

ONE = replace(ROOM, leases=1)
HOURLY = Limit(Unit.MESSAGES, 2, HOUR)
FROM_FIRST = Limit(Unit.MESSAGES, 2, HOUR, window=Window.RESET_ON_FIRST_SEND_AFTER)


class Machine:
    """Two clocks of a machine, and the relay's queue on it."""

    def __init__(self, folder: Path, limit: Limit) -> None:
        self.folder = folder
        self.limit = limit
        self.boot = "one"
        self.up = timedelta()
        self.wrong = timedelta()  # what the wall clock is ahead of the truth
        self.booted_at = NOON
        self.store: SqliteStore

    @property
    def now(self) -> datetime:
        return self.booted_at + self.up + self.wrong

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        spool = Spool(self.folder / "spool")
        self.store = SqliteStore(self.folder, spool, lambda: self.up, self.boot)
        await self.store.open(self.now, self.now)
        self.store.set_limits({"direct": (self.limit,)})
        try:
            yield
        finally:
            await self.store.close()

    def reboot(self, after: timedelta) -> None:
        self.booted_at += self.up + after
        self.boot, self.up = f"{self.boot}+", timedelta()

    async def claim(self) -> Claim:
        return await self.store.claim("direct", ONE, self.now)

    async def send(self) -> None:
        await self.store.put(entry(plan=DIRECT, at=NOON - 90 * DAY))
        (lease,) = (await self.claim()).leases
        await finish(self.store, lease, sent(), at=self.now)
        self.up += SECOND  # that it took

    async def opens_in(self) -> timedelta:
        """Return after how long the next one goes."""
        await self.store.put(entry(plan=DIRECT, at=NOON - 90 * DAY))
        claim = await self.claim()
        assert claim.leases == ()
        assert claim.next_at is not None
        return claim.next_at - self.now


def run(story: Callable[[], object]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [DAY, HOUR, 2 * SECOND, -2 * SECOND, -DAY], ids=str)
def test_a_clock_set_while_the_relay_is_down_is_known_in_the_same_boot(tmp_path, step):
    async def story():
        machine = Machine(tmp_path, HOURLY)
        async with machine.running():
            await machine.send()
            machine.up = 10 * MINUTE
            await machine.send()
        machine.wrong = step
        machine.up = 20 * MINUTE
        async with machine.running():
            assert abs(await machine.opens_in() - 40 * MINUTE) <= 4 * SECOND
            machine.up += 41 * MINUTE
            assert len((await machine.claim()).leases) == 1

    run(story)


def test_small_steps_add_up_and_are_not_lost(tmp_path):
    """Each is too small to be told from the trembling of two clocks that are read in turn."""

    async def story():
        machine = Machine(tmp_path, HOURLY)
        async with machine.running():
            await machine.send()
            await machine.send()
            for _ in range(20):
                machine.wrong += 0.9 * SECOND
                machine.up += SECOND
                assert abs(await machine.opens_in() - (HOUR - machine.up)) <= 4 * SECOND

    run(story)


def test_a_clock_that_went_wrong_at_a_boot_is_mended_when_it_is_right_again(tmp_path):
    """What was sent before the boot was dated rightly; only what was sent since moves back."""

    async def story():
        machine = Machine(tmp_path, replace(HOURLY, per=DAY))
        async with machine.running():
            await machine.send()
        machine.reboot(after=MINUTE)
        machine.wrong = 10 * DAY  # nobody can know: the limit is open
        async with machine.running():
            await machine.send()
        machine.up, machine.wrong = MINUTE, timedelta()
        async with machine.running():
            assert abs(await machine.opens_in() - (DAY - 2 * MINUTE)) <= 3 * MINUTE

    run(story)


@pytest.mark.parametrize("step", [timedelta(), -DAY])
def test_after_another_boot_a_clock_that_was_behind_locks_for_one_window_at_most(tmp_path, step):
    async def story():
        machine = Machine(tmp_path, HOURLY)
        async with machine.running():
            await machine.send()
            await machine.send()
        machine.reboot(after=10 * MINUTE)
        machine.wrong = step
        async with machine.running():
            expected = HOUR if step else 50 * MINUTE
            assert abs(await machine.opens_in() - expected) <= 4 * SECOND

    run(story)


@pytest.mark.parametrize("step", [timedelta(), DAY, -DAY])
def test_a_window_that_began_with_a_send_ends_as_it_would_have_without_a_restart(tmp_path, step):
    async def story():
        machine = Machine(tmp_path, FROM_FIRST)
        async with machine.running():
            await machine.send()
            machine.up = 50 * MINUTE
            await machine.send()
        machine.wrong = step
        async with machine.running():
            assert abs(await machine.opens_in() - 10 * MINUTE) <= 10 * SECOND
            machine.up = HOUR + 10 * SECOND
            await machine.send()  # with a rolling window the second one of these would wait
            await machine.send()
        async with machine.running():
            assert HOUR < await machine.opens_in() <= HOUR + 10 * SECOND

    run(story)


def test_a_window_whose_beginning_was_before_another_boot_is_kept_as_a_rolling_one(tmp_path):
    async def story():
        machine = Machine(tmp_path, FROM_FIRST)
        async with machine.running():
            await machine.send()
            machine.up = 50 * MINUTE
            await machine.send()
        machine.reboot(after=MINUTE)
        async with machine.running():
            machine.up = 10 * MINUTE  # an hour after the first: one has left, the other has not
            await machine.send()
            assert abs(await machine.opens_in() - 49 * MINUTE) <= 10 * SECOND

    run(story)


def test_a_machine_says_what_its_steady_clock_counts_from():
    assert boot({}) == boot({}) != ""
    told = boot({"RELAY_BOOT_ID": "b00t"})
    assert told.startswith("b00t ")
    assert told.split()[1] == boot({}).split()[1]  # the time namespace
    assert steady() <= steady()

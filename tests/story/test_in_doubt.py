"""Mail that may have arrived: never by another channel by itself; again where that is wanted."""

from __future__ import annotations

import asyncio

from box import INVOICE, NEWSLETTER, box
from making import DAY, HOUR, MINUTE, NOON
from upstream import Drop, Upstream

from relay.observe import events
from relay.policy.accounting import State
from relay.policy.health import Paused
from relay.policy.kinds import Kind
from relay.queue.store import Selection


def two(direct: Upstream, native: Upstream, more: str = "") -> str:
    smtp = "{{smtp: {{host: 127.0.0.1, port: {}, security: none}}}}"
    return f"""\
        channels:
          direct: {smtp.format(direct.port)}
          native: {smtp.format(native.port)}
        {more}
        """


HOLD = "retry: {in_doubt: {invoice: hold}}"


async def in_doubt(house) -> None:
    """Hand in an invoice that native takes to the final dot, and then hangs up."""
    await house.hand_in(INVOICE)
    await house.until(lambda states: states == {"in_doubt": 1})


async def pause_native(house, native: Upstream) -> None:
    """Let another invoice find native out of order; it goes by direct."""
    native.script["greeting"] = "421 4.3.2 out of order"
    await house.graph.channels["native"].close()
    await house.hand_in(INVOICE)
    await house.until(lambda states: states.get("sent") == 1)
    assert isinstance(house.base.board.health("native"), Paused)


def test_it_does_not_leave_a_channel_that_is_closed(tmp_path):
    """Neither when its lane lets others go, nor after its wait, nor when the owner hurries it."""

    async def story():
        async with Upstream({"dot": [Drop()]}) as native, Upstream() as direct:
            async with box(tmp_path, two(direct, native)) as house:
                await in_doubt(house)
                await pause_native(house, native)
                pauses = len(house.told(events.ChannelPaused))
                await house.turn(30 * MINUTE)  # its own attempt finds native out of order, too
                await house.until(lambda _: len(house.told(events.ChannelPaused)) > pauses)
                await house.until(lambda states: states == {"in_doubt": 1, "sent": 1})
                assert await house.base.store.retry(Selection(kind=Kind.INVOICE), NOON) == 1
                await house.turn(MINUTE)
                (row,) = await house.rows(State.IN_DOUBT)
                assert row.channel == "native"
            del native.script["greeting"]
            async with box(tmp_path, two(direct, native), house.clock) as house:  # a restart
                await house.turn(HOUR)
                await house.until(lambda states: states == {"sent": 2})
            assert (len(direct.messages), len(native.messages)) == (1, 1)
            first, second = native.transactions
            assert first.content == second.content
            assert b"Message-ID: <118@example.com>" in first.content

    asyncio.run(story())


def test_what_a_crash_broke_off_is_in_doubt_as_well(tmp_path):
    async def story():
        async with Upstream() as native, Upstream() as direct:
            settings = two(direct, native)
            async with box(tmp_path, settings) as house:
                lane = house.graph.lanes["native"]
                lane.worker.channel.send = never
                await house.hand_in(INVOICE)
                await house.until(lambda states: states == {"sending": 1})
                lane.abandon()
            async with box(tmp_path, settings, house.clock) as house:
                assert await house.states() == {"in_doubt": 1}
                await pause_native(house, native)
                await house.turn(2 * MINUTE)
                await house.until(lambda _: len(house.told(events.ChannelPaused)) == 2)
                await house.until(lambda states: states == {"in_doubt": 1, "sent": 1})
                (row,) = await house.rows(State.IN_DOUBT)
                assert (row.channel, row.attempts) == ("native", 2)
            assert len(direct.messages) == 1

    asyncio.run(story())


async def never(_parcel):
    await asyncio.Event().wait()


def test_a_kind_that_nobody_is_to_get_twice_is_held_at_once(tmp_path):
    async def story():
        async with Upstream({"dot": [Drop(), Drop()]}) as native, Upstream() as direct:
            async with box(tmp_path, two(direct, native, HOLD)) as house:
                await house.hand_in(INVOICE)
                await house.until(lambda states: states == {"held": 1})
                (row,) = await house.rows()
                assert row.why.startswith("It may have arrived: no answer came to the end of it:")
                assert "`relay queue drop` if it is there, `relay queue release`" in row.why
                await house.hand_in(NEWSLETTER)  # of another kind
                await house.until(lambda states: states == {"held": 1, "sent": 1})
                await house.turn(DAY)
                assert await house.states() == {"held": 1, "sent": 1}
                await house.base.store.release(Selection(), house.clock())
                await house.turn(MINUTE)
                await house.until(lambda states: states == {"held": 1, "sent": 1})
                assert await house.base.store.drop(Selection(state=State.HELD), NOON) == 1
            assert len(native.transactions) == 2  # the second one by the owner's word

    asyncio.run(story())


def test_new_settings_and_a_correction_hold_what_is_in_doubt(tmp_path):
    async def story():
        async with Upstream({"dot": [Drop()] * 2}) as native, Upstream() as direct:
            async with box(tmp_path, two(direct, native)) as house:
                await in_doubt(house)
            async with box(tmp_path, two(direct, native, HOLD), house.clock) as house:
                assert await house.states() == {"held": 1}
            other = HOLD.replace("invoice", "quote")
            async with box(tmp_path, two(direct, native, other), house.clock) as house:
                await house.hand_in(INVOICE)
                await house.until(lambda states: states == {"held": 1, "in_doubt": 1})
                (row,) = await house.rows(State.IN_DOUBT)
                await house.base.store.correct(
                    [row.queue_id], Kind.QUOTE, house.graph.plan_again, house.clock()
                )
                await house.graph.sweep.hold_doubts()
                assert await house.states() == {"held": 2}

    asyncio.run(story())


def test_a_plan_without_its_channel_is_for_a_person(tmp_path):
    """Other mail takes the new way; what may have arrived by the old one waits to be looked at."""

    async def story():
        rule = "routing: {rules: [{when: {}, via: [direct]}]}"
        async with Upstream({"dot": [Drop()]}) as native, Upstream() as direct:
            async with box(tmp_path, two(direct, native)) as house:
                await in_doubt(house)
                (before,) = await house.rows()
            more = "routing: {rules: [{when: {}, via: [direct, native]}]}"
            async with box(tmp_path, two(direct, native, more), house.clock) as house:
                (row,) = await house.rows()
                assert (row.state, row.channel, row.due_at) == (
                    State.IN_DOUBT, "native", before.due_at
                )  # fmt: skip
                assert row.plan.channels == ("direct", "native")
            async with box(tmp_path, two(direct, native, rule), house.clock) as house:
                (row,) = await house.rows()
                assert row.state is State.HELD
                assert "sent by native, which its plan no longer has" in row.why
                await house.base.store.release(Selection(), house.clock())
                await house.turn(MINUTE)
                await house.until(lambda states: states == {"sent": 1})
            assert (len(direct.messages), len(native.messages)) == (1, 0)

    asyncio.run(story())

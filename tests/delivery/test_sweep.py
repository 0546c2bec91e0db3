"""What happens by itself: notices of delay, holding what grew too old, forgetting."""

from __future__ import annotations

import asyncio
from email import message_from_bytes

from box import INVOICE, NEWSLETTER, box
from making import DAY, HOUR, MINUTE
from upstream import Upstream

from relay.observe import events
from relay.policy.accounting import State
from relay.policy.health import Paused


def settings(direct: int, native: int) -> str:
    smtp = "{{smtp: {{host: 127.0.0.1, port: {}, security: none}}}}"
    return f"channels:\n  direct: {smtp.format(direct)}\n  native: {smtp.format(native)}\n"


async def closed_port() -> int:
    async with Upstream() as gone:
        return gone.port


def test_senders_hear_once_of_what_waits_for_long(tmp_path):
    async def story():
        async with Upstream() as native:
            async with box(tmp_path, settings(await closed_port(), native.port)) as house:
                await house.hand_in(NEWSLETTER, "reader@example.net", sender="news@example.com")
                await house.until(lambda states: states == {"deferred": 1})
                await house.graph.sweep.once()
                assert native.messages == []
                await house.turn(4 * HOUR + MINUTE)
                await house.graph.sweep.once()
                await house.graph.sweep.once()
                await native.wait_for(1)
                await house.until(lambda states: states == {"deferred": 1, "sent": 1})
            (notice,) = native.messages
            assert (notice.reverse_path, notice.forward_paths) == ("", ("news@example.com",))
            words, status, _ = message_from_bytes(notice.content).get_payload()
            assert "reader@example.net" in words.get_payload(decode=True).decode()
            assert "You need not do anything" in words.get_payload(decode=True).decode()
            assert status.get_payload()[1]["Action"] == "delayed"
            assert status.get_payload()[1]["Will-Retry-Until"]

    asyncio.run(story())


def test_what_grows_too_old_on_a_channel_that_does_not_work_is_held_and_not_failed(tmp_path):
    async def story():
        async with box(tmp_path, settings(await closed_port(), await closed_port())) as house:
            await house.hand_in(NEWSLETTER)
            await house.hand_in(INVOICE)
            await house.until(lambda states: states == {"deferred": 2})
            await house.turn(6 * DAY)
            await house.until(lambda _: len(house.told(events.ChannelPaused)) >= 4)
            await house.graph.sweep.once()
            await house.until(lambda states: states.get("held") == 2)
            for row in await house.rows(State.HELD):
                assert "did not work for 5 days" in row.why

    asyncio.run(story())


def test_a_clock_that_is_stepped_back_leaves_no_channel_paused_until_tomorrow(tmp_path):
    async def story():
        async with Upstream(script={"mail": ["421 4.3.2 down"]}) as native:
            async with box(tmp_path, settings(native.port, native.port)) as house:
                await house.turn(DAY)
                await house.hand_in(NEWSLETTER)
                await house.until(lambda _: isinstance(house.base.board.health("direct"), Paused))
                await house.turn(-DAY)
                await house.graph.sweep.after_step_back()
                await house.turn(HOUR)  # the longest wait of a recipient
                await house.until(lambda states: states == {"sent": 1})

    asyncio.run(story())


def test_finished_mail_is_forgotten_and_stays_counted(tmp_path):
    async def story():
        async with Upstream() as native:
            async with box(tmp_path, settings(native.port, native.port)) as house:
                for _ in range(3):
                    await house.hand_in(INVOICE)
                await house.until(lambda states: states == {"sent": 3})
                await house.graph.sweep.once()
                assert len(await house.rows()) == 3
                await house.turn(31 * DAY)
                await house.graph.sweep.once()
                assert await house.rows() == []
                assert await house.states() == {"sent": 3}

    asyncio.run(story())

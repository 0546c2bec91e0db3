"""One channel's queue at work: what it claims when, and leaves behind when it is told to stop."""

from __future__ import annotations

import asyncio

from box import INVOICE, box
from upstream import Upstream

from relay.delivery import lane


def test_a_claim_that_is_under_way_when_the_lane_drains_is_sent_and_settled(tmp_path, monkeypatch):
    """Else it would be found at the next start as mail that may have arrived."""

    async def story():
        async with Upstream() as native:
            smtp = f"{{host: 127.0.0.1, port: {native.port}, security: none}}"
            async with box(tmp_path, f"channels: {{native: {{smtp: {smtp}}}}}") as house:
                claims, go_on = asyncio.Event(), asyncio.Event()
                store = house.base.store
                claim = store.claim

                async def slow_claim(*args):
                    claims.set()
                    claimed = await claim(*args)
                    await go_on.wait()
                    return claimed

                monkeypatch.setattr(store, "claim", slow_claim)
                await house.hand_in(INVOICE)
                await claims.wait()
                draining = asyncio.create_task(house.graph.lanes["native"].drain())
                await asyncio.sleep(0)
                go_on.set()
                await draining
                assert await house.states() == {"sent": 1}

    asyncio.run(story())


def test_the_first_message_goes_at_once_and_those_right_after_it_together(tmp_path, monkeypatch):
    monkeypatch.setattr(lane, "_GATHER_SECONDS", 3600)
    monkeypatch.setattr(lane, "_PAUSE_SECONDS", 3600)
    sleep = asyncio.sleep

    async def story():
        are_in = asyncio.Event()

        async def sleep_until_they_are_in(seconds):
            await (are_in.wait() if seconds > 60 else sleep(seconds))

        monkeypatch.setattr(asyncio, "sleep", sleep_until_they_are_in)
        async with Upstream() as native:
            smtp = f"{{host: 127.0.0.1, port: {native.port}, security: none}}"
            async with box(tmp_path, f"channels: {{native: {{smtp: {smtp}}}}}") as house:
                claimed = []
                store = house.base.store
                claim = store.claim

                async def counted_claim(*args):
                    made = await claim(*args)
                    claimed.append(len(made.leases))
                    return made

                monkeypatch.setattr(store, "claim", counted_claim)
                for _ in range(5):
                    await house.hand_in(INVOICE)
                await house.until(lambda states: states == {"sent": 1, "queued": 4})
                are_in.set()
                await house.until(lambda states: states == {"sent": 5})
                assert [count for count in claimed if count] == [1, 4]

    asyncio.run(story())

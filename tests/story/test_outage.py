"""A server that goes away while a lot is being sent."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from box import NEWSLETTER, box
from daemon import free_port
from making import NOON

from relay.policy.health import Paused


def test_all_that_fails_together_is_one_failure_of_the_channel(tmp_path):
    """What was claimed just before the pause says no more than what caused it."""

    async def story():
        settings = f"""\
            channels:
              direct: {{smtp: {{host: 127.0.0.1, port: {free_port()}, security: none}}}}
            """
        async with box(tmp_path, settings) as house:
            await asyncio.gather(*(house.hand_in(NEWSLETTER) for _ in range(24)))
            await house.until(lambda _: isinstance(house.base.board.health("direct"), Paused))
            lane = house.graph.lanes["direct"]
            await lane.drain()
            health = house.base.board.health("direct")
            assert isinstance(health, Paused)
            assert (health.failures, health.until) == (1, NOON + timedelta(seconds=5))

    asyncio.run(story())

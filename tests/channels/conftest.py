"""What every story of a channel needs: a loop of each make, and a parcel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a story on the loop; whatever it forgets to close or await is an error."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:

        async def bounded(story: Coroutine[Any, Any, None]) -> None:
            async with asyncio.timeout(20):
                await story

        yield lambda story: runner.run(bounded(story))

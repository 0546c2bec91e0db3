"""A terminal without a person, and what commands talk to."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "web")]

from commanding import Terminal
from small_house import SmallHouse, control_of


@pytest.fixture
def relay(tmp_path: Path) -> Terminal:
    """Give a way to run commands; without settings they rehearse in a folder of the test."""
    homes = {f"XDG_{name.upper()}_HOME": str(tmp_path / name) for name in ("state", "data")}
    # the file of a user that has none
    homes["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    return Terminal(tmp_path, homes | {"RELAY_CONFIG": ""})


Live = Callable[[AbstractAsyncContextManager[Any]], Any]
Serve = Callable[[SmallHouse], SmallHouse]


@pytest.fixture
def live() -> Iterator[Live]:
    """Enter what a test needs, in a loop of its own as commands may run one; leave at its end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()

    def enter(world: AbstractAsyncContextManager[Any]) -> Any:
        entering = stack.enter_async_context(world)
        return asyncio.run_coroutine_threadsafe(entering, loop).result(10)

    yield enter
    asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def serve(relay: Terminal, live: Live) -> Serve:
    """Let a house answer on the control socket of the test's relay."""

    def start(house: SmallHouse) -> SmallHouse:
        folder = relay.folder / "state" / "relay"
        folder.mkdir(parents=True)
        live(control_of(house, folder))
        return house

    return start

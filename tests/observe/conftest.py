"""The log changes `logging` for the whole process; each test gets it back as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, relay = logging.getLogger(), logging.getLogger("relay")
    handlers, levels = root.handlers[:], (root.level, relay.level)
    relay.setLevel(logging.INFO)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    relay.setLevel(levels[1])

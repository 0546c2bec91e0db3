"""Listeners for the tests of this room, on both event loops."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from listening import House, listening


@pytest.fixture(params=["uvloop", "asyncio"])
def open_house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., House]]:
    """Open listeners with the options given, on one loop and the other."""
    yield from _opening(tmp_path, request.param)


@pytest.fixture
def open_quickly(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Do so on one loop only, for what no loop changes."""
    yield from _opening(tmp_path, "uvloop")


def _opening(tmp_path: Path, loop: str) -> Iterator[Callable[..., House]]:
    with ExitStack() as stack:

        def open_one(**options: Any) -> House:
            return stack.enter_context(listening(tmp_path / "spool", loop=loop, **options))

        yield open_one


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A self-signed certificate for localhost, as options of a listener."""
    folder = tmp_path_factory.mktemp("tls")
    files = {"certificate": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        [*f"{command} {subject}".split(), "-keyout", files["key"], "-out", files["certificate"]],
        check=True,
        capture_output=True,
    )
    return files

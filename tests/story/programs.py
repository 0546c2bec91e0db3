"""Programs of this machine that stories run; tests/apt-packages.txt says which package has them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_SECONDS = 30.0


def program(name: str) -> str:
    """Return the path of a program or file; else fail, or skip if $RELAY_SKIP_MISSING is set."""
    path = name if "/" in name else shutil.which(name, path=_PATH)
    if path is not None and Path(path).exists():
        return path
    why = f"{name} is not installed: `tools/programs` installs it"
    if os.environ.get("RELAY_SKIP_MISSING"):
        pytest.skip(why)
    pytest.fail(why)


def run(*command: str, stdin: bytes = b"", **environ: str) -> bytes:
    """Return what a program says; fail with its words when it fails."""
    done = subprocess.run(
        [program(command[0]), *command[1:]],
        input=stdin,
        capture_output=True,
        env={"PATH": _PATH, "HOME": "/nonexistent", **environ},
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout

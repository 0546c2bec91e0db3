"""What the Makefile stands on: the choice of a Python, and the list of packages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REAL = os.path.realpath(sys.executable)


def make_venv(folder: Path, *places: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run tools/venv with `places` as PATH, and the tools that it needs."""
    bare = folder / "bare"
    bare.mkdir()
    for tool in ("dirname", "id", "rm", "tr"):
        (bare / tool).symlink_to(Path("/usr/bin") / tool)
    return subprocess.run(
        ["/bin/sh", ROOT / "tools" / "venv", folder / "venv"],
        env={"PATH": os.pathsep.join(map(str, (*places, bare))), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def program_that(does: str, at: Path) -> None:
    """Write a program that does one line of shell."""
    at.parent.mkdir(exist_ok=True)
    at.write_text(f"#!/bin/sh\n{does}\n", "utf-8")
    at.chmod(0o755)


def test_a_python_that_does_not_run_is_passed_over(tmp_path: Path):
    program_that("echo not installed >&2; exit 127", tmp_path / "shims" / "python3.13")
    program_that("exit 1  # as one that is too old says", tmp_path / "old" / "python3.12")
    program_that(f'exec {REAL} "$@"', tmp_path / "good" / "python3")
    done = make_venv(tmp_path, tmp_path / "shims", tmp_path / "old", tmp_path / "good")
    assert done.returncode == 0, done.stderr
    assert f"({tmp_path}/good/python3)" in done.stdout
    python = tmp_path / "venv" / "bin" / "python"
    assert subprocess.run([python, "-m", "pip", "--version"], check=True, capture_output=True)


def test_one_behind_a_shim_of_the_same_name_is_found(tmp_path: Path):
    program_that("exit 127", tmp_path / "shims" / "python3.11")
    program_that(f'[ "$1" != -m ] || exit 0\nexec {REAL} "$@"', tmp_path / "good" / "python3.11")
    done = make_venv(tmp_path, tmp_path / "shims", tmp_path / "good")
    assert f"({tmp_path}/good/python3.11)" in done.stdout


def test_the_one_of_the_distribution_comes_before_one_that_somebody_compiled(tmp_path: Path):
    distributed = Path("/usr/bin/python3")
    complete = (
        "import ctypes, ensurepip, sqlite3, ssl, sys, venv; sys.exit(sys.version_info < (3, 11))"
    )
    if not distributed.exists() or subprocess.run([distributed, "-c", complete]).returncode != 0:
        pytest.skip("this machine has no Python of its distribution that can run relay")
    program_that(f'exec {REAL} "$@"', tmp_path / "compiled" / "python3.13")
    done = make_venv(tmp_path, tmp_path / "compiled", Path("/usr/bin"))
    assert "(/usr/bin/python3" in done.stdout


def test_without_any_and_without_apt_it_says_what_is_missing(tmp_path: Path):
    done = make_venv(tmp_path)
    assert done.returncode != 0
    assert "there is no Python 3.11 or later here" in done.stdout
    assert "python3 python3-venv" in done.stderr


def test_one_that_is_named_and_cannot_is_not_replaced_in_silence(tmp_path: Path):
    program_that("exit 1", tmp_path / "old" / "python")
    done = make_venv(tmp_path, Path(REAL).parent, PYTHON=str(tmp_path / "old" / "python"))
    assert done.returncode != 0
    assert "takes Python 3.11 or later" in done.stderr


PACKAGES = [
    line
    for line in (ROOT / "tests" / "apt-packages.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]


@pytest.mark.parametrize("line", PACKAGES)
def test_each_package_has_a_reason(line: str):
    package, brings, why = line.split(maxsplit=2)
    assert re.fullmatch(r"[a-z0-9.+-]+", package)
    assert brings
    assert why


def test_what_can_be_made_is_said_by_make():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    said = subprocess.run(
        ["make", "-C", ROOT, "--no-print-directory"], capture_output=True, text=True, check=True
    ).stdout
    for target in ("run", "test", "check", "bench", "bench-classify", "clean"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
        assert re.search(rf"^  {target} ", said, re.MULTILINE)

"""A few turns of the crash loops, to keep relay and loops in order; more by hand."""

from __future__ import annotations

import shutil

import pytest

from tests.bench.crash_loop import SCENARIOS


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["kill", "term", "faults"])
def test_three_turns_of_a_loop_leave_the_books_in_order(tmp_path, scenario):
    finding = SCENARIOS[scenario](tmp_path, 3, 7)
    assert finding.wrong == []
    assert finding.figures["recipients"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace (tools/programs)")
def test_a_disk_that_fails_now_and_then_is_survived_without_a_restart(tmp_path):
    assert SCENARIOS["bad-disk"](tmp_path, 3, 7).wrong == []

"""Workers that die, lie or are late: what becomes of the mail that they have."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from relay.inspect import pool as pools
from relay.inspect.frames import frame, inspection_frame, parse_inspection, request_frame
from relay.inspect.inspection import Guide, Inspection, Submission
from relay.inspect.pool import Pool, WorkerError
from relay.policy.kinds import Kind, Reason, Verdict

ASKED = request_frame(Submission(application="shop"), b"Subject: x\r\n\r\nhello\r\n", [])
SAID = {
    "verdict": {
        "kind": "invoice",
        "certainty": 0.9,
        "reasons": [{"where": "Subject", "what": "'invoice'"}],
        "unsure": False,
    },
    "subject": "Invoice",
    "header": {"subject": "Invoice"},
    "einvoices": [],
    "problems": [],
}
READER = """
import os
def read(size):
    data = b""
    while len(data) < size:
        data += os.read(0, size - len(data))
    return data
def hear():
    return read(int.from_bytes(read(4), "big"))
hear()
os.write(1, b"\\0\\0\\0\\2{}")
"""


def run(story: Callable[[Pool], Coroutine[Any, Any, None]], size: int = 1) -> None:
    async def told() -> None:
        pool = Pool(Guide(application_kinds={"shop": Kind.MARKETING}), size)
        try:
            async with asyncio.timeout(30):
                await story(pool)
        finally:
            await pool.close()

    asyncio.run(told())


def end_at_once(pid: int) -> None:
    """Kill a process without letting the loop turn meanwhile."""
    os.kill(pid, signal.SIGKILL)
    with suppress(OSError):  # reaped already
        while Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z":
            pass


def test_one_that_died_while_it_was_idle_costs_no_mail_its_reading():
    async def story(pool: Pool) -> None:
        await pool.look(ASKED)
        (worker,) = pool._workers
        end_at_once(worker.process.pid)
        for seen in await asyncio.gather(*(pool.look(ASKED) for _ in range(3))):
            assert seen.verdict.kind is Kind.MARKETING
            assert not seen.problems

    run(story, size=2)


def test_a_message_that_kills_two_is_given_up_and_no_other(monkeypatch):
    deadly = request_frame(Submission(), b"Subject: die\r\n\r\n", [])
    body = inspection_frame(parse(SAID)).hex()
    reader = f"""{READER}
while True:
    asked = hear()
    size = int(asked.rpartition(b'"size": ')[2].rstrip(b"}}"))
    if b"die" in read(size):
        os._exit(1)
    os.write(1, bytes.fromhex("{body}"))
"""
    monkeypatch.setattr(pools, "_COMMAND", (sys.executable, "-c", reader))

    async def story(pool: Pool) -> None:
        looks = (pool.look(deadly), *(pool.look(ASKED) for _ in range(3)))
        first, *others = await asyncio.gather(*looks, return_exceptions=True)
        assert isinstance(first, WorkerError)
        assert [other.verdict.kind for other in others] == [Kind.INVOICE] * 3

    run(story)


def test_one_that_says_what_nobody_asked_for_is_ended(monkeypatch):
    flood = f'{READER}\ntry:\n    while True: os.write(1, b"x" * 65536)\nexcept OSError: pass'
    monkeypatch.setattr(pools, "_COMMAND", (sys.executable, "-c", flood))

    async def story(pool: Pool) -> None:
        worker = await pool._another()
        await worker.process.wait()
        assert worker.is_lost
        assert len(worker._arrived) < 1_000_000

    run(story)


def test_one_is_kept_busy_before_another_is_started():
    async def story(pool: Pool) -> None:
        await asyncio.gather(*(pool.look(ASKED) for _ in range(3)))
        assert len(pool._workers) == 1
        await asyncio.gather(*(pool.look(ASKED) for _ in range(pools._AT_HAND + 1)))
        assert len(pool._workers) == 2

    run(story, size=2)


def test_one_that_does_not_keep_pace_gets_company(monkeypatch):
    monkeypatch.setattr(pools, "_PACE_SECONDS", 0.0)

    async def story(pool: Pool) -> None:
        await pool.look(ASKED)
        (slow,) = pool._workers
        os.kill(slow.process.pid, signal.SIGSTOP)
        late = asyncio.create_task(pool.look(ASKED))
        await asyncio.sleep(0)  # it is asked
        assert (await pool.look(ASKED)).verdict.kind is Kind.MARKETING
        assert not late.done()
        os.kill(slow.process.pid, signal.SIGCONT)
        assert (await late).verdict.kind is Kind.MARKETING

    run(story, size=2)


def test_all_who_wait_for_one_that_does_not_start_hear_of_it_together(monkeypatch):
    monkeypatch.setattr(pools, "_COMMAND", (sys.executable, "-c", "import time; time.sleep(60)"))
    monkeypatch.setattr(pools, "SECONDS_TO_START", 0.5)

    async def story(pool: Pool) -> None:
        looks = (pool.look(ASKED) for _ in range(12))
        for seen in await asyncio.gather(*looks, return_exceptions=True):
            assert isinstance(seen, WorkerError)
        assert len(pool._processes) == 1

    run(story, size=2)


def test_what_the_owner_says_while_one_starts_counts():
    async def story(pool: Pool) -> None:
        look = asyncio.create_task(pool.look(ASKED))
        await asyncio.sleep(0)  # it has begun
        assert pool._start
        pool.follow(Guide(application_kinds={"shop": Kind.INVOICE}))
        assert (await look).verdict.kind is Kind.INVOICE

    run(story)


def test_after_the_end_nobody_is_started():
    async def story(pool: Pool) -> None:
        await pool.close()
        with pytest.raises(WorkerError, match="stops"):
            await pool.look(ASKED)

    run(story)


def parse(said: object) -> Inspection:
    return parse_inspection(json.dumps(said).encode())


def test_what_is_right_comes_through():
    seen = parse(SAID)
    reasons = (Reason("Subject", "'invoice'"),)
    assert seen.verdict == Verdict(kind=Kind.INVOICE, certainty=0.9, reasons=reasons)
    assert seen.header == {"subject": "Invoice"}


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("certainty", float("nan")),
        ("certainty", 1.5),
        ("certainty", {}),
        ("kind", "bribe"),
        ("reasons", []),
        ("reasons", [{"where": 1, "what": "x"}]),
        ("subject", 7),
        ("header", ["subject"]),
        ("header", {"subject": 7}),
        ("einvoices", [{"syntax": "UBL", "document": "invoice", "evil": "x"}]),
        ("einvoices", "UBL"),
        ("problems", "none"),
    ],
)
def test_what_a_reader_says_is_not_believed(part, value):
    verdict = SAID["verdict"]
    said = SAID | ({"verdict": verdict | {part: value}} if part in verdict else {part: value})
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse(said)


def test_nesting_without_end_ends_the_reader(monkeypatch):
    deep = b"[" * 200_000
    reader = f"""{READER}
hear()
os.write(1, ({len(deep)}).to_bytes(4, "big") + b"[" * {len(deep)})
hear()
"""
    monkeypatch.setattr(pools, "_COMMAND", (sys.executable, "-c", reader))

    async def story(pool: Pool) -> None:
        with pytest.raises(WorkerError, match="RecursionError"):
            await pool.look(ASKED)

    run(story)


def test_controls_and_half_characters_do_not_come_through():
    seen = parse(SAID | {"subject": "a\x1b[2J\r\nb\ud800"})
    assert seen.subject == "a [2J b?"
    assert frame({"x": 1})[:4] == b"\0\0\0\x08"

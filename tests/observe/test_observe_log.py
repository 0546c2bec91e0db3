"""Where lines go, when they are written, and how `logging` is led into the same stream."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from every_event import ACCEPTED, ATTEMPTED, EVERY_EVENT, NOON

from relay.observe.events import Event, Result
from relay.observe.journal import Journal
from relay.observe.log import ForeignHandler, Form, Log, Writer, open_log


def lines_of(stream: io.BytesIO) -> list[str]:
    return stream.getvalue().decode().splitlines()


@pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: type(event).__name__)
def test_every_event_gives_one_line(event: Event) -> None:
    stream = io.BytesIO()
    Journal(Log(Writer(stream))).record(event)
    assert stream.getvalue().count(b"\n") == 1
    assert stream.getvalue().endswith(b"\n")


def test_lines_of_one_turn_of_the_loop_are_written_together() -> None:
    stream = io.BytesIO()

    async def run() -> None:
        log = Log(Writer(stream))
        log(ACCEPTED)
        log(ATTEMPTED)
        assert not stream.getvalue()
        await asyncio.sleep(0)
        assert len(lines_of(stream)) == 2
        log(ACCEPTED)
        await asyncio.sleep(0)
        assert len(lines_of(stream)) == 3

    asyncio.run(run())


def test_a_warning_is_written_at_once_after_what_came_before() -> None:
    stream = io.BytesIO()

    async def run() -> None:
        log = Log(Writer(stream))
        log(ACCEPTED)
        log(replace(ATTEMPTED, result=Result.FAILED))
        first, second = lines_of(stream)
        assert first.startswith("info accepted")
        assert second.startswith("warning attempted")

    asyncio.run(run())


def test_a_flood_within_one_turn_does_not_wait_for_its_end() -> None:
    stream = io.BytesIO()

    async def run() -> None:
        log = Log(Writer(stream))
        for _ in range(1000):
            log(ACCEPTED)
        assert len(lines_of(stream)) >= 768

    asyncio.run(run())
    assert len(lines_of(stream)) == 1000


def test_what_a_loop_left_behind_is_written_by_the_next_one() -> None:
    stream = io.BytesIO()
    log = Log(Writer(stream))
    loop = asyncio.new_event_loop()
    loop.call_soon(loop.stop)
    loop.call_soon(lambda: log(ACCEPTED))  # in the last turn of this loop
    loop.run_forever()
    loop.close()

    async def run() -> None:
        log(ATTEMPTED)
        await asyncio.sleep(0)

    asyncio.run(run())
    assert len(lines_of(stream)) == 2


def test_threads_lose_nothing() -> None:
    stream = io.BytesIO()
    log = Log(Writer(stream))

    def tell() -> None:
        for _ in range(200):
            log(ACCEPTED)

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines_of(stream)) == 800


def test_a_stream_that_fails_is_counted_and_never_raises() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        writer = Writer(full)
        log = Log(writer)
        log(ACCEPTED)
        log(ATTEMPTED)
    log(ACCEPTED)  # closed by now
    assert writer.lost == 3


def test_the_level_of_the_relay_logger_decides() -> None:
    stream = io.BytesIO()
    log = open_log(level="warning", clock=lambda: NOON, stream=stream)
    log(ACCEPTED)
    log(replace(ATTEMPTED, result=Result.FAILED))
    log.flush()
    assert [line.split()[1] for line in lines_of(stream)] == ["attempted"]


def test_the_time_is_the_first_field_outside_the_journal() -> None:
    stream = io.BytesIO()
    open_log(clock=lambda: NOON, stream=stream)(ACCEPTED)
    assert lines_of(stream)[0].startswith("info accepted at=2026-03-01T12:00:00.000Z id=")


def test_the_journal_gets_priorities_instead(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+b") as stream:
        stat = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"}
        log = open_log(clock=lambda: NOON, environ=environ, stream=stream)
        for event in EVERY_EVENT:
            log(event)
        log.flush()
        stream.seek(0)
        lines = stream.read().decode().splitlines()
    prefixes = {"info": "<6>", "warning": "<4>", "error": "<3>"}
    assert len(lines) == len(EVERY_EVENT)
    for line in lines:
        assert line.startswith(prefixes[line[3:].split()[0]])
        assert " at=" not in line


def test_a_journal_that_is_not_this_stream_is_left_alone(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+b") as stream:
        open_log(clock=lambda: NOON, environ={"JOURNAL_STREAM": "1:2"}, stream=stream)(ACCEPTED)
        stream.seek(0)
        assert stream.read().startswith(b"info accepted at=")


def test_json_lines() -> None:
    stream = io.BytesIO()
    open_log(clock=lambda: NOON, form=Form.JSON, stream=stream)(ACCEPTED)
    assert lines_of(stream)[0].startswith(
        '{"level":"info","event":"accepted","at":"2026-03-01T12:00:00.000Z","id":"01ABCDEFGHJKM",'
    )


def test_libraries_are_heard_from_warnings_on_and_cannot_forge_lines() -> None:
    stream = io.BytesIO()
    open_log(clock=lambda: NOON, stream=stream)
    open_log(
        clock=lambda: NOON, stream=stream
    )  # again, as after a restart in one process: one line
    logging.getLogger("mail.log").info("Peer: %r", ("127.0.0.1", 1))
    logging.getLogger("mail.log").warning("a\nerror forged %s", "x")
    logging.getLogger("relay.queue").info("hello")
    at = "at=2026-03-01T12:00:00.000Z"
    assert lines_of(stream) == [
        rf'warning note {at} logger=mail.log message="a\x0aerror forged x"',
        f"info note {at} logger=relay.queue message=hello",
    ]


def test_an_exception_that_a_library_logs_is_one_line() -> None:
    stream = io.BytesIO()
    open_log(clock=lambda: NOON, stream=stream)
    try:
        raise OSError("no\nspace")
    except OSError:
        logging.getLogger("lib").critical("failed", exc_info=True)
    (line,) = lines_of(stream)
    assert line.startswith("error note ")
    assert r"Traceback (most recent call last):\x0a" in line
    assert line.endswith(r'OSError: no\x0aspace"')


def test_a_record_that_cannot_be_formatted_is_written_as_it_stands() -> None:
    stream = io.BytesIO()
    record = logging.makeLogRecord({"msg": "broken %d", "args": ("x",), "levelno": 20})
    ForeignHandler(Log(Writer(stream))).handle(record)
    assert lines_of(stream)[0].endswith('message="broken %d"')

"""The log: one line per event, on standard error.

The level is that of the standard library's `relay` logger, and what other code logs there (or what
a library warns of) goes out by the same door in the same form. Events themselves do not become
`LogRecord`s, and the lines of one turn of the event loop are written at once: a message costs two
lines, thousands of times a second. A line of level warning or above is written at once, with those
before it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO

from relay.observe.events import Event
from relay.observe.line import Line, as_json, as_text, describe

_MAX_PENDING = 256  # lines kept for the end of the turn
_TRACEBACKS = logging.Formatter()
_PRIORITIES = {logging.DEBUG: "<7>", logging.INFO: "<6>", logging.WARNING: "<4>"}  # sd-daemon(3)


class Form(StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"


class Writer:
    """Writes lines to a stream, all of one turn of the event loop together.

    Without a running loop, as in other threads, each line is written at once. It never raises: what
    the stream does not take is lost and counted.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.lost = 0  # lines
        self._stream = stream
        self._lock = threading.Lock()
        self._pending: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # which has been asked to flush

    def write(self, line: str, *, at_once: bool) -> None:
        """Write `line`, now or at the end of this turn."""
        with self._lock:
            self._pending.append(line)
            full = len(self._pending) >= _MAX_PENDING
        if at_once or full or not self._is_flush_coming():
            self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        with self._lock:
            self._loop = None
            lines, self._pending = self._pending, []
            if lines:
                self._put(lines)

    def _is_flush_coming(self) -> bool:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._loop is not loop:
            self._loop = loop
            loop.call_soon(self.flush)
        return True

    def _put(self, lines: list[str]) -> None:
        lines.append("")
        try:
            self._stream.write("\n".join(lines).encode("utf-8", "backslashreplace"))
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed
            self.lost += len(lines) - 1


class Log:
    """Tells of each event on one line."""

    def __init__(
        self,
        writer: Writer,
        *,
        form: Form = Form.TEXT,
        has_priorities: bool = False,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """Put sd-daemon(3) priorities or the time of `clock`, if given, in front of each line."""
        self._write = writer.write
        self._writer = writer
        self._render = as_text if form is Form.TEXT else as_json
        self._has_priorities = has_priorities
        self._clock = clock
        self._is_enabled_for = logging.getLogger("relay").isEnabledFor

    def __call__(self, event: Event) -> None:
        """Tell of `event`."""
        line = describe(event)
        if self._is_enabled_for(line[0]):
            self.write(line)

    def write(self, line: Line) -> None:
        """Write a line, whatever its level."""
        level, name, fields = line
        text = ""
        if self._has_priorities:
            text = _PRIORITIES.get(level, "<3>")
        if self._clock is not None:
            line = (level, name, (("at", self._clock()), *fields))
        self._write(text + self._render(line), at_once=level >= logging.WARNING)

    def flush(self) -> None:
        """Write what is pending."""
        self._writer.flush()


class ForeignHandler(logging.Handler):
    """Writes what was said through `logging`, by relay or a library, as a line `note`."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`; a broken one is written as it stands."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        fields: tuple[tuple[str, str], ...] = (("logger", record.name), ("message", text))
        if record.exc_info:
            fields = (*fields, ("error", _TRACEBACKS.formatException(record.exc_info)))
        self._log.write((_level(record.levelno), "note", fields))


def open_log(
    *,
    level: str = "info",
    form: Form = Form.TEXT,
    clock: Callable[[], datetime],
    environ: Mapping[str, str] = os.environ,
    stream: BinaryIO | None = None,
) -> Log:
    """Return the log of this process on standard error, and lead `logging` into it.

    Libraries are heard from warnings on. Under systemd lines carry priorities and no time, as the
    journal has its own.
    """
    stream = stream or sys.stderr.buffer
    is_journal = _is_journal(stream, environ)
    log = Log(
        Writer(stream),
        form=form,
        has_priorities=is_journal,
        clock=None if is_journal else clock,
    )
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, ForeignHandler)]:
        root.removeHandler(handler)
    root.addHandler(ForeignHandler(log))
    root.setLevel(logging.WARNING)
    logging.getLogger("relay").setLevel(level.upper())
    return log


def _is_journal(stream: BinaryIO, environ: Mapping[str, str]) -> bool:
    """Return whether `stream` is what systemd connected to the journal (systemd.exec(5))."""
    try:
        stat = os.fstat(stream.fileno())
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


def _level(number: int) -> int:
    """Return the level of ours that a level of `logging` counts as."""
    for level in (logging.ERROR, logging.WARNING, logging.INFO):
        if number >= level:
            return level
    return logging.DEBUG

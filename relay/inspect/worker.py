"""The process that reads mail: hostile input stays here, with little memory and time.

Started as `python -m relay.inspect.worker` with a socket for stdin and stdout, on which `frames`
go; it ends when the other side does.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from relay.inspect.assembly import assemble, concluded, opened
from relay.inspect.documents import open_documents
from relay.inspect.frames import (
    LENGTH_BYTES,
    READY,
    frame,
    inspection_frame,
    length_of,
    parse_guide,
)
from relay.inspect.inspection import Submission
from relay.mail.message import Content, Spooled
from relay.policy.classify import ClassifyRules

MEMORY_BYTES = 64 * 1024 * 1024  # on top of what the interpreter, its libraries and words take
CPU_SECONDS = 2


def main() -> None:
    """Answer requests until the other side goes."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    guide = _read(source)
    if guide is None:
        return
    rules = parse_guide(guide).rules()
    gc.freeze()
    _limit_memory()
    _write(sink, frame(READY))
    while (request := _read(source)) is not None:
        _limit_time()
        _write(sink, _answer(request, source, rules))


def _limit_memory() -> None:
    """Bound what is written to; files that are only read do not count."""
    import relay.inspect.pdf  # noqa: F401 -- what it takes does not count either

    data_pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])
    limit = data_pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _limit_time() -> None:
    """Let this request use two seconds of processor; the kernel ends the process after that."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + CPU_SECONDS + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _answer(request: Mapping[str, Any], source: BinaryIO, rules: ClassifyRules) -> bytes:
    with opened(_content(request, source)) as (buffer, end):
        submission = Submission(**request["submission"])
        evidence = open_documents(assemble(buffer, end, submission), buffer)
    return inspection_frame(concluded(evidence, submission, rules, request["names"]))


def _content(request: Mapping[str, Any], source: BinaryIO) -> Content:
    size = request["size"]
    return Spooled(request["path"], size) if "path" in request else source.read(size)


def _read(source: BinaryIO) -> Mapping[str, Any] | None:
    head = source.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    value: Mapping[str, Any] = json.loads(source.read(length_of(head)))
    return value


def _write(sink: BinaryIO, data: bytes) -> None:
    sink.write(data)
    sink.flush()


if __name__ == "__main__":
    main()

"""The process that reads attachments: hostile input stays here, with little memory and time.

Started as `python -m relay.inspect.worker`. Frames on stdin and stdout: a length of four
bytes, then JSON; a request is followed by the raw parts that it does not name by path. It ends
when stdin does.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from relay.inspect.decoding import decode_transfer
from relay.inspect.documents import File, Reader

MEMORY_BYTES = 64 * 1024 * 1024  # on top of what the interpreter and its libraries take
CPU_SECONDS = 2
READY = {"ready": True}


def main() -> None:
    """Answer requests until the other side goes."""
    _limit_memory()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    _write(sink, READY)
    while (request := _read(source)) is not None:
        _limit_time()
        _write(sink, _answer(request, source))


def _limit_memory() -> None:
    import relay.inspect.pdf  # noqa: F401 -- mapped before the limit counts

    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    mapped = pages * resource.getpagesize()
    limit = mapped + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _limit_time() -> None:
    """Let this request use two seconds of processor; the kernel ends the process after that."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + CPU_SECONDS + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _answer(request: dict[str, Any], source: BinaryIO) -> dict[str, Any]:
    reader = Reader()
    for part in request["parts"]:
        raw = _raw(part, source)
        try:
            content = decode_transfer(raw, part["encoding"])
            reader.read(File(part["where"], part["name"], part["type"], content))
        except (MemoryError, RecursionError) as error:
            reader.problems.append(f"{part['where']}: {type(error).__name__}")
            reader.documents.append(_unreadable(part))
    return {
        "documents": [asdict(document) for document in reader.documents],
        "problems": reader.problems,
    }


def _unreadable(part: dict[str, Any]) -> Any:
    from relay.policy.evidence import Document, Reading

    return Document(
        where=part["where"], name=part["name"], media_type=part["type"], reading=Reading.UNREADABLE
    )


def _raw(part: dict[str, Any], source: BinaryIO) -> bytes:
    if "path" not in part:
        return source.read(part["size"])
    with Path(part["path"]).open("rb") as file:
        file.seek(part["start"])
        return file.read(part["size"])


def _read(source: BinaryIO) -> dict[str, Any] | None:
    head = source.read(4)
    if len(head) < 4:
        return None
    request: dict[str, Any] = json.loads(source.read(int.from_bytes(head, "big")))
    return request


def _write(sink: BinaryIO, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode("ascii")
    sink.write(len(body).to_bytes(4, "big") + body)
    sink.flush()


if __name__ == "__main__":
    main()

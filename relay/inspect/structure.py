"""The headers and the MIME tree of a message, read in one bounded walk without recursion.

RFC 5322 §2.2, RFC 2045 §5, RFC 2046 §5.1. Nothing is decoded that is not asked for; a limit that is
hit is told in `problems`, and what was read until then counts.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass, field

from relay.inspect.decoding import decode_header, split_parameters

MAX_HEADER_BYTES = 64 * 1024
MAX_HEADER_LINES = 200
MAX_FIELD_BYTES = 8 * 1024
MAX_DEPTH = 20
MAX_PARTS = 200
MAX_LOOKALIKES = 1_000  # boundaries passed over because they go on
MAX_SCANNED_BYTES = 128 * 1024 * 1024  # looked through for boundaries, all levels together

Buffer = bytes | mmap.mmap
Fields = list[tuple[str, bytes]]  # lower-case name, raw value, in order

_NOT_FOLDED = re.compile(rb"\r\n(?![ \t])")
_PART_FIELDS = ("content-type", "content-disposition", "content-transfer-encoding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A part that holds no other part: where its raw content is and what it claims to be."""

    media_type: str
    parameters: dict[str, str]
    disposition: str  # "", "inline", "attachment", …
    name: str  # file name, ""
    encoding: str  # lower case
    start: int
    end: int
    forwarded: bool  # inside a message/rfc822

    @property
    def is_attachment(self) -> bool:
        """Return whether it is meant to be saved rather than shown."""
        return self.disposition == "attachment" or bool(self.name)


@dataclass(slots=True)
class Structure:
    """What the walk found."""

    fields: Fields
    leaves: list[Leaf] = field(default_factory=list)
    containers: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_fields(buffer: Buffer, start: int, end: int) -> tuple[Fields, int, str | None]:
    """Return the fields at `start`, where the body begins, and the limit that was hit, if any."""
    limit = min(end, start + MAX_HEADER_BYTES)
    if buffer[start : start + 2] == b"\r\n":
        return [], start + 2, None
    stop = buffer.find(b"\r\n\r\n", start, limit)
    problem = None
    if stop < 0:
        stop, body = limit, min(limit, end)
        if limit < end:
            problem = f"header longer than {MAX_HEADER_BYTES // 1024} KiB"
    else:
        body = stop + 4
    lines = _NOT_FOLDED.split(buffer[start:stop], MAX_HEADER_LINES)
    if len(lines) > MAX_HEADER_LINES:
        del lines[-1]
        problem = f"more than {MAX_HEADER_LINES} header fields"
    fields: Fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon and len(name) < 80:
            fields.append((name.decode("latin-1").strip().lower(), value[:MAX_FIELD_BYTES]))
    return fields, body, problem


def walk(buffer: Buffer, end: int) -> Structure:
    """Return the structure of the message in `buffer[:end]`."""
    fields, body, problem = read_fields(buffer, 0, end)
    structure = Structure(fields)
    if problem:
        structure.problems.append(problem)
    _Walk(buffer, structure).run(fields, body, end)
    return structure


def _describe(fields: Fields, default: str) -> tuple[str, dict[str, str], str, str, str]:
    """Return media type, parameters, disposition, file name and transfer encoding."""
    found: dict[str, bytes] = {}
    for field_name, raw in fields:
        if field_name in _PART_FIELDS:
            found.setdefault(field_name, raw)
    media_type = default
    parameters: dict[str, str] = {}
    disposition = name = encoding = ""
    if "content-type" in found:
        media_type, parameters = split_parameters(found["content-type"].decode("utf-8", "replace"))
        if "/" not in media_type:
            media_type = default
        name = parameters.get("name", "")
    if "content-disposition" in found:
        value = found["content-disposition"].decode("utf-8", "replace")
        disposition, others = split_parameters(value)
        name = others.get("filename") or name
    if "content-transfer-encoding" in found:
        encoding = found["content-transfer-encoding"].decode("latin-1").strip().lower()
    if name:
        name = decode_header(name.encode("utf-8", "replace"))[:200]
    return media_type, parameters, disposition, name, encoding


class _Walk:
    """The state of one walk: a stack of parts still to be looked into."""

    def __init__(self, buffer: Buffer, structure: Structure) -> None:
        self._buffer = buffer
        self._structure = structure
        self._stack: list[tuple[Fields, int, int, int, bool, str]] = []
        self._parts = 0
        self._scanned = 0

    def run(self, fields: Fields, body: int, end: int) -> None:
        self._stack.append((fields, body, end, 0, False, "text/plain"))
        while self._stack:
            part = self._stack.pop()
            self._parts += 1
            if self._parts > MAX_PARTS:
                self._problem(f"more than {MAX_PARTS} parts")
                return
            self._look(*part)

    def _problem(self, text: str) -> None:
        if text not in self._structure.problems:
            self._structure.problems.append(text)

    def _look(
        self, fields: Fields, start: int, end: int, depth: int, forwarded: bool, default: str
    ) -> None:
        media_type, parameters, disposition, name, encoding = _describe(fields, default)
        composite = media_type.startswith("multipart/") and parameters.get("boundary")
        nested = media_type == "message/rfc822" and encoding not in ("base64", "quoted-printable")
        if (composite or nested) and depth >= MAX_DEPTH:
            self._problem(f"parts nested deeper than {MAX_DEPTH}")
            return
        if composite:
            self._structure.containers.append((media_type, parameters))
            child = "message/rfc822" if media_type == "multipart/digest" else "text/plain"
            self._split(parameters["boundary"], start, end, depth, forwarded, child)
        elif nested:
            self._structure.containers.append((media_type, parameters))
            inner, body, _ = read_fields(self._buffer, start, end)
            self._stack.append((inner, body, end, depth + 1, True, "text/plain"))
        else:
            self._structure.leaves.append(
                Leaf(
                    media_type=media_type,
                    parameters=parameters,
                    disposition=disposition,
                    name=name,
                    encoding=encoding,
                    start=start,
                    end=end,
                    forwarded=forwarded,
                )
            )

    def _split(
        self, boundary: str, start: int, end: int, depth: int, forwarded: bool, default: str
    ) -> None:
        """Put the parts between the delimiters on the stack, the first one on top."""
        delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")[:200]
        parts: list[tuple[Fields, int, int, int, bool, str]] = []
        position, opened = max(start - 2, 0), -1
        while len(parts) <= MAX_PARTS:
            at, line_end = self._next_delimiter(delimiter, position, end)
            if opened >= 0:
                stop = max(at if at >= 0 else end, opened)
                inner, body, problem = read_fields(self._buffer, opened, stop)
                if problem:
                    self._problem(problem)
                parts.append((inner, min(body, stop), stop, depth + 1, forwarded, default))
            if at < 0 or line_end < 0:
                break
            opened, position = line_end + 2, line_end
        self._stack.extend(reversed(parts))

    def _next_delimiter(self, delimiter: bytes, position: int, end: int) -> tuple[int, int]:
        """Return where the next delimiter is and where its line ends; -1 for none or the last."""
        for _ in range(MAX_LOOKALIKES):
            if self._scanned > MAX_SCANNED_BYTES:
                break
            at = self._buffer.find(delimiter, position, end)
            self._scanned += (at if at >= 0 else end) - position
            if at < 0:
                return -1, -1
            after = at + len(delimiter)
            if self._buffer[after : after + 2] == b"--":
                return at, -1
            line_end = self._buffer.find(b"\r\n", after, min(end, after + 200))
            if line_end < 0:
                return at, -1
            if not self._buffer[after:line_end].strip(b" \t"):
                return at, line_end
            position = after  # a longer boundary that begins alike
        self._problem("boundaries too many or too far apart to be followed")
        return -1, -1

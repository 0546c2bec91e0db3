"""Mail in files: .eml, mbox, folders, standard input; in wire format, with an envelope."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.utils import getaddresses
from pathlib import Path
from typing import BinaryIO

from relay.mail.header import MAX_HEADER_BYTES, fields
from relay.mail.message import Envelope

STDIN = "-"
_SEPARATOR = b"From "
_QUOTED = re.compile(rb">+From ")
_NULL = frozenset({"", "<>"})
_NOBODY = "undisclosed-recipients@localhost"


@dataclass(frozen=True, slots=True)
class Mail:
    """One message and where it was found."""

    name: str  # path; with `#3` behind it for the third one of an mbox
    content: bytes  # wire format


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that gave no mail."""

    name: str
    why: str


def find_files(names: Iterable[str]) -> list[str]:
    """Return the files, with every .eml in and below a folder in the order of their names.

    A folder without any stays, to be told of.
    """
    found: list[str] = []
    for name in names:
        path = Path(name)
        if name == STDIN or not path.is_dir():
            found.append(name)
            continue
        inside = sorted(each for each in path.rglob("*") if each.suffix.lower() == ".eml")
        found += [str(each) for each in inside if each.is_file()] or [name]
    return found


def read_mails(name: str) -> Iterator[Mail | Unreadable]:
    """Yield the messages of a file, one unless it is an mbox; or why there is none."""
    try:
        if name == STDIN:
            yield from _messages(name, sys.stdin.buffer)
        elif Path(name).is_dir():
            yield Unreadable(name, "no .eml file is in this folder")
        else:
            with open(name, "rb") as file:  # noqa: PTH123 -- told by the name as it was given
                yield from _messages(name, file)
    except OSError as error:
        yield Unreadable(name, (error.strerror or str(error)).lower())


def envelope_of(content: bytes, sender: str | None, recipients: Iterable[str]) -> Envelope:
    """Return the envelope that mail was probably sent with, as far as it is not given.

    The reverse-path is that of Return-Path, else of From; `sender` may be `<>`.
    """
    found: dict[str, list[str]] = {}
    for field in fields(content[:MAX_HEADER_BYTES]):
        found.setdefault(field.name.decode("ascii").lower(), []).append(
            field.value.decode("utf-8", "replace")
        )
    if sender is None and "from" not in found and "return-path" not in found:
        sender = _NOBODY  # a draft, and no report
    if sender is None:
        sender = next(iter(found.get("return-path") or _addresses(found.get("from", []))), "")
    written = [*found.get("to", []), *found.get("cc", []), *found.get("bcc", [])]
    return Envelope(
        reverse_path=None if sender.strip() in _NULL else sender.strip("<> "),
        forward_paths=tuple(recipients) or tuple(_addresses(written)) or (_NOBODY,),
    )


def _addresses(values: list[str]) -> list[str]:
    return [address for _, address in getaddresses(values) if "@" in address]


def _messages(name: str, file: BinaryIO) -> Iterator[Mail | Unreadable]:
    first = file.readline()
    if not first:
        yield Unreadable(name, "it is empty")
    elif first.startswith(_SEPARATOR):
        yield from _numbered(name, _split(file))
    else:
        yield _mail(name, first + file.read())


def _mail(name: str, raw: bytes) -> Mail | Unreadable:
    content = _wire_format(raw)
    has_header = next(fields(content[:MAX_HEADER_BYTES]), None) is not None
    return Mail(name, content) if has_header else Unreadable(name, "it is no mail: no header")


def _numbered(name: str, contents: Iterator[bytes]) -> Iterator[Mail | Unreadable]:
    """Yield mail with its number, but the only one of a file without."""
    first = next(contents)
    number = 1
    for number, content in enumerate(contents, 2):
        if number == 2:
            yield _mail(f"{name}#1", first)
        yield _mail(f"{name}#{number}", content)
    if number == 1:
        yield _mail(name, first)


def _split(file: BinaryIO) -> Iterator[bytes]:
    """Yield the messages of an mbox (RFC 4155) behind its first separator."""
    lines: list[bytes] = []
    was_empty = False
    for line in file:
        if was_empty and line.startswith(_SEPARATOR):
            yield b"".join(lines)
            lines = []
            was_empty = False
            continue
        was_empty = line in {b"\n", b"\r\n"}
        lines.append(line[1:] if _QUOTED.match(line) else line)
    yield b"".join(lines)


def _wire_format(content: bytes) -> bytes:
    """Return content with CRLF at the end of every line, and no CR or LF elsewhere."""
    content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return content if content.endswith(b"\r\n") else content + b"\r\n"

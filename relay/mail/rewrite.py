"""The author of a message (RFC 5322 §3.6.2), for a channel that may not send as everybody.

Only the fields in question change, in their place; every other octet stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from relay.mail.header import MAX_HEADER_BYTES, header_end

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*?)\r\n(?![ \t])", re.DOTALL)
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_COMMENT = re.compile(rb"\([^()]*\)")
_ANGLE = re.compile(rb"<([^<>]*)>")
_DEEPEST = 10  # comments in comments


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A header, or its first 64 KiB, as it is to be sent."""

    header: bytes  # takes the place of the first `instead_of` octets of the content
    instead_of: int
    was: tuple[str, ...]  # the addresses in From before


def rewrite_from(head: bytes, is_allowed: Callable[[str], bool], address: str) -> Rewritten | None:
    """Return the header with From from `address`; None if every author in it is allowed.

    `head` is the beginning of a content. The name stays, and who wrote it is in Reply-To; where
    there is a Reply-To already, that stays and the author is in X-Original-From.
    """
    end = _end(head)
    fields = list(_fields(head[:end]))
    authors = [value for name, value, _ in fields if name == b"from"]
    was = tuple(each for value in authors for each in addresses_of(value))
    if all(map(is_allowed, was)):
        return None
    keep_in = b"X-Original-From" if any(n == b"reply-to" for n, _, _ in fields) else b"Reply-To"
    parts: list[bytes] = []
    is_done = False
    for name, value, whole in fields:
        if name != b"from":
            parts.append(whole)
        elif not is_done:  # a second one would be another author
            parts += [b"From:", _named(value, address), b"\r\n", keep_in, b":", value, b"\r\n"]
            is_done = True
    return Rewritten(b"".join(parts), end, was)


def addresses_of(value: bytes) -> tuple[str, ...]:
    """Return the addresses in the value of a field such as From, in lower case.

    What cannot be read as one is returned as it is, so that it is nobody's address.
    """
    plain = _QUOTED.sub(b"", value.replace(b"\r\n", b""))
    for _ in range(_DEEPEST):
        shorter = _COMMENT.sub(b"", plain)
        if shorter == plain:
            break
        plain = shorter
    mailboxes = [part.strip(b" \t") for part in plain.split(b",")]
    found = [angle[1] if (angle := _ANGLE.search(each)) else each for each in mailboxes if each]
    return tuple(each.strip(b" \t").decode("utf-8", "replace").lower() for each in found)


def _end(head: bytes) -> int:
    """Return where what may be rewritten ends: behind a field, within 64 KiB."""
    end = header_end(head[:MAX_HEADER_BYTES])
    if end >= 0:
        return end
    cut = head[:MAX_HEADER_BYTES]
    while (last := cut.rfind(b"\r\n")) >= 0:
        if head[last + 2 : last + 3] not in (b" ", b"\t"):
            return last + 2
        cut = cut[:last]
    return 0


def _fields(block: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield name in lower case, value with its folds, and all of it; no name for what is no field.

    `block` ends behind a CRLF, or is empty.
    """
    at = 0
    while at < len(block):
        if match := _FIELD.match(block, at):
            yield match[1].lower(), match[2], match[0]
            at = match.end()
        else:
            end = block.index(b"\r\n", at) + 2
            yield b"", b"", block[at:end]
            at = end


def _named(value: bytes, address: str) -> bytes:
    """Return the value of From with another address and, of a single author, the same name."""
    angle = value.rfind(b"<")
    name = value[:angle].rstrip(b" \t\r\n") if angle > 0 and len(addresses_of(value)) == 1 else b""
    return name + b" <" + address.encode() + b">"

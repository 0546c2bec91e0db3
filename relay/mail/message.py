"""A message as the relay keeps it: envelope, origin, and content as it goes on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford: no I, L, O, U
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_VALUES = {char: value for value, char in enumerate(_ALPHABET)}
_RANDOM_BITS = 20
ID_LENGTH = 13  # characters of 5 bits; 63 bits are used


@dataclass(frozen=True, slots=True)
class Spooled:
    """Content too large for memory: a file that holds it in wire format."""

    path: str  # absolute
    size_bytes: int


Content = bytes | Spooled
"""RFC 5322 in wire format: every line ends with CRLF, no bare CR or LF, not dot-stuffed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """RFC 5321 §2.3.1: who it is from and for, and what the client declared of it."""

    reverse_path: str | None  # None is <>
    forward_paths: tuple[str, ...]  # at least one, in the order given, byte for byte
    body_8bit: bool = False  # BODY=8BITMIME (RFC 6152)
    smtputf8: bool = False  # SMTPUTF8 (RFC 6531)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a message came from; the owner's rules may ask for any of it."""

    listener: str  # its address as in the settings, or "relay" for our own reports
    application: str | None = None  # the login that authenticated
    client: str = ""  # IP address of the peer, "" for a Unix socket
    helo: str = ""  # as said, never checked
    tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One accepted transaction."""

    id: int  # see `message_id`
    received_at: datetime  # aware, UTC
    envelope: Envelope
    origin: Origin
    content: Content

    @property
    def queue_id(self) -> str:
        """Return the id as people see it, in replies, logs and the `Received:` field."""
        return encode_id(self.id)

    @property
    def size_bytes(self) -> int:
        """Return the size of the content in bytes, trace fields included."""
        return content_size(self.content)


def content_size(content: Content) -> int:
    """Return the size of `content` in bytes."""
    match content:
        case Spooled(size_bytes=size):
            return size
        case _:
            return len(content)


def message_id(at: datetime, random_bits: int) -> int:
    """Return a 63-bit id that sorts by time: milliseconds since 1970, then 20 random bits."""
    milliseconds = int(at.timestamp() * 1000)
    return (milliseconds << _RANDOM_BITS) | (random_bits & ((1 << _RANDOM_BITS) - 1))


def encode_id(number: int) -> str:
    """Return an id as 13 characters of Crockford's base 32."""
    pairs = [_PAIRS[(number >> shift) & 1023] for shift in range(50, -1, -10)]
    return _ALPHABET[(number >> 60) & 31] + "".join(pairs)


def decode_id(text: str) -> int:
    """Return the number behind a queue id; case does not matter.

    Raises ValueError when `text` is not one.
    """
    if len(text) != ID_LENGTH:
        raise ValueError(f"a queue id has {ID_LENGTH} characters, {text!r} has {len(text)}")
    number = 0
    for char in text.upper():
        if char not in _VALUES:
            raise ValueError(f"{char!r} does not occur in a queue id")
        number = number << 5 | _VALUES[char]
    return number

"""The content inside an opaque signature (CMS SignedData, RFC 5652 §5.1); not verified."""

from __future__ import annotations

SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
MAX_CHUNKS = 20_000

_SEQUENCE, _OCTETS, _CONTEXT_0 = 0x30, 0x04, 0xA0


class _BrokenError(ValueError):
    pass


def read_signed(raw: bytes) -> bytes | None:
    """Return the signed content, None when there is none or `raw` is something else."""
    try:
        position = _enter(raw, 0, _SEQUENCE)
        if raw[position : position + len(SIGNED_DATA)] != SIGNED_DATA:
            return None
        position = _enter(raw, position + len(SIGNED_DATA), _CONTEXT_0)
        position = _enter(raw, position, _SEQUENCE)
        position = _skip(raw, position)  # version
        position = _skip(raw, position)  # digest algorithms
        position = _enter(raw, position, _SEQUENCE)
        position = _skip(raw, position)  # content type
        position = _enter(raw, position, _CONTEXT_0)
        return _octets(raw, position)
    except _BrokenError:
        return None


def _head(raw: bytes, position: int) -> tuple[int, int, int | None]:
    """Return tag, start of the value and its length; None is the indefinite form."""
    if position + 2 > len(raw):
        raise _BrokenError
    tag, length = raw[position], raw[position + 1]
    position += 2
    if length == 0x80:
        return tag, position, None
    if length > 0x80:
        count = length & 0x7F
        if count > 6 or position + count > len(raw):
            raise _BrokenError
        length = int.from_bytes(raw[position : position + count], "big")
        position += count
    return tag, position, length


def _enter(raw: bytes, position: int, wanted: int) -> int:
    tag, start, _ = _head(raw, position)
    if tag != wanted:
        raise _BrokenError
    return start


def _skip(raw: bytes, position: int) -> int:
    _, start, length = _head(raw, position)
    if length is None:
        raise _BrokenError
    return start + length


def _octets(raw: bytes, position: int) -> bytes:
    """Return an octet string, also one that is sent in chunks."""
    tag, start, length = _head(raw, position)
    if tag == _OCTETS and length is not None:
        return raw[start : start + length]
    if tag != _OCTETS | 0x20:
        raise _BrokenError
    chunks: list[bytes] = []
    end = len(raw) if length is None else start + length
    while start < end and len(chunks) < MAX_CHUNKS:
        tag, value, size = _head(raw, start)
        if tag == 0 and size == 0:
            break
        if tag != _OCTETS or size is None:
            raise _BrokenError
        chunks.append(raw[value : value + size])
        start = value + size
    return b"".join(chunks)

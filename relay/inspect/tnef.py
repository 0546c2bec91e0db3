"""Attachments inside winmail.dat (Transport Neutral Encapsulation Format, [MS-OXTNEF])."""

from __future__ import annotations

SIGNATURE = b"\x78\x9f\x3e\x22"
MAX_ATTRIBUTES = 2_000
MAX_FILES = 20

_RENDERING = 0x9002  # begins an attachment
_TITLE = 0x8010
_DATA = 0x800F
_PROPERTIES = 0x9005
_LONG_NAME = (0x3707, 0x3704)  # PidTagAttachLongFilename, PidTagAttachFilename
_STRINGS = {0x1E: "cp1252", 0x1F: "utf-16-le"}
_FIXED = {
    0x02: 4,
    0x03: 4,
    0x04: 4,
    0x05: 8,
    0x06: 8,
    0x07: 8,
    0x0A: 4,
    0x0B: 4,
    0x14: 8,
    0x40: 8,
    0x48: 16,
}


def read_tnef(raw: bytes) -> list[tuple[str, bytes]]:
    """Return name and content of each file inside; what is broken ends the reading."""
    if not raw.startswith(SIGNATURE):
        return []
    files: list[tuple[str, bytes]] = []
    name, data = "", b""
    position = 6
    for _ in range(MAX_ATTRIBUTES):
        if position + 11 > len(raw) or len(files) >= MAX_FILES:
            break
        attribute = int.from_bytes(raw[position + 1 : position + 3], "little")
        size = int.from_bytes(raw[position + 5 : position + 9], "little")
        value = raw[position + 9 : position + 9 + size]
        position += 11 + size
        if attribute == _RENDERING:
            if data:
                files.append((name, data))
            name, data = "", b""
        elif attribute == _TITLE:
            name = name or value.split(b"\0")[0].decode("cp1252", "replace")
        elif attribute == _DATA:
            data = value
        elif attribute == _PROPERTIES:
            name = _long_name(value) or name
    if data:
        files.append((name, data))
    return files


def _long_name(raw: bytes) -> str:
    """Return the file name among MAPI properties, "" when it is not reached by simple ones."""
    count = int.from_bytes(raw[:4], "little")
    position = 4
    for _ in range(min(count, 100)):
        if position + 8 > len(raw):
            break
        kind = int.from_bytes(raw[position : position + 2], "little")
        name = int.from_bytes(raw[position + 2 : position + 4], "little")
        position += 4
        if name >= 0x8000:  # named: GUID, then a number or a string
            if int.from_bytes(raw[position + 16 : position + 20], "little") == 0:
                position += 24
            else:
                position += 24 + _padded(
                    int.from_bytes(raw[position + 20 : position + 24], "little")
                )
        if kind in _FIXED:
            position += _FIXED[kind]
            continue
        values = int.from_bytes(raw[position : position + 4], "little")
        if kind & 0x1000 or values != 1:
            break
        size = int.from_bytes(raw[position + 4 : position + 8], "little")
        value = raw[position + 8 : position + 8 + size]
        position += 8 + _padded(size)
        if kind in _STRINGS and name in _LONG_NAME:
            return value.decode(_STRINGS[kind], "replace").rstrip("\0")[:200]
    return ""


def _padded(size: int) -> int:
    return size + 3 & ~3

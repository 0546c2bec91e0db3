"""The text of office documents: DOCX, XLSX, ODT, ODS, RTF, and what shows of binary ones."""

from __future__ import annotations

import html
import re
import zipfile

MAX_TEXT = 12_000  # characters
MAX_MEMBER_BYTES = 4 * 1024 * 1024

_LINE_END = re.compile(
    r"</(?:w:p|w:tr|text:p|text:h|table:table-row|row|si)>|<(?:w:br|text:line-break)/?>"
)
_GAP = re.compile(r"</(?:w:tc|table:table-cell|c)>|<(?:w:tab|text:tab|text:s)\b[^<>]*/>")
_TAG = re.compile(r"<[^<>]*>")
_ROW = re.compile(r"<row\b")
_CELL = re.compile(r"<c\b([^<>]*)>([^<]*(?:<(?!/?c\b)[^<]*)*)")
_VALUE = re.compile(r"<v>([^<]{1,60})</v>")
_RTF_UNICODE = re.compile(r"\\u(-?\d{1,5})\s?(?:\\'[0-9a-f]{2}|\?)?")
_RTF_BYTE = re.compile(r"\\'([0-9a-f]{2})")
_RTF_WORD = re.compile(r"\\(par|line|cell|row|tab)\b ?|\\[a-z]{1,32}-?\d{0,10} ?|\\[^a-z]|[{}\r\n]")
_NARROW_RUN = re.compile(rb"[\t\r\x20-\x7e\x80-\xff]{8,}")
_WIDE_RUN = re.compile(rb"(?:[\t\r\x20-\xff]\x00|[\x00-\xff][\x01-\x06]){8,}")


def read_office(archive: zipfile.ZipFile) -> str | None:
    """Return the text of an office file in ZIP form, None when it is another archive."""
    names = set(archive.namelist())
    if "word/document.xml" in names:
        return _plain(_member(archive, "word/document.xml"))
    if "content.xml" in names and "mimetype" in names:
        return _plain(_member(archive, "content.xml"))
    if "xl/workbook.xml" in names:
        return _sheet(archive, names)
    return None


def _member(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as file:
        return file.read(MAX_MEMBER_BYTES).decode("utf-8", "replace")


def _plain(xml: str) -> str:
    text = _TAG.sub("", _LINE_END.sub("\n", _GAP.sub(" ", xml)))
    return html.unescape(text[: 2 * MAX_TEXT])[:MAX_TEXT]


def _sheet(archive: zipfile.ZipFile, names: set[str]) -> str:
    """Return the cells of the first sheet, a line for a row."""
    shared: list[str] = []
    if "xl/sharedStrings.xml" in names:
        shared = _plain(_member(archive, "xl/sharedStrings.xml")).split("\n")
    sheet = next((name for name in sorted(names) if name.startswith("xl/worksheets/sheet")), None)
    if sheet is None:
        return "\n".join(shared)
    lines: list[str] = []
    for row in _ROW.split(_member(archive, sheet))[1:200]:
        cells: list[str] = []
        for attributes, inner in _CELL.findall(row)[:50]:
            if 't="s"' in attributes and (match := _VALUE.search(inner)):
                index = int(match[1]) if match[1].isdecimal() else len(shared)
                cells.append(shared[index] if index < len(shared) else "")
            else:
                cells.append(_plain(inner[:300]))
        lines.append(" ".join(cell for cell in cells if cell))
    return "\n".join(lines)[:MAX_TEXT]


def read_rtf(raw: bytes) -> str:
    """Return the text of an RTF file, near enough to find words in."""
    text = raw[: 40 * MAX_TEXT].decode("latin-1")
    text = _RTF_UNICODE.sub(lambda match: chr(int(match[1]) % 0x10000), text)
    text = _RTF_BYTE.sub(lambda match: bytes.fromhex(match[1]).decode("cp1252", "replace"), text)
    text = _RTF_WORD.sub(lambda match: "\n" if match[1] in ("par", "line", "row") else " ", text)
    return " ".join(text.split(" "))[:MAX_TEXT]


def read_old_office(raw: bytes) -> str:
    """Return the runs of text in a binary office file (.doc, .xls)."""
    wide = b"\n\0".join(_WIDE_RUN.findall(raw[:MAX_MEMBER_BYTES]))[: 2 * MAX_TEXT]
    narrow = b"\n".join(_NARROW_RUN.findall(raw[:MAX_MEMBER_BYTES]))[:MAX_TEXT]
    text = narrow.decode("cp1252", "replace") + "\n" + wide.decode("utf-16-le", "replace")
    return text.replace("\r", "\n")

"""Header words, parameters, charsets and transfer encodings, decoded within bounds."""

from __future__ import annotations

import binascii
import re
from urllib.parse import unquote_to_bytes

MAX_PARAMETERS = 30
MAX_ENCODED_WORDS = 100

_CHARSET = re.compile(
    r"""utf[-_]?(?:7|8|16(?:[-_]?[lb]e)?) | (?:iso|l)?[-_]?8859[-_]?\d{1,2}(?:[-_][ie])?
    | latin[-_]?\d{1,2} | (?:windows|cp|ibm)[-_]?\d{3,4} | koi8[-_][rtu] | mac[-_]?roman
    | gb2312 | gbk | gb18030 | big5(?:[-_]?hkscs)? | euc[-_]?(?:jp|kr) | shift[-_]?jis | sjis
    | iso-2022-(?:jp|kr)(?:-\d)? | ks_c_5601-1987 | tis-620""",
    re.VERBOSE,
)
_ENCODED_WORD = re.compile(r"=\?([^?\s]{1,40})\?([bBqQ])\?([^?]*)\?=(\s+(?==\?))?")
_PARAMETER = re.compile(r";\s*([^\s=;\"]{1,60})\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^;\s]*)")
_ESCAPED = re.compile(r"\\(.)")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_ALIASES = {"iso-8859-8-i": "iso-8859-8", "iso-8859-1": "cp1252", "iso8859-1": "cp1252"}


def decode_text(raw: bytes, charset: str | None) -> str:
    """Return `raw` as text by its charset if mail has such a one, else UTF-8 or Windows-1252."""
    name = (charset or "").strip("\"' ").lower()
    if name and name not in ("utf-8", "us-ascii") and _CHARSET.fullmatch(name):
        try:
            text = raw.decode(_ALIASES.get(name, name), "replace")
            return text.encode("utf-8", "replace").decode() if name.startswith("utf") else text
        except (LookupError, ValueError):
            pass
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start >= len(raw) - 4 or name == "utf-8":  # cut in a character, or damaged
            return raw.decode("utf-8", "replace")
        return raw.decode("cp1252", "replace")


def decode_transfer(raw: bytes, encoding: str) -> bytes:
    """Return `raw` without its Content-Transfer-Encoding, as far as that is whole."""
    match encoding:
        case "quoted-printable":
            return binascii.a2b_qp(raw)
        case "base64":
            return decode_base64(raw)
        case "x-uuencode" | "uuencode" | "x-uue":
            return _decode_uu(raw)
        case _:
            return raw


def decode_base64(raw: bytes) -> bytes:
    """Return the bytes behind base64 text that may be cut off or have lost its padding."""
    try:
        return binascii.a2b_base64(raw)
    except binascii.Error:
        packed = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
        try:
            return binascii.a2b_base64(packed[: len(packed) // 4 * 4])
        except binascii.Error:
            return b""


def _decode_uu(raw: bytes) -> bytes:
    lines: list[bytes] = []
    for line in raw.splitlines():
        if line.startswith((b"begin ", b"end")) or not line:
            continue
        try:
            lines.append(binascii.a2b_uu(line))
        except binascii.Error:
            continue
    return b"".join(lines)


def decode_header(raw: bytes, charset: str | None = None) -> str:
    """Return an unstructured field unfolded, its encoded words (RFC 2047) decoded, no controls.

    `charset` is the body's: programs that write a header without encoding it use the same.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = decode_text(raw, charset)
    if "=?" in text:
        text = _ENCODED_WORD.sub(_decode_word, text, count=MAX_ENCODED_WORDS)
    return _CONTROLS.sub(" ", text).strip()


def _decode_word(match: re.Match[str]) -> str:
    charset, encoding, payload = match[1].split("*")[0], match[2], match[3].encode("utf-8")
    if encoding in "bB":
        return decode_text(decode_base64(payload), charset)
    return decode_text(binascii.a2b_qp(payload, header=True), charset)


def split_parameters(value: str) -> tuple[str, dict[str, str]]:
    """Return the lower-case value of a MIME field and its parameters (RFC 2045, 2231)."""
    main, _, _ = value.partition(";")
    parameters: dict[str, str] = {}
    pieces: dict[str, list[tuple[int, bool, str]]] = {}
    for count, match in enumerate(_PARAMETER.finditer(value)):
        if count >= MAX_PARAMETERS:
            break
        name, text = match[1].lower(), match[2]
        if text.startswith('"'):
            text = _ESCAPED.sub(r"\1", text[1:-1])
        if "*" in name:
            base, _, rest = name.partition("*")
            number = rest.rstrip("*")
            order = int(number) if number.isascii() and number.isdigit() and len(number) < 4 else 0
            pieces.setdefault(base, []).append((order, name.endswith("*"), text))
        else:
            parameters.setdefault(name, text)
    for base, parts in pieces.items():
        parameters[base] = _join_pieces(sorted(parts))
    return main.strip().lower(), parameters


def _join_pieces(parts: list[tuple[int, bool, str]]) -> str:
    charset = None
    raw = bytearray()
    for index, (_, is_encoded, text) in enumerate(parts):
        if not is_encoded:
            raw += text.encode("utf-8")
            continue
        if index == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        raw += unquote_to_bytes(text)
    return decode_text(bytes(raw), charset)

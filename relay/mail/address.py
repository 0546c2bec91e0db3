"""Addresses: the path and the parameters of MAIL and RCPT (RFC 5321 §4.1.2), read from bytes.

An address is kept byte for byte: nothing is decoded (RFC 2047 §5 forbids encoded words here),
unquoted or requoted.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

MAX_PATH_BYTES = 256  # RFC 5321 §4.5.3.1.3, brackets included

# Octets over 0x7F are checked as UTF-8 afterwards (RFC 6531 §3.3). Dots may repeat in a local part
# and end it, which RFC 5321 forbids: Japanese carriers gave out such addresses, still in use.
_ATEXT = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]"
_DOT_STRING = _ATEXT + rb"+(?:\.+" + _ATEXT + rb"+)*\.*"
_QUOTED_STRING = rb'"(?:[ !#-\[\]-~\x80-\xff]|\\[ -~])*"'
_LABEL = rb"[A-Za-z0-9_\x80-\xff](?:[A-Za-z0-9_\x80-\xff-]*[A-Za-z0-9_\x80-\xff])?"
_DOMAIN = _LABEL + rb"(?:\." + _LABEL + rb")*"
_LITERAL = rb"\[(?:[0-9.]{7,15}|[Ii][Pp][Vv]6:[0-9A-Fa-f:.]{2,45})\]"  # see `_check_literal`
_MAILBOX = rb"(?:%b|%b)@(?:%b|%b)" % (_DOT_STRING, _QUOTED_STRING, _DOMAIN, _LITERAL)
_SOURCE_ROUTE = rb"(?:@%b(?:,@%b)*:)?" % (_DOMAIN, _DOMAIN)
_ANY_PATH = re.compile(rb"<%b(?P<address>%b|%b|)>" % (_SOURCE_ROUTE, _MAILBOX, _DOT_STRING))
_BARE_PATH = re.compile(rb"(?P<address>%b@%b)(?=[ \t]|\Z)" % (_DOT_STRING, _DOMAIN))
_FORBIDDEN = re.compile("[\x80-\x9f\u2028\u2029]")  # controls and line ends beyond ASCII

_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-~\x80-\xff]+))?")


class PathError(ValueError):
    """A path or its parameters break the grammar; the text says how, in words for the client."""


def parse_reverse_path(argument: bytes) -> tuple[str | None, bytes]:
    """Return the address after `MAIL FROM:`, None for `<>`, and the parameters, unread.

    The caller checks a non-ASCII one against SMTPUTF8, which is itself a parameter.
    Raises PathError.
    """
    return _parse_path(argument.lstrip(b" \t"))


def parse_forward_path(argument: bytes) -> tuple[str, bytes]:
    """Return the address after `RCPT TO:` and the parameters, unread.

    `<>` is none; a local part alone (`<root>`) is one. Raises PathError.
    """
    address, rest = _parse_path(argument.lstrip(b" \t"))
    if address is None:
        raise PathError("the null path is no recipient")
    return address, rest


def parse_parameters(rest: bytes) -> dict[str, str | None]:
    """Return ESMTP parameters by name in capitals, None for one without a value.

    Raises PathError.
    """
    parameters: dict[str, str | None] = {}
    for word in rest.split():
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise PathError("malformed parameter")
        name = match[1].decode("ascii").upper()
        if name in parameters:
            raise PathError(f"parameter {name} given twice")
        try:
            parameters[name] = None if match[2] is None else match[2].decode("utf-8")
        except UnicodeDecodeError:
            raise PathError("not UTF-8") from None
    return parameters


def domain_of(address: str | None) -> str:
    """Return the domain in lower case, "" for the null path and for a local part alone."""
    return address.rpartition("@")[2].lower() if address and "@" in address else ""


def _parse_path(argument: bytes) -> tuple[str | None, bytes]:
    match = _ANY_PATH.match(argument) or _BARE_PATH.match(argument)
    if match is None:
        raise PathError("malformed path")
    if match.end() > MAX_PATH_BYTES:
        raise PathError(f"path longer than {MAX_PATH_BYTES} octets")
    rest = argument[match.end() :]
    if rest and rest[0] not in b" \t":
        raise PathError("something follows the path without a space")
    if match["address"] == b"":
        if match.end() > len(b"<>"):
            raise PathError("a source route to nowhere")
        return None, rest
    address = _decode(match["address"])
    if address.endswith("]"):
        _check_literal(address.rpartition("[")[2][:-1])
    return address, rest


def _check_literal(literal: str) -> None:
    tag, is_tagged, ipv6 = literal.partition(":")
    try:
        if is_tagged:
            IPv6Address(ipv6)
        else:
            IPv4Address(tag)
    except AddressValueError:
        raise PathError("malformed address literal") from None


def _decode(address: bytes) -> str:
    if address.isascii():
        return address.decode("ascii")
    try:
        text = address.decode("utf-8")
    except UnicodeDecodeError:
        raise PathError("not UTF-8") from None
    if _FORBIDDEN.search(text):
        raise PathError("control character")
    return text

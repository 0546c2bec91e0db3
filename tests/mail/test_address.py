"""Paths and parameters as clients write them: what is taken byte for byte, and what is not."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.address import (
    MAX_PATH_BYTES,
    PathError,
    domain_of,
    parse_forward_path,
    parse_parameters,
    parse_reverse_path,
)

LONGEST = b"<" + b"a" * (MAX_PATH_BYTES - 7) + b"@b.de>"

TAKEN = [
    (b"<alice@example.com>", "alice@example.com", b""),
    (b" <alice@example.com>", "alice@example.com", b""),
    (b"\t <alice@example.com>", "alice@example.com", b""),
    (b"<alice@example.com> size=233", "alice@example.com", b" size=233"),
    (b"<alice@example.com>\tSIZE=233", "alice@example.com", b"\tSIZE=233"),
    (b"<Alice@EXAMPLE.Com>", "Alice@EXAMPLE.Com", b""),
    (b"<a@b>", "a@b", b""),
    (b"<root>", "root", b""),
    (b"<postmaster>", "postmaster", b""),
    (b"<www-data@web_1>", "www-data@web_1", b""),
    (b"<a.b.c@d.e.f>", "a.b.c@d.e.f", b""),
    (b"<a..b@docomo.example>", "a..b@docomo.example", b""),
    (b"<ab.@docomo.example>", "ab.@docomo.example", b""),
    (b"<a+tag@example.com>", "a+tag@example.com", b""),
    (b"<o'hara@example.com>", "o'hara@example.com", b""),
    (b"<!#$%&'*+-/=?^_`{|}~@x.de>", "!#$%&'*+-/=?^_`{|}~@x.de", b""),
    (b"<bounce=alice=example.com@x.de>", "bounce=alice=example.com@x.de", b""),
    (b"<-x@example.com>", "-x@example.com", b""),
    (b'<"john doe"@example.com>', '"john doe"@example.com', b""),
    (b'<"a@b"@example.com>', '"a@b"@example.com', b""),
    (b'<"a>b"@example.com>', '"a>b"@example.com', b""),
    (b'<"a\\"b"@example.com>', '"a\\"b"@example.com', b""),
    (b'<"a\\\\b"@example.com>', '"a\\\\b"@example.com', b""),
    (b'<""@example.com>', '""@example.com', b""),
    (b'<"plain"@example.com>', '"plain"@example.com', b""),
    (b"<a@[127.0.0.1]>", "a@[127.0.0.1]", b""),
    (b"<a@[255.255.255.255]>", "a@[255.255.255.255]", b""),
    (b"<a@[IPv6:::1]>", "a@[IPv6:::1]", b""),
    (b"<a@[ipv6:2001:DB8::7]>", "a@[ipv6:2001:DB8::7]", b""),
    (b"<a@[IPv6:::ffff:192.0.2.1]>", "a@[IPv6:::ffff:192.0.2.1]", b""),
    (b"<@a.example:user@dom.example>", "user@dom.example", b""),
    (b"<@a,@b:user@dom>", "user@dom", b""),
    (b"<@a.example,@b.example:user@dom> SIZE=1", "user@dom", b" SIZE=1"),
    (b"<=?utf-8?q?alice?=@x.de>", "=?utf-8?q?alice?=@x.de", b""),
    (b"alice@example.com", "alice@example.com", b""),
    (b"alice@example.com SIZE=9", "alice@example.com", b" SIZE=9"),
    ("<jürgen@münchen.example>".encode(), "jürgen@münchen.example", b""),
    ("<用户@例子.example>".encode(), "用户@例子.example", b""),
    ('<"ü ü"@x.de>'.encode(), '"ü ü"@x.de', b""),
    (b"<xn--a@xn--mnchen-3ya.example>", "xn--a@xn--mnchen-3ya.example", b""),
    (b"<1@2.3>", "1@2.3", b""),
    (LONGEST, LONGEST[1:-1].decode(), b""),
    (b"<" + b"l" * 100 + b"@example.com>", "l" * 100 + "@example.com", b""),
]

REFUSED = [
    b"",
    b" ",
    b"<",
    b">",
    b"<<>",
    b"<a",
    b"a>",
    b"<a@>",
    b"<@>",
    b"<@b>",
    b"<@b:>",
    b"<@a,@b:>",
    b"<@a,b:c@d>",
    b"<a@b@c>",
    b"<a b@c>",
    b"< a@b>",
    b"<a@b >",
    b"<a @b>",
    b"<a@b c>",
    b"<a@b>SIZE=1",
    b"<a@b>>",
    b"<a@b>,<c@d>",
    b"<.a@b>",
    b"<a@b.>",
    b"<a@.b>",
    b"<a@b..c>",
    b"<a@-b.c>",
    b"<a@b-.c>",
    b"<a@b/c>",
    b"<a,b@c>",
    b"<a;b@c>",
    b"<;sh;>",
    b"<a:b@c>",
    b"<a(c)@b>",
    b"<a[1]@b>",
    b"<a\\b@c>",
    b"<a\\",
    b'<"a',
    b'<"a@b>',
    b'<"a"b@c>',
    b'<a"b"@c>',
    b'<"a\\"@c>',
    b'<"a"b"@c>',
    b'<"alone">',
    b'<"a\rb"@c>',
    b'<"a\x00b"@c>',
    b'<"a\tb"@c>',
    b'<"a\\\x01b"@c>',
    b"<a\x00@b>",
    b"<a\x01@b>",
    b"<a\x7f@b>",
    b"<a\r@b>",
    b"<a\n@b>",
    b"<a\t@b>",
    b"<a@b\x00>",
    b"<a@[1]>",
    b"<a@[1.2.3]>",
    b"<a@[256.0.0.1]>",
    b"<a@[127.0.0.1>",
    b"<a@[127.0.0.1]x>",
    b"<a@[]>",
    b"<a@[IPv6:]>",
    b"<a@[IPv6:1:2]>",
    b"<a@[IPv6:::g]>",
    b"<a@[::1]>",
    b"<a@[tag:content]>",
    b"<=?utf-8?q?x=0d=0aBcc:y?=@x.de>",
    b"<a@b\xff>",
    b"<\xc3@b>",
    b"<a\xc2\x85b@c>",  # U+0085, a line end to some
    b"<a\xe2\x80\xa8b@c>",  # U+2028
    b"root",
    b"alice@example.com>",
    b"alice@example.com,bob@example.com",
    b"Alice <alice@example.com>",
    b'"Alice" <alice@example.com>',
    b"<mailto:a@b>",
    b"<" + b"a" * (MAX_PATH_BYTES - 6) + b"@b.de>",
    b"<@" + b"r" * 300 + b":a@b>",
    b"a" * 300 + b"@b.de",
]


@pytest.mark.parametrize(("argument", "address", "rest"), TAKEN)
def test_a_path_is_kept_byte_for_byte(argument: bytes, address: str, rest: bytes) -> None:
    assert parse_reverse_path(argument) == (address, rest)
    assert parse_forward_path(argument) == (address, rest)


@pytest.mark.parametrize("argument", REFUSED)
def test_what_is_no_path_is_refused(argument: bytes) -> None:
    with pytest.raises(PathError):
        parse_reverse_path(argument)
    with pytest.raises(PathError):
        parse_forward_path(argument)


@pytest.mark.parametrize("argument", [b"<>", b" <> SIZE=5"])
def test_the_null_path_is_a_sender_and_no_recipient(argument: bytes) -> None:
    assert parse_reverse_path(argument)[0] is None
    with pytest.raises(PathError, match="no recipient"):
        parse_forward_path(argument)


def test_a_long_path_is_told_from_a_malformed_one() -> None:
    with pytest.raises(PathError, match="longer than 256"):
        parse_reverse_path(b"<" + b"a" * 300 + b"@example.com>")


@given(st.binary(max_size=300))
def test_whatever_comes_is_an_address_or_refused(argument: bytes) -> None:
    try:
        address, rest = parse_reverse_path(argument)
    except PathError:
        return
    assert argument.endswith(rest)
    if address is not None:
        assert address.encode() in argument
        assert not {unicodedata.category(char) for char in address} & {"Cc", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (b"", {}),
        (b"  ", {}),
        (b" SIZE=233", {"SIZE": "233"}),
        (b" size=233 body=8bitmime", {"SIZE": "233", "BODY": "8bitmime"}),
        (b" SMTPUTF8", {"SMTPUTF8": None}),
        (b"\tSMTPUTF8  SIZE=1 ", {"SMTPUTF8": None, "SIZE": "1"}),
        (b" AUTH=<>", {"AUTH": "<>"}),
        (b" AUTH=a+3Db@c", {"AUTH": "a+3Db@c"}),
        (b" X-A=b=c", {"X-A": "b=c"}),
        (" X=ü".encode(), {"X": "ü"}),
    ],
)
def test_parameters_are_read_whatever_their_case(
    rest: bytes, expected: dict[str, str | None]
) -> None:
    assert parse_parameters(rest) == expected


@pytest.mark.parametrize(
    "rest",
    [
        b" =",
        b" =1",
        b" SIZE=",
        b" -A",
        b" A_B",
        b" SIZE=1 size=2",
        b" X=\x00",
        b" X=\xff",
        b" \xb2",
    ],
)
def test_malformed_parameters_are_refused(rest: bytes) -> None:
    with pytest.raises(PathError):
        parse_parameters(rest)


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("Alice@Example.COM", "example.com"),
        ('"a@b"@x.de', "x.de"),
        ("root", ""),
        ("a@[IPv6:::1]", "[ipv6:::1]"),
        (None, ""),
    ],
)
def test_an_address_has_a_domain_or_none(address: str | None, domain: str) -> None:
    assert domain_of(address) == domain

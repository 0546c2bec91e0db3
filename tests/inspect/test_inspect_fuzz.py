"""Damaged messages by the thousand: nothing raises, and nothing takes long."""

import random
import time

import pytest

from relay.inspect.assembly import assemble
from relay.inspect.documents import open_documents
from relay.inspect.inspection import Guide, Submission
from relay.policy.classify import classify

RULES = Guide().rules()
LETTER = """From: Anna <anna@example.org>
Subject: =?utf-8?q?Rechnung_4711?=
In-Reply-To: <a@b>
Content-Type: text/plain; charset=utf-8

Rechnung 4711
> Gesamt 1.190,00 EUR
"""
PARTS = """Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/html

<style>a{}</style><p>Your <b>quote</b> <a href=x>View quote</a> &amp;</p>
--b
Content-Type: application/xml; name="a.xml"
Content-Transfer-Encoding: base64

PEludm9pY2U+PElEPjc8L0lEPjwvSW52b2ljZT4=
--b
Content-Type: message/rfc822

Subject: in

This
--b--
"""
SCRIPTS = """Subject: 請求書 ใบแจ้งหนี้ فاتورة

請求書 1 2.50 2.50
ใบแจ้งหนี้ 12
"""
SEEDS = [text.replace("\n", "\r\n").encode() for text in (LETTER, PARTS, SCRIPTS)]
PIECES = [
    b"\r\n--b",
    b"<a ",
    b"<!--",
    b"=?utf-8?b?",
    b"?=",
    b"\0",
    b"((((",
    b'"',
    b";",
    b"Content-Type: multipart/mixed; boundary=b\r\n",
    b"\xff\xfe",
    b"\r\n\r\n",
    b"%PDF-",
    b"PK\x03\x04",
    b"\x78\x9f\x3e\x22",
    b"&#99999999999;",
    b"9" * 50,
    b"1.000,00 ",
    "\u200f".encode(),
]


def damaged(chance: random.Random) -> bytes:
    content = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randint(1, 10)):
        at = chance.randrange(len(content) + 1)
        match chance.randrange(4):
            case 0 if at < len(content):
                content[at] = chance.randrange(256)
            case 1:
                content[at:at] = chance.choice(PIECES) * chance.randint(1, 100)
            case 2:
                del content[at : at + chance.randint(1, 60)]
            case _:
                start = chance.randrange(len(content) + 1)
                content[at:at] = content[start : start + 200]
    return bytes(content)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_messages_are_read_as_far_as_they_go(seed):
    chance = random.Random(seed)
    for _ in range(500):
        content = damaged(chance)
        started = time.process_time()
        evidence = open_documents(assemble(content, len(content), Submission()), content)
        assert classify(evidence, RULES).reasons
        assert time.process_time() - started < 1, content

"""Mail exchangers, asked of a name server on this machine."""

from __future__ import annotations

import asyncio

import dns.message
import dns.rcode
import dns.rrset
import pytest
from dns.asyncresolver import Resolver

from relay.connect.exchangers import mail_exchangers


class NameServer(asyncio.DatagramProtocol):
    """Answers every question with the same records, or with a code."""

    def __init__(self, records: list[str], code: dns.rcode.Rcode) -> None:
        self.records = records
        self.code = code

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = dns.message.from_wire(data)
        answer = dns.message.make_response(question)
        answer.set_rcode(self.code)
        if self.records:
            name = question.question[0].name
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "MX", *self.records))
        self.transport.sendto(answer.to_wire(), addr)


@pytest.mark.parametrize(
    ("records", "code", "expected"),
    [
        (
            ["20 alt1.aspmx.l.google.com.", "10 ASPMX.L.google.com."],
            dns.rcode.NOERROR,
            ("aspmx.l.google.com", "alt1.aspmx.l.google.com"),
        ),
        ([], dns.rcode.NOERROR, ()),
        ([], dns.rcode.NXDOMAIN, ()),
    ],
)
def test_the_preferred_one_comes_first(records, code, expected):
    async def story():
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: NameServer(records, code), ("127.0.0.1", 0)
        )
        resolver = Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = transport.get_extra_info("sockname")[1]
        assert await mail_exchangers("example.com", resolver) == expected
        transport.close()

    asyncio.run(story())


def test_what_is_no_name_has_none():
    async def story():
        resolver = Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        assert await mail_exchangers("a..b", resolver) == ()

    asyncio.run(story())

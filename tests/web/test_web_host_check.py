"""Which Host a request must have, on the wire of the real server; and the fields of every reply."""

from __future__ import annotations

import asyncio

import pytest
from small_house import NAMES, SmallHouse, ask, open_house

from relay.web.connection import SECURITY_FIELDS
from relay.web.host_check import judge

ALLOWED = frozenset(name.encode() for name in NAMES)

HOSTS = [
    pytest.param("localhost", 200, id="localhost"),
    pytest.param("127.0.0.1", 200, id="loopback"),
    pytest.param("[::1]", 200, id="loopback of IPv6"),
    pytest.param("relay.example", 200, id="configured"),
    pytest.param("localhost:8025", 200, id="with port"),
    pytest.param("127.0.0.1:80", 200, id="with another port, as when forwarded"),
    pytest.param("[::1]:8025", 200, id="IPv6 with port"),
    pytest.param("LOCALHOST", 200, id="names have no case"),
    pytest.param("Relay.Example:8025", 200, id="configured, no case, port"),
    pytest.param("127.0.0.1.evil.com", 421, id="begins like loopback"),
    pytest.param("localhost.evil.com", 421, id="begins like localhost"),
    pytest.param("evil.com", 421, id="rebound name"),
    pytest.param("evil.com:8025", 421, id="rebound name with our port"),
    pytest.param("evil-localhost", 421, id="ends like localhost"),
    pytest.param("evil.relay.example", 421, id="below a configured name"),
    pytest.param("localhost.", 421, id="trailing dot"),
    pytest.param("127.0.0.1.", 421, id="trailing dot of an address"),
    pytest.param("127.1", 421, id="short form"),
    pytest.param("127.0.0.2", 421, id="another loopback address"),
    pytest.param("0.0.0.0", 421, id="any address"),
    pytest.param("2130706433", 421, id="address as a number"),
    pytest.param("0x7f000001", 421, id="address in hexadecimal"),
    pytest.param("::1", 421, id="IPv6 without brackets"),
    pytest.param("[::ffff:127.0.0.1]", 421, id="mapped address"),
    pytest.param("[0:0:0:0:0:0:0:1]", 421, id="long form of IPv6"),
    pytest.param("localhost:", 421, id="empty port"),
    pytest.param("localhost:x", 421, id="port that is none"),
    pytest.param("localhost:8025:8025", 421, id="two ports"),
    pytest.param("localhost@evil.com", 421, id="user information"),
    pytest.param("evil.com@localhost", 421, id="user information before"),
    pytest.param("localhost,evil.com", 421, id="list"),
    pytest.param("localhost evil.com", 421, id="blank inside"),
    pytest.param("localhost/", 421, id="slash"),
    pytest.param("", 421, id="empty"),
    pytest.param("localhost%00", 421, id="escaped NUL"),
    pytest.param("a" * 5000, 421, id="endless"),
]


@pytest.mark.parametrize(("host", "status"), HOSTS)
def test_a_host_is_ours_or_not(host: str, status: int) -> None:
    problem = judge([host.encode()], b"/metrics", ALLOWED)
    assert (200 if problem is None else problem.status) == status


def test_the_real_server_judges_as_the_table_does() -> None:
    async def run() -> None:
        async with open_house(SmallHouse()) as server:
            for case in HOSTS:
                host, status = case.values
                request = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
                assert (await ask(server.port, request)).status == status, host

    asyncio.run(run())


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param("GET / HTTP/1.1\r\n", 400, id="missing"),
        pytest.param("GET / HTTP/1.0\r\n", 400, id="missing in 1.0"),
        pytest.param("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", 400, id="double"),
        pytest.param("GET / HTTP/1.0\r\nHost: localhost\r\nHost: evil.com\r\n", 400, id="two"),
        pytest.param("GET / HTTP/1.1\r\nHost: localhost\r\nhost: evil.com\r\n", 400, id="case"),
        pytest.param("GET / HTTP/1.1\r\nHost:localhost\r\n evil.com\r\n", 421, id="folded"),
        pytest.param("GET / HTTP/1.1\r\nHost : localhost\r\n", 400, id="space before colon"),
        pytest.param(
            "GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n", 400, id="absolute form"
        ),
        pytest.param(
            "GET http://evil.com/metrics HTTP/1.1\r\nHost: localhost\r\n", 400, id="absolute, other"
        ),
        pytest.param("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n", 400, id="asterisk form"),
        pytest.param("CONNECT localhost:25 HTTP/1.1\r\nHost: localhost\r\n", 400, id="CONNECT"),
        pytest.param("GET /metrics HTTP/1.1\r\nHost: evil.com\r\n", 421, id="metrics"),
        pytest.param("GET /readyz HTTP/1.1\r\nHost: evil.com\r\n", 421, id="readyz"),
        pytest.param("GET /nothing HTTP/1.1\r\nHost: evil.com\r\n", 421, id="before routing"),
        pytest.param("HEAD / HTTP/1.1\r\nHost: evil.com\r\n", 421, id="HEAD"),
        pytest.param("POST / HTTP/1.1\r\nHost: evil.com\r\n", 421, id="POST"),
        pytest.param("OPTIONS / HTTP/1.1\r\nHost: evil.com\r\n", 421, id="preflight"),
        pytest.param(
            "GET / HTTP/1.1\r\nHost: evil.com\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
            421,
            id="WebSocket",
        ),
        pytest.param(
            "GET / HTTP/1.1\r\nHost: evil.com\r\nX-Forwarded-Host: localhost\r\n",
            421,
            id="forwarded",
        ),
        pytest.param("GET /metrics/ HTTP/1.1\r\nHost: localhost\r\n", 404, id="no redirect"),
        pytest.param("GET /nothing HTTP/1.1\r\nHost: localhost\r\n", 404, id="unknown path"),
        pytest.param("POST /metrics HTTP/1.1\r\nHost: localhost\r\n", 405, id="only reads"),
        pytest.param("DELETE / HTTP/1.1\r\nHost: localhost\r\n", 405, id="never deletes"),
        pytest.param(
            "OPTIONS /metrics HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.com\r\n",
            405,
            id="no CORS",
        ),
        pytest.param("\x16\x03\x01\x02\x00\x01\r\n", 400, id="TLS on a plain port"),
        pytest.param("EHLO localhost\r\n", 400, id="SMTP"),
        pytest.param(f"GET /{'a' * 20000} HTTP/1.1\r\n", 400, id="endless target"),
        pytest.param("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n", 200, id="HEAD of metrics"),
        pytest.param("GET / HTTP/1.1\r\nHost: localhost\r\n", 200, id="summary"),
    ],
)
def test_every_reply_is_right_and_has_the_fields_that_protect(head: str, status: int) -> None:
    async def run() -> None:
        async with open_house(SmallHouse()) as server:
            answer = await ask(server.port, f"{head}\r\n".encode())
        assert answer.status == status
        for name, value in SECURITY_FIELDS:
            assert answer.fields[name.decode()] == value.decode()
        assert "date" in answer.fields
        assert "server" not in answer.fields
        assert not [name for name in answer.fields if name.startswith("access-control-")]

    asyncio.run(run())

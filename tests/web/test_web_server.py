"""What the server bears and what it does not, over real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop
from small_house import SmallHouse, ask, control_of, open_house, read_answer, serving
from starlette.types import Receive, Scope, Send

from relay.observe.events import Crashed, Event
from relay.observe.journal import Journal
from relay.web import connection
from relay.web.connection import MAX_CONNECTIONS
from relay.web.guard import MAX_BODY_BYTES
from relay.web.server import ListenError, Tcp, UnixSocket, WebServer

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def count_body(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the size of the body."""
    size = str(len((await receive())["body"])).encode()
    fields = [(b"content-length", str(len(size)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": size})


async def hang(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def break_down(scope: Scope, receive: Receive, send: Send) -> None:
    raise ZeroDivisionError("secret details")


async def break_off(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
    raise ZeroDivisionError("too late")


def post(size: int, *, declared: bool = True) -> bytes:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
    if declared:
        return head + b"Content-Length: %d\r\n\r\n" % size + b"x" * size
    return (
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("size", "declared", "status"),
    [
        pytest.param(0, True, 200, id="empty"),
        pytest.param(MAX_BODY_BYTES, True, 200, id="as large as may be"),
        pytest.param(MAX_BODY_BYTES, False, 200, id="as large as may be, in chunks"),
        pytest.param(MAX_BODY_BYTES + 1, True, 413, id="one more"),
        pytest.param(MAX_BODY_BYTES + 1, False, 413, id="one more, in chunks"),
    ],
)
def test_a_body_is_bounded(size: int, declared: bool, status: int) -> None:
    async def run() -> None:
        async with serving(count_body) as server:
            answer = await ask(server.port, post(size, declared=declared))
        assert answer.status == status
        if status == 200:
            assert answer.body == str(size).encode()

    asyncio.run(run())


def test_a_large_body_is_refused_before_it_is_sent() -> None:
    async def run() -> None:
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n"
        async with serving(count_body) as server:
            assert (await ask(server.port, head + b"Expect: 100-continue\r\n\r\n")).status == 413

    asyncio.run(run())


def test_a_reply_that_takes_too_long_is_given_up() -> None:
    async def run() -> None:
        async with serving(hang, request_seconds=0.01) as server:
            answer = await ask(server.port, GET)
        assert answer.status == 503
        assert b"longer than 0.01 seconds" in answer.body

    asyncio.run(run())


def test_who_sends_no_request_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECTION_SECONDS", 0.02)

    async def run() -> None:
        async with open_house(SmallHouse()) as server:
            for begin in (b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: localhost\r\n"):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(begin)
                async with asyncio.timeout(5):
                    with suppress(ConnectionResetError):
                        assert await reader.read() == b""
                writer.close()

    asyncio.run(run())


def test_one_connection_too_many_is_told_so_and_the_others_work_on() -> None:
    async def run() -> None:
        async with open_house(SmallHouse()) as server:
            held = [
                await asyncio.open_connection("127.0.0.1", server.port)
                for _ in range(MAX_CONNECTIONS)
            ]
            for reader, writer in held:
                writer.write(GET)
                assert (await read_answer(reader)).status == 200
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            answer = await read_answer(reader)
            assert answer.status == 503
            assert answer.fields["x-content-type-options"] == "nosniff"
            assert await reader.read() == b""
            writer.close()
            held[0][1].write(GET)
            assert (await read_answer(held[0][0])).status == 200
            for _, writer in held:
                writer.close()

    asyncio.run(run())


def test_a_mistake_of_ours_is_told_to_the_owner_and_not_to_the_client() -> None:
    events: list[Event] = []

    async def run() -> None:
        async with serving(break_down, events=events) as server:
            answer = await ask(server.port, GET)
        assert answer.status == 500
        assert b"secret details" not in answer.body

    asyncio.run(run())
    (event,) = events
    assert isinstance(event, Crashed)
    assert "ZeroDivisionError: secret details" in event.detail


def test_a_mistake_in_the_middle_of_a_reply_ends_the_connection() -> None:
    events: list[Event] = []

    async def run() -> None:
        async with serving(break_off, events=events) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(GET)
            async with asyncio.timeout(5):
                assert b"200 OK" in await reader.read()
            writer.close()

    asyncio.run(run())
    assert len(events) == 1


def test_several_requests_on_one_connection_are_answered_in_order() -> None:
    async def run() -> None:
        async with serving(count_body) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(post(3) + post(5) + post(7))
            assert [(await read_answer(reader)).body for _ in range(3)] == [b"3", b"5", b"7"]
            writer.close()

    asyncio.run(run())


def test_rubbish_behind_a_request_does_not_spoil_its_reply() -> None:
    async def run() -> None:
        async with serving(count_body) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(post(3) + b"\x00\x00\r\n\r\n")
            assert (await read_answer(reader)).body == b"3"
            assert (await read_answer(reader)).status == 400
            writer.close()

    asyncio.run(run())


def test_signals_stay_with_the_house() -> None:
    async def run() -> None:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        async with open_house(SmallHouse()) as server:
            await ask(server.port, GET)
            now = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        assert now == before

    asyncio.run(run())


def test_closing_waits_for_a_reply_that_is_being_made() -> None:
    async def run() -> None:
        entered, may_end = asyncio.Event(), asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            entered.set()
            await may_end.wait()
            await count_body(scope, receive, send)

        server = WebServer(slow, Tcp("127.0.0.1", 0), Journal())
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(post(4))
        await entered.wait()
        closing = asyncio.create_task(server.close())
        assert await idle_reader.read() == b""
        may_end.set()
        assert (await read_answer(reader)).body == b"4"
        await closing
        writer.close()
        idle_writer.close()

    asyncio.run(run())


def test_it_runs_in_uvloop_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_house(SmallHouse()) as server:
            assert (await ask(server.port, GET)).status == 200
        async with control_of(SmallHouse(), tmp_path) as path:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(GET.replace(b"/healthz", b"/status"))
            assert (await read_answer(reader)).status == 200
            writer.close()
        assert not path.exists()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def test_an_address_in_use_is_named_with_what_to_do() -> None:
    async def run() -> None:
        async with open_house(SmallHouse()) as first:
            second = WebServer(count_body, Tcp("127.0.0.1", first.port), Journal())
            with pytest.raises(ListenError) as error:
                await second.start()
            await second.close()
            assert str(error.value) == (
                f"cannot listen on 127.0.0.1:{first.port}: another program listens there; "
                "stop it, or set another http.address"
            )

    asyncio.run(run())


def test_an_address_of_another_machine_is_named_too() -> None:
    async def run() -> None:
        with pytest.raises(ListenError, match=r"^cannot listen on \[2001:db8::1\]:8025: .*; set "):
            await WebServer(count_body, Tcp("2001:db8::1", 8025), Journal()).start()

    asyncio.run(run())


def test_the_control_socket_is_for_its_owner_only_from_the_first_moment(tmp_path: Path) -> None:
    async def run() -> None:
        old = os.umask(0)
        try:
            async with control_of(SmallHouse(), tmp_path / "state") as path:
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
                assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        finally:
            os.umask(old)
        assert not path.exists()

    asyncio.run(run())


def test_a_socket_that_a_dead_relay_left_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "control.sock"))
    left.close()

    async def run() -> None:
        async with control_of(SmallHouse(), tmp_path) as path:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(GET.replace(b"/healthz", b"/status"))
            assert (await read_answer(reader)).status == 200
            writer.close()

    asyncio.run(run())


def test_a_socket_of_a_living_relay_is_not(tmp_path: Path) -> None:
    async def run() -> None:
        async with control_of(SmallHouse(), tmp_path) as path:
            with pytest.raises(ListenError, match="another relay runs with this state_dir; stop"):
                await WebServer(count_body, UnixSocket(path), Journal()).start()
            assert path.is_socket()

    asyncio.run(run())


@pytest.mark.parametrize("name", ["x" * 120, "file/control.sock"])
def test_a_path_that_cannot_be_a_socket_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("not a folder")

    async def run() -> None:
        with pytest.raises(ListenError, match="give state_dir a folder that this user may write"):
            await WebServer(count_body, UnixSocket(tmp_path / name), Journal()).start()

    asyncio.run(run())

"""The command line's client and the real control socket, round and round."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_house import FIRST, HOSTILE, PAUSED, PROPOSED, SECOND, SmallHouse, control_of, serving

from relay.observe.events import Crashed, Event
from relay.policy.accounting import State
from relay.policy.kinds import Kind
from relay.queue.store import Selection
from relay.web.client import ControlClient, ControlError, NotRunning
from relay.web.control import control_app
from relay.web.server import UnixSocket


def talk(house: SmallHouse, folder: Path, say: Callable[[ControlClient], Any]) -> Any:
    """Run `say` in a thread, as another process would, while the house is open."""

    async def run() -> Any:
        async with control_of(house, folder) as path:
            return await asyncio.to_thread(say, ControlClient(path))

    return asyncio.run(run())


def test_status_has_everything_that_is_shown(tmp_path: Path) -> None:
    answer = talk(SmallHouse(health=PAUSED, not_ready=("full",)), tmp_path, ControlClient.status)
    assert answer["status"] == {
        "version": "1.0",
        "settings": "rehearsal",
        "rehearsal": True,
        "started_at": "2026-03-01T12:00:00Z",
        "listeners": ["127.0.0.1:2525"],
        "http": None,
    }
    assert answer["not_ready"] == ["full"]
    snapshot = answer["snapshot"]
    assert snapshot["accounting"]["difference"] == 0
    assert snapshot["accounting"]["states"]["deferred"] == 1
    (channel,) = snapshot["channels"]
    assert channel["health"]["state"] == "paused"
    assert channel["health"]["reply"] == HOSTILE  # whoever shows it escapes it
    assert channel["usage"] == [
        {
            "limit": {
                "unit": "recipients",
                "maximum": 500,
                "per_seconds": 86400.0,
                "name": "500 recipients per 24h",
            },
            "used": 3,
            "room_at": None,
        }
    ]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        pytest.param({}, [FIRST, SECOND], id="all"),
        pytest.param({"state": "held"}, [SECOND], id="by state"),
        pytest.param({"kind": "invoice"}, [FIRST], id="by kind"),
        pytest.param({"channel": "native"}, [], id="by channel"),
        pytest.param({"channel": "direct", "limit": 1}, [FIRST], id="the first"),
        pytest.param({"recipient": "bob@example.net"}, [FIRST, SECOND], id="by recipient"),
    ],
)
def test_the_queue_is_listed(tmp_path: Path, asked: dict[str, Any], found: list[str]) -> None:
    rows = talk(SmallHouse(), tmp_path, lambda client: client.queue(**asked))
    assert [row["queue_id"] for row in rows] == found
    for row in rows:
        assert row["subject"] == HOSTILE
        assert row["due_at"] == "2026-03-01T12:05:00Z"


def test_a_message_is_shown_whatever_the_case_of_its_id(tmp_path: Path) -> None:
    row = talk(SmallHouse(), tmp_path, lambda client: client.message(FIRST.lower()))
    assert row["queue_id"] == FIRST
    assert row["envelope"]["reverse_path"] is None
    assert row["reasons"] == [{"where": "Subject", "what": "'Rechnung'"}]
    assert [each["state"] for each in row["recipients"]] == ["deferred"]


@pytest.mark.parametrize("verb", ["retry", "hold", "release", "drop"])
def test_an_action_reaches_what_it_names(tmp_path: Path, verb: str) -> None:
    house = SmallHouse()
    count = talk(house, tmp_path, lambda client: getattr(client, verb)([FIRST.lower()]))
    assert count == 1
    assert house.acts == [(verb, Selection(queue_ids=(FIRST,)))]


def test_an_action_on_all_of_one_state(tmp_path: Path) -> None:
    house = SmallHouse()
    talk(
        house,
        tmp_path,
        lambda client: client.release(all_in="held", kind="marketing", recipient="bob@example.net"),
    )
    assert house.acts == [
        (
            "release",
            Selection(forward_path="bob@example.net", state=State.HELD, kind=Kind.MARKETING),
        )
    ]


def test_what_was_told_wrong_is_corrected(tmp_path: Path) -> None:
    house = SmallHouse(proposed=(PROPOSED,))

    def say(client: ControlClient) -> tuple[Any, Any]:
        return client.correct([FIRST.lower(), SECOND], "quote"), client.corrections()

    done, (proposal,) = talk(house, tmp_path, say)
    assert done == {"messages": 2, "recipients": 2}
    assert house.acts == [("correct", ((FIRST, SECOND), Kind.QUOTE))]
    assert (proposal["kind"], proposal["corrected"], proposal["changes"]) == ("quote", 1, 0)
    assert proposal["rule"] == PROPOSED.rule
    assert proposal["examples"][0]["found"] == "direct"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"ids": [FIRST]}, "A correction names messages and their kind."),
        ({"kind": "quote"}, "A correction names messages and their kind."),
        ({"ids": [FIRST], "kind": "bill"}, "`kind` is 'bill'."),
        ({"ids": FIRST, "kind": "quote"}, "`ids` is not a list"),
        ({"ids": [FIRST], "kind": "quote", "all_in": "held"}, "`all_in` is not known here."),
    ],
)
def test_a_correction_names_messages_and_a_kind(
    tmp_path: Path, body: dict[str, Any], error: str
) -> None:
    house = SmallHouse()
    with pytest.raises(ControlError) as raised:
        talk(house, tmp_path, lambda client: client._ask("POST", "/queue/correct", body))
    assert error in raised.value.error
    assert house.acts == []


def test_channels_are_stopped_and_resumed(tmp_path: Path) -> None:
    def say(client: ControlClient) -> list[str]:
        return [client.stop("direct"), client.resume("direct"), client.reload()]

    said = talk(SmallHouse(), tmp_path, say)
    assert said == ["direct is stopped", "direct sends again", "nothing changed"]


@pytest.mark.parametrize(
    ("say", "error", "fix"),
    [
        pytest.param(
            lambda client: client.retry(),
            "Nothing is selected.",
            'Send {"ids": [...]} or {"all_in": state}, and if needed "recipient", "channel", '
            '"kind".',
            id="nothing is never everything",
        ),
        pytest.param(
            lambda client: client.drop(recipient="bob@example.net"),
            "Nothing is selected.",
            "",
            id="a recipient alone",
        ),
        pytest.param(
            lambda client: client.retry(["nonsense"]),
            "a queue id has 13 characters, 'nonsense' has 8.",
            "Take the id from the reply to the application, the log or `relay queue list`.",
            id="not an id",
        ),
        pytest.param(
            lambda client: client.message("../../etc/passwd"), "a queue id", "", id="a path"
        ),
        pytest.param(
            lambda client: client.message("0000000000000"),
            "No message 0000000000000 is known.",
            "",
            id="unknown message",
        ),
        pytest.param(
            lambda client: client.queue(state="lost"),
            "`state` is 'lost'.",
            "Give one of: deferred, dropped, failed, held, in_doubt, queued, sending, sent.",
            id="unknown state",
        ),
        pytest.param(
            lambda client: client.queue(limit=0), "`limit` is '0'.", "Give a number", id="no rows"
        ),
        pytest.param(
            lambda client: client.hold(all_in="held", kind="spam"), "`kind` is", "", id="kind"
        ),
        pytest.param(
            lambda client: client.stop("x/../y"),
            "There is no channel 'x/../y'.",
            "Give one of: direct.",
            id="unknown channel",
        ),
        pytest.param(
            lambda client: client._ask("POST", "/status"),
            "POST /status: Method Not Allowed.",
            "",
            id="wrong method",
        ),
        pytest.param(
            lambda client: client._ask("GET", "/no\x7fthing?"), "", "", id="not even a request"
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(
    tmp_path: Path, say: Callable[[ControlClient], Any], error: str, fix: str
) -> None:
    with pytest.raises(ControlError) as raised:
        talk(SmallHouse(), tmp_path, say)
    assert error in raised.value.error
    assert fix in raised.value.fix


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        pytest.param("text/plain", b'{"ids": []}', 415, id="not declared to be JSON"),
        pytest.param("application/json", b"{", 400, id="not JSON"),
        pytest.param("application/json", b"\xff", 400, id="not UTF-8"),
        pytest.param("application/json", b"[" * 60000, 400, id="nested too deep"),
        pytest.param("application/json", b"[]", 400, id="a list"),
        pytest.param("application/json", b'{"ids": "01ABCDEFGHJKM"}', 400, id="ids no list"),
        pytest.param("application/json", b'{"ids": [1]}', 400, id="id no string"),
        pytest.param("application/json", b'{"all_in": true}', 400, id="state no string"),
        pytest.param("application/json", b'{"all_in": "held", "recipient": 5}', 400, id="number"),
        pytest.param("application/json", b'{"all_in": "held", "extra": 1}', 400, id="unknown key"),
        pytest.param("application/json; charset=utf-8", b'{"all_in": "held"}', 200, id="right"),
        pytest.param("application/json", b'{"ids": ["%s"]}' % (b"0" * 70000), 413, id="too large"),
    ],
)
def test_bodies_of_other_clients(
    tmp_path: Path, content_type: str, body: bytes, status: int
) -> None:
    house = SmallHouse()

    def say(path: Path) -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection("localhost", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        connection.request("POST", "/queue/drop", body, {"Content-Type": content_type})
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    async def run() -> tuple[int, dict[str, str]]:
        async with control_of(house, tmp_path) as path:
            return await asyncio.to_thread(say, path)

    got, answer = asyncio.run(run())
    assert got == status
    assert bool(house.acts) == (status == 200)
    if status != 200:
        assert answer["error"]
        assert answer["fix"]


def test_a_store_that_does_not_answer_is_said(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="The queue does not answer: disk I/O error"):
        talk(SmallHouse(store_down=True), tmp_path, ControlClient.queue)


def test_settings_with_mistakes_are_not_taken(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match=r"relay\.yaml:3") as raised:
        talk(SmallHouse(not_ready=("reload",)), tmp_path, ControlClient.reload)
    assert raised.value.fix == "Mend the settings."


def test_nobody_there_is_told_from_everything_else(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match=r"no relay is running: nobody answers on .*control.sock"):
        ControlClient(tmp_path / "control.sock").status()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "control.sock"))
    left.close()
    with pytest.raises(NotRunning):
        ControlClient(tmp_path / "control.sock").status()


def test_a_relay_that_breaks_off_is_an_error_in_words(tmp_path: Path) -> None:
    async def run() -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        path = tmp_path / "control.sock"
        server = await asyncio.start_unix_server(hang_up, path)
        with pytest.raises(ControlError, match="relay broke off"):
            await asyncio.to_thread(ControlClient(path).status)
        server.close()
        await server.wait_closed()

    asyncio.run(run())


def test_a_mistake_in_the_house_is_told_and_its_details_are_not_sent(tmp_path: Path) -> None:
    class BrokenHouse(SmallHouse):
        async def reload(self) -> str:
            raise ZeroDivisionError("secret details")

    events: list[Event] = []

    async def run() -> None:
        path = tmp_path / "control.sock"
        async with serving(control_app(BrokenHouse()), UnixSocket(path), events):
            with pytest.raises(ControlError, match=r"^relay made a mistake\. The log has"):
                await asyncio.to_thread(ControlClient(path).reload)

    asyncio.run(run())
    (event,) = events
    assert isinstance(event, Crashed)
    assert "ZeroDivisionError: secret details" in event.detail

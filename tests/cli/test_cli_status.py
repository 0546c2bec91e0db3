"""`relay status` in words and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from commanding import Terminal
from conftest import Serve
from small_house import NOON, PAUSED, SmallHouse

from relay.observe.snapshot import Snapshot
from relay.policy.accounting import Accounting, State
from relay.policy.limits import Lesson, Limit, Unit, Usage


def test_what_runs_is_told(relay: Terminal, serve: Serve) -> None:
    serve(SmallHouse())
    said = relay("status")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[:3] == [
        "relay 1.0, running for a moment",
        "REHEARSAL: nothing leaves this machine, mail is filed as .eml.",
        "takes mail at  127.0.0.1:2525",
    ]
    assert "direct   sends  500 recipients per 24h  3/500  now   mail:25" in lines
    assert "deferred           1  now" in lines
    assert lines[-1] == "2 recipients accepted since this queue was made"


def test_a_paused_channel_says_why_and_what_to_do(relay: Terminal, serve: Serve) -> None:
    until = NOON + timedelta(minutes=12)
    since = NOON - timedelta(hours=2)
    serve(SmallHouse(health=replace(PAUSED, until=until, since=since, failures=3, reply="535 no")))
    out = relay("status").out
    assert (
        "direct is paused: The password is wrong.\n"
        "  since  2 hours ago, 3 failures in a row\n"
        "  next   one message tries it in 12 minutes\n"
        "  said   535 no\n"
        "  to do  Set it anew.\n"
    ) in out


@dataclass
class FullHouse(SmallHouse):
    """Its limits are used up, and its sum is wrong."""

    async def snapshot(self) -> Snapshot:
        snapshot = await super().snapshot()
        (channel,) = snapshot.channels
        room_at = NOON + timedelta(minutes=90)
        limits = (
            Usage(Limit(Unit.MESSAGES, 1, timedelta(seconds=1)), 0, None),
            Usage(
                Limit(Unit.RECIPIENTS, 500, timedelta(days=1)),
                500,
                room_at,
                Lesson("500 recipients per 24h", 412, NOON - timedelta(hours=2), room_at),
            ),
        )
        return replace(
            snapshot,
            accounting=Accounting(3, {State.QUEUED: 1, State.IN_DOUBT: 1}),
            channels=(replace(channel, usage=limits, throttled_until=room_at),),
        )


def test_limits_say_when_there_is_room(relay: Terminal, serve: Serve) -> None:
    serve(FullHouse())
    lines = relay("status").out.splitlines()
    first = next(line for line in lines if line.startswith("direct"))
    second = lines[lines.index(first) + 1]
    assert first.split() == [
        "direct",
        "full",
        "1",
        "message",
        "per",
        "1s",
        "0/1",
        "now",
        "mail:25",
    ]
    assert "500/500  in 1 hour 30 minutes" in second
    assert "direct was refused more at 412 of 500 recipients per 24h, 2 hours ago" in lines
    assert any("set this limit to 412" in line for line in lines)
    assert any(line.startswith("THE SUM IS WRONG by 1:") for line in lines)


def test_relay_that_cannot_take_mail_ends_with_1(relay: Terminal, serve: Serve) -> None:
    serve(SmallHouse(not_ready=("the disk is full",)))
    said = relay("status", "--json")
    assert said.code == 1
    assert said.json["not_ready"] == ["the disk is full"]
    assert "It cannot take mail now: the disk is full" in relay("status").out

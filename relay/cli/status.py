"""`relay status`: how the running relay, its channels and its queue stand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import typer

from relay.cli.config import Config
from relay.cli.daemon import Json, running_relay, when_room
from relay.cli.exits import Exit
from relay.cli.terminal import Styled, Words, say, say_json, show_table
from relay.cli.words import count, due, parse_time, span, when

_STYLES = {"sends": "green", "full": "yellow", "paused": "bold red", "stopped": "bold yellow"}
_ALARMING = frozenset({"held", "in_doubt", "failed"})


def status(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say it as one JSON object.")] = False,
) -> None:
    """Say how relay stands: channels, limits, queue.

    Ends with 1 when relay runs but cannot take mail.
    """
    with running_relay(config) as relay:
        answer = relay.status()
    if as_json:
        say_json(answer)
    else:
        _show(answer)
    if answer["not_ready"]:
        raise typer.Exit(Exit.NOT_DONE)


def _show(answer: Json) -> None:
    snapshot = answer["snapshot"]
    now = parse_time(snapshot["now"])
    _show_run(answer, now)
    say()
    _show_channels(snapshot["channels"], now)
    say()
    _show_queue(snapshot, now)


def _show_run(answer: Json, now: datetime) -> None:
    run = answer["status"]
    up = span(now - parse_time(run["started_at"]))
    source = "" if run["settings"] == "rehearsal" else f", settings {run['settings']}"
    say(Styled(f"relay {run['version']}", "bold"), f", running for {up}{source}")
    if run["rehearsal"]:
        say(Styled("REHEARSAL: nothing leaves this machine, mail is filed as .eml.", "bold yellow"))
    say("takes mail at  ", ", ".join(run["listeners"]) or Styled("nowhere", "bold red"))
    if run["http"]:
        say(f"tells at       http://{run['http']}/metrics")
    for why in answer["not_ready"]:
        say(Styled(f"It cannot take mail now: {why}", "bold red"))


def _show_channels(channels: list[Json], now: datetime) -> None:
    rows: list[tuple[Words, ...]] = []
    for channel in channels:
        limits = list(_limits(channel, now)) or [("none", "", "")]
        state = _state(channel)
        first: tuple[Words, ...] = (channel["name"], Styled(state, _STYLES[state]))
        for limit in limits:
            rows.append((*first, *limit, channel["upstream"]))
            first = (channel["name"], "")
    show_table(("CHANNEL", "STATE", "LIMIT", "USED", "ROOM", "UPSTREAM"), rows, right="USED")
    for channel in channels:
        _explain(channel, now)


def _state(channel: Json) -> str:
    state = channel["health"]["state"]
    if state != "open":
        return str(state)
    return "full" if when_room(channel) else "sends"


def _limits(channel: Json, now: datetime) -> Iterator[tuple[str, str, str]]:
    for usage in channel["usage"]:
        limit = usage["limit"]
        room = due(parse_time(usage["room_at"]), now) if usage["room_at"] else "now"
        yield limit["name"], f"{usage['used']}/{limit['maximum']}", room


def _explain(channel: Json, now: datetime) -> None:
    """Say why a channel does not send, and what to do."""
    name, health = channel["name"], channel["health"]
    if channel.get("connected_at"):
        at = when(parse_time(channel["connected_at"]), now)
        say(f"{name} was connected by `relay connect` {at}: its server and account are those kept.")
    if health["state"] == "stopped":
        say()
        say(Styled(f"{name} was stopped by {health['by']} ", "bold yellow"), _when(health, now))
        say(f"  to do  `relay channel resume {name}`")
    if health["state"] == "paused":
        say()
        say(Styled(f"{name} is paused: ", "bold red"), health["cause"])
        say(f"  since  {_when(health, now)}, {count(health['failures'], 'failure')} in a row")
        say(f"  next   one message tries it {due(parse_time(health['until']), now)}")
        say(f"  said   {health['reply']}")
        say(f"  to do  {health['fix']}")
        say(f"         `relay channel resume {name}` tries it at once")
    for usage in channel["usage"]:
        if usage["lesson"]:
            _propose(name, usage, now)


def _propose(name: str, usage: Json, now: datetime) -> None:
    """Say what the provider allowed less than the settings, and what to do."""
    lesson, limit = usage["lesson"], usage["limit"]
    counted, maximum = lesson["counted"], limit["maximum"]
    if counted >= maximum:
        return
    refused = f"{name} was refused more at {counted} of {limit['name']}"
    say()
    say(Styled(refused, "bold yellow"), f", {when(parse_time(lesson['at']), now)}")
    if counted * 2 < maximum:
        say("  to do  nothing, if other programs or devices send by the same mailbox")
    else:
        say(f"  to do  set this limit to {counted} in the settings, or leave it if that was once")


def _show_queue(snapshot: Json, now: datetime) -> None:
    accounting = snapshot["accounting"]
    oldest: dict[str, datetime] = {}
    for depth in snapshot["depths"]:
        if depth["oldest_at"]:
            at = parse_time(depth["oldest_at"])
            oldest[depth["state"]] = min(at, oldest.get(depth["state"], at))
    show_table(
        ("STATE", "RECIPIENTS", "OLDEST"),
        [
            _queue_row(state, number, oldest.get(state), now)
            for state, number in accounting["states"].items()
        ],
        right="RECIPIENTS",
    )
    say(f"{count(accounting['accepted'], 'recipient')} accepted since this queue was made")
    if difference := accounting["difference"]:
        words = f"THE SUM IS WRONG by {difference}: a recipient is in no state, or in two."
        say(Styled(words, "bold red"), " Please report it, with the log.")


def _queue_row(
    state: str, number: int, oldest: datetime | None, now: datetime
) -> tuple[Words, ...]:
    style = "yellow" if number and state in _ALARMING else ""
    return Styled(state, style), Styled(str(number), style), when(oldest, now) if oldest else ""


def _when(health: Json, now: datetime) -> str:
    return when(parse_time(health["since"]), now)

"""The running relay, as commands ask it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.config import Config, end_with_mistakes
from relay.cli.exits import Exit, fail
from relay.cli.terminal import say
from relay.cli.words import due, parse_time

if TYPE_CHECKING:
    from relay.web.client import ControlClient

Json = dict[str, Any]

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the channel.")]

SOCKET_NAME = "control.sock"  # relay.web.control.SOCKET_NAME, which would bring the web server
_START = "Start it with `relay run`, or `systemctl start relay`."
_OTHER = "If it runs with other settings, name them: --config PATH or $RELAY_CONFIG."


@contextmanager
def running_relay(config: Path | None) -> Iterator[ControlClient]:
    """Give a client; ends with what is wrong when relay does not run or does not do it."""
    from relay.settings.mistakes import SettingsError
    from relay.settings.place import state_dir
    from relay.web.client import ControlClient, ControlError, NotRunning

    try:
        yield ControlClient(state_dir(config, os.environ) / SOCKET_NAME)
    except SettingsError as error:
        end_with_mistakes(error)
    except NotRunning as error:
        fail(
            f"No relay is running: nobody answers on {error.socket_path}.",
            f"{_START}\n{_OTHER}",
            Exit.UNAVAILABLE,
        )
    except ControlError as error:
        fail(error.error, error.fix, Exit.NOT_DONE)


def why_closed(channel: Json, now: datetime) -> str:
    """Return why a channel does not send now, and until when; "" if it does."""
    health = channel["health"]
    match health["state"]:
        case "stopped":
            return f"stopped by {health['by']}"
        case "paused":
            again = due(parse_time(health["until"]), now)
            return f"paused, tried again {again}: {health['cause']}"
    room_at = when_room(channel)
    return f"at its limit, room {due(room_at, now)}" if room_at else ""


def when_room(channel: Json) -> datetime | None:
    """Return when the next message fits into all limits of a channel, None for now."""
    times = [channel["throttled_until"], *(usage["room_at"] for usage in channel["usage"])]
    return max((parse_time(time) for time in times if time), default=None)


def utc_now() -> datetime:
    """Return the time, aware, UTC."""
    return datetime.now(UTC)


def stop(channel: Name, config: Config = None) -> None:
    """Stop a channel until it is resumed.

    Mail for it waits; what matters takes another one if its plan has one.
    """
    with running_relay(config) as relay:
        say(relay.stop(channel))


def resume(channel: Name, config: Config = None) -> None:
    """Let a stopped or paused channel send at once."""
    with running_relay(config) as relay:
        say(relay.resume(channel))


def reload(config: Config = None) -> None:
    """Let the running relay read its settings anew.

    With mistakes in them it keeps the old ones, says so, and this ends with 1.
    """
    with running_relay(config) as relay:
        say(relay.reload())

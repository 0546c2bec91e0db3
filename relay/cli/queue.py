"""`relay queue`: what waits and what became of it, and what a person does about it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.config import Config
from relay.cli.daemon import Json, running_relay, utc_now, why_closed
from relay.cli.exits import Exit, fail
from relay.cli.message import show_message, state_style
from relay.cli.terminal import Styled, Words, clean, is_narrow, say, say_json, show_table
from relay.cli.words import count, due, parse_time, when
from relay.policy.accounting import WAITING, State
from relay.policy.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_STATES, _KINDS = ", ".join(State), ", ".join(Kind)
StateOption = Annotated[
    State | None,
    typer.Option("--state", metavar="STATE", help=f"Only in this state: {_STATES}."),
]
ChannelOption = Annotated[
    str | None, typer.Option("--channel", metavar="NAME", help="Only for this channel.")
]
KindOption = Annotated[
    Kind | None, typer.Option("--kind", metavar="KIND", help=f"Only of this kind: {_KINDS}.")
]
RecipientOption = Annotated[
    str | None, typer.Option("--recipient", metavar="ADDRESS", help="Only for this address.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Say it as JSON.")]
Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Messages, from the reply or `relay queue list`."),
]
All = Annotated[bool, typer.Option("--all", help="Everything that it can be done to.")]

_UNFINISHED = [state for state in State if state in WAITING or state is State.HELD]
_WAITING = [state for state in State if state in WAITING]
_HEADS = ("ID", "STATE", "KIND", "CHANNEL", "RECIPIENT", "WHEN", "SUBJECT")
_WIDE = 120  # columns that a line of the list needs
_MAX_IDS = 1000  # of one request

app = typer.Typer(
    name="queue",
    help="See what waits and what became of it; retry, hold, release, drop, correct.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_queue(
    config: Config = None,
    state: StateOption = None,
    channel: ChannelOption = None,
    kind: KindOption = None,
    recipient: RecipientOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List recipients, the newest message first."""
    with running_relay(config) as relay:
        rows = relay.queue(
            state=state, channel=channel, kind=kind, recipient=recipient, limit=limit
        )
    if as_json:
        say_json(rows)
        return
    if not rows:
        _say_nothing_fits(state, channel, kind, recipient)
    elif is_narrow(_WIDE):
        _stack(map(_row, rows))
    else:
        show_table(_HEADS, map(_row, rows))
    if len(rows) == limit:
        typer.echo(f"These are the newest {limit}; there may be more (--limit).", err=True)


def _say_nothing_fits(*filters: str | None) -> None:
    """Say on standard error that a list is empty."""
    fits = " that fits" if any(filters) else ""
    typer.echo(f"There is nothing in the queue{fits}.", err=True)


def _stack(rows: Iterable[tuple[Words, ...]]) -> None:
    """Write two lines for each row, as it is too long for one."""
    for queue_id, state, kind, channel, recipient, time, subject in rows:
        say(queue_id, "  ", state, f"  {kind}  {channel}  {time}")
        say(f"    {recipient}  {subject}")


def _row(row: Json) -> tuple[Words, ...]:
    now = utc_now()
    if row["due_at"]:
        time = due(parse_time(row["due_at"]), now)
    elif row["finished_at"]:
        time = when(parse_time(row["finished_at"]), now)
    else:
        time = ""
    return (
        Styled(row["queue_id"], "bold"),
        Styled(row["state"], state_style(row["state"])),
        row["kind"],
        row["channel"],
        row["forward_path"],
        time,
        row["subject"],
    )


@app.command()
def show(
    queue_id: Annotated[str, typer.Argument(metavar="ID", help="From the reply or the list.")],
    config: Config = None,
    as_json: JsonOption = False,
) -> None:
    """Show a message: what it is, where it goes, why it waits.

    With the history of all attempts in the words of the servers.
    """
    with running_relay(config) as relay:
        message = relay.message(queue_id)
        if as_json:
            say_json(message)
            return
        channels = relay.status()["snapshot"]["channels"]
    now = utc_now()
    closed = {channel["name"]: why_closed(channel, now) for channel in channels}
    show_message(message, closed, now)


@app.command()
def retry(
    ids: Ids = None,
    config: Config = None,
    everything: All = False,
    state: StateOption = None,
    channel: ChannelOption = None,
    kind: KindOption = None,
    recipient: RecipientOption = None,
) -> None:
    """Try now what waits for its time.

    With its ID or --state failed also what failed, while its content is kept.
    Limits hold, and a paused or stopped channel stays so.
    """
    chosen = _Chosen(ids, everything, state, channel, kind, recipient)
    with running_relay(config) as relay:
        _finish(chosen.act(relay.retry, _WAITING), "due now")


@app.command()
def hold(
    ids: Ids = None,
    config: Config = None,
    everything: All = False,
    state: StateOption = None,
    channel: ChannelOption = None,
    kind: KindOption = None,
    recipient: RecipientOption = None,
) -> None:
    """Hold what waits, until it is released."""
    chosen = _Chosen(ids, everything, state, channel, kind, recipient)
    with running_relay(config) as relay:
        _finish(chosen.act(relay.hold, _WAITING), "held")


@app.command()
def release(
    ids: Ids = None,
    config: Config = None,
    everything: All = False,
    state: StateOption = None,
    channel: ChannelOption = None,
    kind: KindOption = None,
    recipient: RecipientOption = None,
) -> None:
    """Let go what is held; it is sent now."""
    chosen = _Chosen(ids, everything, state, channel, kind, recipient)
    with running_relay(config) as relay:
        _finish(chosen.act(relay.release, [State.HELD]), "released")


@app.command()
def drop(
    ids: Ids = None,
    config: Config = None,
    everything: All = False,
    state: StateOption = None,
    channel: ChannelOption = None,
    kind: KindOption = None,
    recipient: RecipientOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Throw away what waits or is held.

    Nobody gets it, and no report is sent. On a terminal it asks before.
    """
    chosen = _Chosen(ids, everything, state, channel, kind, recipient)
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Throw away {chosen}, for good?", abort=True)
    with running_relay(config) as relay:
        _finish(chosen.act(relay.drop, _UNFINISHED), "dropped")


@app.command()
def correct(
    ids: Annotated[
        list[str],
        typer.Argument(metavar="ID...", help="Messages, from the reply or `relay queue list`."),
    ],
    kind: Annotated[Kind, typer.Option("--kind", metavar="KIND", help=f"What they are: {_KINDS}.")],
    config: Config = None,
) -> None:
    """Say what messages are when relay told it wrong.

    What of them waits goes the way of its kind at once; what is held stays held.
    `relay corrections` then proposes rules for the mail to come.
    """
    messages = recipients = 0
    with running_relay(config) as relay:
        for at in range(0, len(ids), _MAX_IDS):
            done = relay.correct(ids[at : at + _MAX_IDS], kind)
            messages += done["messages"]
            recipients += done["recipients"]
    if not messages:
        fail("None of these messages is known.", "`relay queue list` has the ids.", Exit.NOT_DONE)
    again = f"; {count(recipients, 'recipient')} planned again" if recipients else ""
    say(f"{count(messages, 'message')} of kind {kind} now{again}")


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What an action is for: messages by id, or all that its filters leave."""

    ids: list[str] | None
    everything: bool
    state: State | None
    channel: str | None
    kind: Kind | None
    recipient: str | None

    def __post_init__(self) -> None:
        """Refuse what says nothing, or two things."""
        if self.ids and self.everything:
            raise typer.BadParameter("give IDs or --all, not both")
        if not self.ids and not self.everything and not any(self._filters()):
            raise typer.BadParameter("say which: IDs, --all, or a filter such as --channel")

    def __str__(self) -> str:
        """Return it in words."""
        what = ", ".join(self.ids) if self.ids else "everything"
        filters = ", ".join(filter(None, self._filters()))
        return clean(f"{what} ({filters})" if filters else what)

    def act(self, verb: Callable[..., int], states: Iterable[State]) -> int:
        """Do `verb` to it; without ids in `states`, unless one is named."""
        which = {"channel": self.channel, "kind": self.kind, "recipient": self.recipient}
        if self.ids:
            parts = [self.ids[at : at + _MAX_IDS] for at in range(0, len(self.ids), _MAX_IDS)]
            return sum(verb(part, all_in=self.state, **which) for part in parts)
        named = [self.state] if self.state else states
        return sum(verb(all_in=state, **which) for state in named)

    def _filters(self) -> tuple[str | None, ...]:
        return self.state, self.channel, self.kind, self.recipient


def _finish(recipients: int, done: str) -> None:
    if recipients:
        say(f"{count(recipients, 'recipient')} {done}")
    else:
        fail(
            "Nothing fits, or nothing that fits is in a state for it.",
            "`relay queue list` shows what is there.",
            Exit.NOT_DONE,
        )

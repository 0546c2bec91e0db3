"""`relay connect`: tries an account as mail would use it, and lets the channel use it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from relay.cli.account import candidate_of, password_of, run, security_of
from relay.cli.by_token import forget_token, keep_token, signed_in, with_tokens
from relay.cli.config import Config, read_settings
from relay.cli.daemon import SOCKET_NAME, utc_now
from relay.cli.exits import Exit, fail
from relay.cli.first import first_of
from relay.cli.questions import questions_of
from relay.cli.terminal import say, say_json
from relay.cli.tried import as_object, exit_of, show_not_tested, show_tried

if TYPE_CHECKING:
    from relay.channels.options import SmtpOptions
    from relay.channels.smtp_probe import Questions
    from relay.connect.connector import Connector
    from relay.connect.oauth import Token
    from relay.connect.search import Found, Tried
    from relay.settings.values import ChannelSettings, Settings


Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="Its name in the settings.")]
Address = Annotated[
    str | None, typer.Argument(metavar="[ADDRESS]", help="The e-mail address of the account.")
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="The first line of this file; - is standard input."),
]


def connect(
    channel: Channel,
    address: Address = None,
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="The server, if it is not found.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535)] = None,
    security: Annotated[
        str | None, typer.Option(metavar="WORD", help="implicit, starttls or none.")
    ] = None,
    username: Annotated[str | None, typer.Option(help="If it is not the address.")] = None,
    password_file: PasswordFile = None,
    password_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The variable that holds the password.")
    ] = None,
    sender: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="ADDRESS", help="Senders to ask for; more than once."),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Whose mailbox. Default: the address.")
    ] = None,
    send: Annotated[bool, typer.Option("--send", help="Send a message there, too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take what works, do not ask.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Try what is in use; keep nothing.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write your first settings, if you have none.")
    ] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Go back to the settings.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Say it as one JSON object.")] = False,
) -> None:
    """Try an account step by step as mail would use it; if it works, let the channel use it.

    The channel goes on with what it has until the new connection has passed. It is then kept in
    the state directory, where it stands above `smtp` in the settings, and a running relay takes it
    at once. The password is asked for, never shown, and never an argument. Without settings, what
    works is offered as the first ones.
    """
    first = None if check or forget else first_of(config, channel)
    settings = first.settings if first else read_settings(config)
    mine = _channel(settings, channel)
    if forget:
        _forget(settings, channel, config)
        return
    options = with_tokens(_smtp_of(settings, mine), mine)
    connector = _connector(settings, mine)
    by_token = mine.grant is not None and address in (None, options.username) and host is None
    if by_token and not check and password_file is None and password_env is None:
        token, options = signed_in(connector, options, mine)
        questions = questions_of(options, mine, sender, to, settings.state_dir, send=send)
        _use_token(connector, mine, token, options, questions, as_json)
        return
    if check:
        if not options.host:
            fix = f"Connect it: `relay connect {channel} ADDRESS`."
            fail(f"{channel} is not connected to an account yet.", fix, Exit.NOT_DONE)
        questions = questions_of(options, mine, sender, to, settings.state_dir, send=send)
        tried = [run(connector.check(options, questions)).first]
        if not as_json:
            show_tried(tried[0])
        _end(connector, tried, questions, as_json)
    account, candidate = candidate_of(
        connector, options, address, host, port, security_of(security), username
    )
    password = password_of(candidate, password_file, password_env)
    candidate = replace(candidate, password=password, access_token=None)
    questions = questions_of(candidate, mine, sender, to, settings.state_dir, send=send)
    found = run(connector.find(candidate, account, questions))
    tried = [found.first, *found.beside]
    if not as_json:
        for each in tried:
            show_tried(each)
    is_taken = found.working is found.first or yes or (not as_json and _agrees(connector, found))
    if found.working is None or not is_taken:
        hints = () if found.working else account.hints
        _end(connector, tried, questions, as_json, hints)
    if first is not None and not first.is_wanted(write):
        _end(connector, tried, questions, as_json, [f"--write keeps it, and writes {first.file}."])
    where = _keep(settings, connector, found.working)
    said = first.write() if first else _let_relay_know(connector)
    _tell(connector, tried, questions, as_json, kept=(where, said))
    if first is not None and not as_json:
        first.show_next(config, questions.recipient)


def _channel(settings: Settings, name: str) -> ChannelSettings:
    if name not in settings.channels:
        known = ", ".join(settings.channels)
        fail(f"There is no channel {name!r}.", f"Use one of: {known}.", Exit.NOT_DONE)
    return settings.channels[name]


def _smtp_of(settings: Settings, channel: ChannelSettings) -> SmtpOptions:
    from relay.settings.connected import written_of

    written = written_of(channel)
    if written is None:
        if settings.rehearsal:
            fix = (
                "Take `rehearsal: true` out of the settings; without any, connect an ADDRESS first."
            )
            fail("This relay rehearses: nothing leaves this machine.", fix, Exit.NOT_DONE)
        fix = f"`{channel.name}: {{}}` in the settings makes it one."
        fail(f"{channel.name} is not an SMTP channel.", fix, Exit.NOT_DONE)
    return written


def _connector(settings: Settings, channel: ChannelSettings) -> Connector:
    from relay.connect.connector import Connector
    from relay.providers.detect import Providers
    from relay.providers.replies import ReplyDictionary

    return Connector(
        channel=channel.name,
        state_dir=settings.state_dir,
        providers=Providers(),
        replies=ReplyDictionary.load(),
        provider=channel.provider,
    )


def _agrees(connector: Connector, found: Found) -> bool:
    """Return whether a person takes the connection that works instead of the first one."""
    if found.working is None or not sys.stdin.isatty():
        return False
    return typer.confirm(f"Let {connector.channel} use {found.working.endpoint}?", err=True)


def _keep(settings: Settings, connector: Connector, tried: Tried) -> str:
    """Keep the connection; return where it is."""
    from relay.connect.kept import KeptError

    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        where = connector.keep(tried, utc_now())
    except (KeptError, OSError) as error:
        fail(f"It works, but cannot be kept: {error}", "Run this as relay's user.", Exit.NOT_DONE)
    return str(where)


def _let_relay_know(connector: Connector, *, is_connected: bool = True) -> str:
    """Let a running relay read its settings anew, and a connected channel send; say what it said.

    The old connection is in use until it has the new one.
    """
    from relay.web.client import ControlClient, ControlError, NotRunning

    channel, client = connector.channel, ControlClient(connector.state_dir / SOCKET_NAME)
    try:
        client.reload()
        if not is_connected:
            return f"mail for {channel} waits, or takes another channel"
        health = {each["name"]: each["health"] for each in client.status()["snapshot"]["channels"]}
        if health.get(channel, {}).get("state") == "stopped":
            return f"{channel} is stopped: `relay channel resume {channel}` lets it send"
        client.resume(channel)
    except NotRunning:
        return "no relay is running: the next one uses it"
    except ControlError as error:
        return f"the running relay does not use it yet: {error}"
    return f"the running relay uses it, and {channel} sends"


def _use_token(
    connector: Connector,
    channel: ChannelSettings,
    token: Token,
    options: SmtpOptions,
    questions: Questions,
    as_json: bool,
) -> None:
    """Try a token that was just granted, and let the channel use it if it works."""
    tried = [run(connector.check(options, questions)).first]
    if not as_json:
        show_tried(tried[0])
    if not tried[0].works:
        _end(connector, tried, questions, as_json)
    kept = keep_token(channel, token), _let_relay_know(connector)
    _tell(connector, tried, questions, as_json, kept=kept)


def _forget(settings: Settings, channel: str, config: Path | None) -> None:
    from relay.channels.options import UnconnectedOptions
    from relay.connect.kept import KeptError, forget

    mine = settings.channels[channel]
    try:
        was_there = forget(settings.state_dir, channel) or forget_token(mine)
    except KeptError as error:
        fail(str(error), "Run this as relay's user.", Exit.NOT_DONE)
    if not was_there:
        fail(f"No connection is kept for {channel}.", "", Exit.NOT_DONE)
    is_left = not isinstance(read_settings(config).channels[channel].options, UnconnectedOptions)
    said = _let_relay_know(_connector(settings, mine), is_connected=is_left)
    uses = f"uses what {settings.source} says" if is_left else "is not connected any more"
    say(f"{channel} {uses}; {said}")


def _tell(
    connector: Connector,
    tried: Sequence[Tried],
    questions: Questions,
    as_json: bool,
    *,
    kept: tuple[str, str] | None = None,
    hints: Sequence[str] = (),
) -> None:
    if as_json:
        say_json(as_object(connector.channel, tried, questions, kept))
        return
    for hint in hints:
        say(hint)
    if kept is None and tried[-1].works and tried[-1] is not tried[0]:
        say(f"{tried[-1].endpoint} as {tried[-1].options.username} works: say --yes to use it.")
    if kept is not None:
        say(f"Kept in {kept[0]}; {kept[1]}.")
    show_not_tested(tried, questions)


def _end(
    connector: Connector,
    tried: Sequence[Tried],
    questions: Questions,
    as_json: bool,
    hints: Sequence[str] = (),
) -> NoReturn:
    _tell(connector, tried, questions, as_json, hints=hints)
    raise typer.Exit(exit_of(tried[0]))

"""Signing in by OAuth2 on the command line: the person is invited, the token is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from relay.cli.daemon import utc_now
from relay.cli.exits import Exit, fail
from relay.cli.terminal import clean

if TYPE_CHECKING:
    from relay.channels.options import SmtpOptions
    from relay.connect.connector import Connector
    from relay.connect.oauth import Invitation, Token
    from relay.settings.values import ChannelSettings


def with_tokens(options: SmtpOptions, channel: ChannelSettings) -> SmtpOptions:
    """Return `options` with the tokens in use, if the channel signs in by them."""
    from relay.connect.tokens import TokenFile, TokenSource

    if channel.grant is None:
        return options
    return replace(options, access_token=TokenSource(TokenFile(channel.grant)))


def signed_in(
    connector: Connector, options: SmtpOptions, channel: ChannelSettings
) -> tuple[Token, SmtpOptions]:
    """Return a token that nobody uses yet, and options with it; ends when nothing is granted."""
    from relay.connect.oauth import GrantError, sign_in
    from relay.mail.attempt import Refused
    from relay.mail.reply import Phase

    assert channel.grant is not None
    try:
        token = sign_in(channel.grant.registration, _invite, utc_now)
    except GrantError as error:
        judgement = connector.judge(Refused(phase=Phase.OAUTH, reply=error.reply), options)
        words = f"{judgement.cause}\n{judgement.fix}\nThe provider said: {error.reply}"
        fail(f"{channel.name} was not granted anything.", words, Exit.SIGN_IN)

    async def access_token(refused: str | None) -> str:  # noqa: ARG001 -- there is no other
        return token.access_token

    return token, replace(options, access_token=access_token)


def keep_token(channel: ChannelSettings, token: Token) -> str:
    """Let the channel use a token; return where it is kept."""
    from relay.connect.kept import KeptError
    from relay.connect.tokens import TokenFile

    assert channel.grant is not None
    file = TokenFile(channel.grant)
    try:
        channel.grant.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file.locked():
            file.write(token)
    except (KeptError, OSError) as error:
        fail(f"It works, but cannot be kept: {error}", "Run this as relay's user.", Exit.NOT_DONE)
    return str(file.path)


def forget_token(channel: ChannelSettings) -> bool:
    """Remove the token of a channel; return whether there was one."""
    from relay.connect.tokens import TokenFile

    if channel.grant is None:
        return False
    return TokenFile(channel.grant).forget()


def _invite(invitation: Invitation) -> None:
    typer.echo(f"Open this address and sign in:\n\n  {clean(invitation.address)}\n", err=True)
    if invitation.code:
        typer.echo(f"and type in there: {clean(invitation.code)}\n", err=True)
    if invitation.port:
        port = invitation.port
        typer.echo(
            "The browser has to run on this machine. If it runs elsewhere, connect it first:\n"
            f"  ssh -N -L {port}:127.0.0.1:{port} THIS-MACHINE\n",
            err=True,
        )

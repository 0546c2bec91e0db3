"""The account that is to be tried, and its password: from the command line, or asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from relay.cli.exits import Exit, fail

if TYPE_CHECKING:
    from relay.channels.options import Security, SmtpOptions
    from relay.connect.account import Account
    from relay.connect.connector import Connector

_PASSWORD_BYTES = 64 * 1024
Result = TypeVar("Result")


def candidate_of(
    connector: Connector,
    options: SmtpOptions,
    address: str | None,
    host: str | None,
    port: int | None,
    security: Security | None,
    username: str | None,
) -> tuple[Account, SmtpOptions]:
    """Return the account and the connection to try first."""
    current = options.username or ""
    address = address or _ask("E-mail address", current) or current
    same = bool(options.host) and address == current and host is None
    account = _account(connector, address, options.host if same else host, port, security)
    if same and port is None and security is None:
        return account, replace(options, username=username or options.username)
    if not account.endpoints:
        fail(f"{account.provider_name} cannot be used.", "\n".join(account.hints), Exit.NOT_DONE)
    names = account.usernames or (address,)
    if username is None and not account.usernames:
        username = _ask(f"User name that {account.provider_name} gave out", address)
    first = account.endpoints[0]
    if not same:
        from relay.settings.address import is_loopback

        verify = options.verify if first.host == options.host else not is_loopback(first.host)
        options = replace(options, verify=verify)
    return account, replace(
        options,
        host=first.host,
        port=first.port,
        security=first.security,
        username=username or names[0] or None,
    )


def _account(
    connector: Connector,
    address: str,
    host: str | None,
    port: int | None,
    security: Security | None,
) -> Account:
    from relay.connect.account import account_of
    from relay.connect.exchangers import mail_exchangers
    from relay.mail.address import domain_of

    domain = domain_of(address)
    if host is None and not domain:
        raise typer.BadParameter("expected an e-mail address, or --host")
    exchangers: tuple[str, ...] = ()
    is_known = connector.provider or connector.providers.by_domain(domain)
    if host is None and not is_known:
        exchangers = run(mail_exchangers(domain))
    return account_of(
        address,
        connector.providers,
        provider=connector.provider,
        exchangers=exchangers,
        host=host,
        port=port,
        security=security,
    )


def security_of(word: str | None) -> Security | None:
    """Return what an option says; ends with what it may say."""
    from relay.channels.options import Security

    if word is None:
        return None
    try:
        return Security(word)
    except ValueError:
        raise typer.BadParameter(f"--security {word}: expected implicit, starttls, none") from None


def _ask(what: str, default: str) -> str | None:
    """Return what a person answers, None when there is nobody to ask."""
    if not sys.stdin.isatty():
        return None
    answer: str = typer.prompt(what, default=default or None, err=True)
    return answer.strip()


def password_of(
    options: SmtpOptions, file: Path | None, env: str | None
) -> Callable[[], str] | None:
    """Return what tells the password; it is asked for where nothing names it."""
    if file is not None and env is not None:
        raise typer.BadParameter("say --password-file or --password-env, not both")
    if env is not None:
        text = os.environ.get(env, "")
    elif file is not None:
        text = _first_line(file)
    elif options.username is None:
        return None
    elif sys.stdin.isatty():
        what = f"Password of {options.username} at {options.host}"
        text = str(typer.prompt(what, hide_input=True, err=True))
    else:
        raise typer.BadParameter("nobody is here to ask: say --password-file or --password-env")
    if not text:
        fail("The password is empty.", "Nothing was tried.", Exit.NOT_DONE)
    return lambda: text


def _first_line(path: Path) -> str:
    if str(path) == "-":
        return sys.stdin.readline(_PASSWORD_BYTES).rstrip("\r\n")
    try:
        with path.open() as file:
            return file.readline(_PASSWORD_BYTES).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"The password cannot be read: {error}", "Nothing was tried.", Exit.NOT_DONE)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Return what comes of `work`, in a loop of its own."""
    import asyncio

    return asyncio.run(work)

"""Exit codes, those of sysexits.h where it has one, and the way to end with one."""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn

import typer

from relay.cli.terminal import complain


class Exit(IntEnum):
    """How a command ended. 2, wrong usage, is Typer's."""

    DONE = 0
    NOT_DONE = 1
    NO_NAME = 20
    NO_CONNECTION = 21
    NO_TLS = 22
    SIGN_IN = 23
    SENDER = 24
    RECIPIENT = 25
    QUOTA = 26
    MESSAGE = 27
    UNAVAILABLE = 69  # EX_UNAVAILABLE
    LATER = 75  # EX_TEMPFAIL
    REFUSED = 77  # EX_NOPERM
    SETTINGS = 78  # EX_CONFIG


EPILOG = """\
\b
Exit codes:
   0  done
   1  not done: nothing matched, a file could not be read, relay cannot run
   2  wrong usage
  20  the server's name is not known (connect, as all up to 27)
  21  no connection, or no server that speaks SMTP
  22  no encrypted connection, or a certificate that is not good
  23  the sign-in was refused
  24  a sender address was refused
  25  the recipient was refused
  26  a limit of the provider is used up
  27  the message was refused
  69  no relay is running, or nobody answers there
  75  not now, try again (send); stopped before all that was being sent was
      settled, it is tried again at the next start (run)
  77  the mail was refused (send)
  78  the settings have mistakes
"""


def fail(error: str, fix: str, code: Exit) -> NoReturn:
    """End with `code`, saying what is wrong and what to do."""
    complain(error, *fix.splitlines())
    raise typer.Exit(code)

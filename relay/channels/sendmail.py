"""The host's own mailer: a program with the sendmail interface, run without a shell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from relay.channels.channel import Parcel, SendersAsked
from relay.channels.options import SendmailOptions
from relay.channels.wire import Chunks
from relay.mail.attempt import Attempt, InDoubt, Outcome, Refused, Sent
from relay.mail.reply import MAX_TEXT, Phase, Reply, make_reply

_SYSEXITS = {
    # sysexits.h: what the program means, and the reply of a server that means the same. Codes that
    # blame the command line, the installation or the machine are faults of the channel.
    64: (Phase.CONNECT, 451, "4.3.5", "EX_USAGE: the command line is not understood"),
    65: (Phase.AFTER_DATA, 554, "5.6.0", "EX_DATAERR: the message is not understood"),
    66: (Phase.CONNECT, 451, "4.3.0", "EX_NOINPUT: cannot read its input"),
    67: (Phase.RCPT, 550, "5.1.1", "EX_NOUSER: no such user"),
    68: (Phase.RCPT, 550, "5.1.2", "EX_NOHOST: no such host"),
    69: (Phase.CONNECT, 451, "4.3.0", "EX_UNAVAILABLE: the service is unavailable"),
    70: (Phase.CONNECT, 451, "4.3.0", "EX_SOFTWARE: internal error"),
    71: (Phase.CONNECT, 451, "4.3.0", "EX_OSERR: system error"),
    72: (Phase.CONNECT, 451, "4.3.5", "EX_OSFILE: a system file is missing"),
    73: (Phase.CONNECT, 451, "4.3.1", "EX_CANTCREAT: cannot create its output"),
    74: (Phase.CONNECT, 451, "4.3.0", "EX_IOERR: input or output error"),
    75: (Phase.AFTER_DATA, 451, "4.3.0", "EX_TEMPFAIL: try again later"),
    76: (Phase.CONNECT, 451, "4.5.0", "EX_PROTOCOL: remote protocol error"),
    77: (Phase.CONNECT, 451, "4.7.0", "EX_NOPERM: permission denied"),
    78: (Phase.CONNECT, 451, "4.3.5", "EX_CONFIG: it is not configured"),
}
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"}
_OWN_VARIABLES = ("HOME", "USER", "LOGNAME", "TZ", "TMPDIR")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SendmailChannel:
    """See `Channel`. The program answers for all recipients at once, by its exit status."""

    def __init__(
        self, name: str, options: SendmailOptions, *, now: Callable[[], datetime] = _utc_now
    ) -> None:
        self._name = name
        self._options = options
        self._now = now

    @property
    def name(self) -> str:
        """Return the name in the settings."""
        return self._name

    @property
    def upstream(self) -> str:
        """Return the program."""
        return self._options.command[0]

    async def send(self, parcel: Parcel) -> Attempt:
        """Run the program once; raises only CancelledError."""
        started_at = self._now()
        run = _Run(self._options, parcel)
        try:
            outcome = await run.outcome()
        except ValueError as error:
            outcome = _refused(Phase.MAIL, Reply(554, "5.6.0", str(error)), error)
        except OSError as error:
            outcome = _refused(Phase.CONNECT, Reply(451, "4.3.5", str(error)), error)
        return Attempt(
            channel=self._name,
            upstream=self.upstream,
            started_at=started_at,
            ended_at=self._now(),
            outcomes=(outcome,) * len(parcel.forward_paths),
            data_sent=run.was_fed,
        )

    async def ask_senders(self, reverse_paths: Sequence[str]) -> SendersAsked:  # noqa: ARG002
        """Return that it takes all: there is nobody to ask."""
        return SendersAsked({}, takes_some=True)

    async def close(self) -> None:
        """Do nothing: a program lives no longer than its message."""


class _Run:
    """The program, once."""

    def __init__(self, options: SendmailOptions, parcel: Parcel) -> None:
        self.was_fed = False  # all of the content was written: it may send it, whatever follows
        self._options = options
        self._parcel = parcel

    async def outcome(self) -> Outcome:
        """Return what the program made of it; raises OSError when it cannot be run."""
        process = await asyncio.create_subprocess_exec(
            *_arguments(self._options.command, self._parcel),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # a group of its own, so that it can be ended with its children
        )
        try:
            async with asyncio.timeout(self._options.timeout_seconds):
                words, failure = await asyncio.gather(
                    _words(process), self._feed(process), return_exceptions=True
                )
                status = await process.wait()
        except TimeoutError as error:
            await _end(process)
            return self._unknown(f"ended after {self._options.timeout_seconds:g} s", error)
        except BaseException:
            await _end(process)
            raise
        if isinstance(failure, OSError):  # the content could not be read
            return _refused(Phase.DATA, Reply(451, "4.3.0", str(failure)), failure)
        return self._outcome(status, words if isinstance(words, str) else "")

    def _outcome(self, status: int, words: str) -> Outcome:
        if status == 0:
            return Sent(Reply(250, "2.0.0", f"taken by {self._options.command[0]}"))
        if status < 0:
            return self._unknown(f"ended by {signal.Signals(-status).name} {words}".rstrip(), None)
        unlisted = (Phase.AFTER_DATA, 451, "4.3.0", f"exit status {status}")
        phase, code, enhanced, meaning = _SYSEXITS.get(status, unlisted)
        text = make_reply(code, f"{meaning}: {words}" if words else meaning).text
        return _refused(phase, Reply(code, enhanced, text))

    def _unknown(self, text: str, error: BaseException | None) -> Outcome:
        if self.was_fed:
            return InDoubt(Reply(451, "4.4.2", text))
        return _refused(Phase.DATA, Reply(451, "4.4.2", text), error)

    async def _feed(self, process: asyncio.subprocess.Process) -> None:
        """Write the content with the line ends of this system, as the interface wants them."""
        stdin = process.stdin
        assert stdin is not None
        try:
            with Chunks(self._parcel.content) as chunks:
                held = b""  # a CR whose LF is in the next chunk
                while not chunks.is_done:
                    chunk = held + await chunks.next()
                    held = b"\r" if chunk.endswith(b"\r") else b""
                    stdin.write(chunk.removesuffix(held).replace(b"\r\n", b"\n"))
                    await stdin.drain()
            self.was_fed = True
            stdin.close()
            await stdin.wait_closed()
        except (BrokenPipeError, ConnectionResetError):
            return  # it did not want it all, and says why by its exit status
        except OSError:
            await _end(process)  # it must not send half a message
            raise


def _arguments(command: tuple[str, ...], parcel: Parcel) -> list[str]:
    """Return the program and its arguments; raises ValueError for what cannot be one.

    `-i`: a line that is a single dot is content. `--`: an address is never an option.
    """
    dots = [] if {"-i", "-oi"} & set(command) else ["-i"]
    paths = [parcel.reverse_path or "<>", *parcel.forward_paths]
    if any("\0" in path or "\r" in path or "\n" in path for path in paths):
        raise ValueError("a control character in an address")
    return [*command, *dots, "-f", paths[0], "--", *paths[1:]]


def _environment() -> dict[str, str]:
    own = {name: os.environ[name] for name in _OWN_VARIABLES if name in os.environ}
    return {**own, **_ENVIRONMENT}


async def _words(process: asyncio.subprocess.Process) -> str:
    """Return the beginning of what it says; the rest is read and thrown away."""
    stream = process.stderr
    assert stream is not None
    kept = b""
    while data := await stream.read(65536):
        kept += data[: 4 * MAX_TEXT - len(kept)]
    return kept.decode("utf-8", "replace").strip()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill it and its children, and take its exit status."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _refused(phase: Phase, reply: Reply, error: BaseException | None = None) -> Refused:
    return Refused(
        phase=phase,
        reply=reply,
        error=type(error).__name__ if error is not None else None,
        errno=error.errno if isinstance(error, OSError) else None,
    )

"""An SMTP server that does what a test tells it to, over real sockets, and remembers everything.

    async with Upstream(script={"rcpt:bob@example.net": "550 5.1.1 no such user"}) as upstream:
        ...  # send to upstream.host, upstream.port
        await upstream.wait_for(1)
        assert upstream.messages[0].forward_paths == ("ann@example.net",)

The script maps a step to an answer, to a list of answers (used up in order, then the default
again) or to a function of the command's argument that returns one, or None for the default.

Steps: `greeting`, `ehlo`, `helo`, `starttls`, `auth`, `mail`, `rcpt`, `rcpt:ADDRESS`, `data`,
`content` (while it arrives), `dot` (the reply to the final dot), `rset`, `noop`, `quit`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
_PATH = re.compile(r"(?:FROM|TO):\s*<([^>]*)>\s*(.*)", re.IGNORECASE)
_CHALLENGE = b"<1.2@upstream.test>"


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection without an answer; `reset` sends RST instead of FIN."""

    reset: bool = False


@dataclass(frozen=True, slots=True)
class Stall:
    """Never answer."""


@dataclass(frozen=True, slots=True)
class Endless:
    """Answer with lines that never end the reply."""

    line: bytes = b"250-and another thing\r\n"


@dataclass(frozen=True, slots=True)
class Then:
    """Answer with `first`, then do `second`."""

    first: Answer
    second: Answer


@dataclass(frozen=True, slots=True)
class Wait:
    """Think for so long, then do `then`."""

    seconds: float
    then: Answer


Answer = str | bytes | Drop | Stall | Endless | Then | Wait
"""A str is a reply ("250 2.0.0 ok"; lines separated by a line feed), bytes go out as they are."""

Step = Answer | Sequence[Answer] | Callable[[str], Answer | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A message as it arrived: complete up to the final dot, whatever was answered to it."""

    connection: int  # 1, 2, ... in the order of their arrival
    reverse_path: str
    forward_paths: tuple[str, ...]  # those that got 2yz
    parameters: str  # of MAIL
    content: bytes  # without dot-stuffing and final dot
    login: str | None
    mechanism: str | None
    tls: bool
    accepted: bool  # whether the script's reply to the final dot is positive


class ClosedError(Exception):
    """The connection has ended, as the script or the client wants it."""


@dataclass(slots=True)
class Envelope:
    """What MAIL, RCPT and DATA have said so far."""

    reverse_path: str | None = None
    parameters: str = ""
    forward_paths: list[str] = field(default_factory=list)
    content: bytes = b""  # dot-stuffed, once its final dot is there


class Upstream:
    """The server. What it saw: `commands`, `transactions`, `messages`, `connections`."""

    host = "127.0.0.1"

    def __init__(
        self,
        script: Mapping[str, Step] | None = None,
        *,
        extensions: Sequence[str] = EXTENSIONS,
        accounts: Mapping[str, str] | None = None,
        mechanisms: Sequence[str] = ("PLAIN", "LOGIN", "CRAM-MD5"),
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
    ) -> None:
        """Offer AUTH when there are `accounts`, STARTTLS when there is `tls` and not `implicit`."""
        self.script = dict(script or {})
        self.extensions = tuple(extensions)
        self.accounts = dict(accounts or {})
        self.mechanisms = tuple(mechanisms)
        self.tls = tls
        self.implicit = implicit
        self.port = 0
        self.connections = 0  # so far
        self.open_connections = 0
        self.most_connections = 0  # at once
        self.commands: list[tuple[int, str]] = []  # connection number, line
        self.transactions: list[Transaction] = []
        self._used: dict[str, int] = {}
        self._changed = asyncio.Condition()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def messages(self) -> list[Transaction]:
        """Return the transactions whose final dot was answered with 2yz."""
        return [one for one in self.transactions if one.accepted]

    def verbs(self, connection: int | None = None) -> list[str]:
        """Return the first word of each command, in capitals."""
        return [
            line.split(" ")[0].split(":")[0].upper()
            for number, line in self.commands
            if connection in (None, number)
        ]

    async def wait_for(self, messages: int, *, seconds: float = 5.0) -> None:
        """Wait until so many messages have been accepted; raises TimeoutError."""
        await self.wait_until(lambda: len(self.messages) >= messages, seconds=seconds)

    async def wait_until(self, condition: Callable[[], bool], *, seconds: float = 5.0) -> None:
        """Wait until `condition` holds; it is asked again after each thing that happens here."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    async def __aenter__(self) -> Self:
        context = self.tls if self.implicit else None
        self._server = await asyncio.start_server(
            self._accept, self.host, self.port, limit=1 << 20, backlog=512, ssl=context
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.hang_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hang_up(self) -> None:
        """Close every connection, as a server that restarts."""
        for writer in self._writers:
            writer.transport.abort()

    async def say(self, data: bytes) -> None:
        """Send `data` on every open connection, asked for or not."""
        for writer in list(self._writers):
            writer.write(data)
            await writer.drain()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        self.most_connections = max(self.most_connections, self.open_connections)
        self._writers.add(writer)
        session = Session(self, self.connections, reader, writer)
        try:
            await session.run()
        except (ClosedError, OSError, EOFError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            self.open_connections -= 1
            self._writers.discard(writer)
            writer.close()
            await self.note()

    async def note(self) -> None:
        """Wake those who wait for something to happen."""
        async with self._changed:
            self._changed.notify_all()

    def answer(self, step: str, argument: str, default: Answer, session: Session) -> Answer:
        """Return what the script says to this step, now."""
        match self.script.get(step):
            case None:
                return default
            case str() | bytes() | Drop() | Stall() | Endless() | Then() | Wait() as answer:
                return answer
            case list() | tuple() as answers:
                used = self._used.get(step, 0)
                self._used[step] = used + 1
                return answers[used] if used < len(answers) else default
            case function:
                answer = function(argument)  # type: ignore[operator]
                return default if answer is None else answer


class Session:
    """One connection."""

    def __init__(
        self,
        upstream: Upstream,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.upstream = upstream
        self.number = number
        self.reader = reader
        self.writer = writer
        self.login: str | None = None
        self.mechanism: str | None = None
        self.tls = upstream.implicit
        self.envelope = Envelope()

    async def run(self) -> None:
        """Serve until one side closes."""
        await self.say("greeting", "", "220 upstream.test ESMTP")
        while line := await self.reader.readline():
            text = line.rstrip(b"\r\n").decode("utf-8", "replace")
            self.upstream.commands.append((self.number, text))
            verb, _, argument = text.partition(" ")
            await self.obey(verb.lower(), argument)
            await self.upstream.note()

    async def obey(self, verb: str, argument: str) -> None:
        """Do one command."""
        match verb:
            case "ehlo":
                await self.say("ehlo", argument, self.features())
            case "starttls":
                await self.start_tls()
            case "auth":
                await self.authenticate(argument)
            case "mail":
                await self.mail(argument)
            case "rcpt":
                await self.rcpt(argument)
            case "data":
                await self.data()
            case "rset":
                self.envelope = Envelope()
                await self.say("rset", "", "250 2.0.0 forgotten")
            case "quit":
                await self.say("quit", "", "221 2.0.0 bye")
                raise ClosedError
            case "helo" | "noop":
                await self.say(verb, argument, "250 upstream.test")
            case _:
                await self.send("500 5.5.2 what?")

    def features(self) -> str:
        """Return the reply to EHLO."""
        lines = ["upstream.test", *self.upstream.extensions]
        if self.upstream.tls and not self.tls:
            lines.append("STARTTLS")
        if self.upstream.accounts:
            lines.append("AUTH " + " ".join(self.upstream.mechanisms))
        return "250 " + "\n".join(lines)

    async def say(self, step: str, argument: str, default: Answer) -> bool:
        """Send what the script or `default` says; return whether it was positive."""
        answer = self.upstream.answer(step, argument, default, self)
        await self.send(answer)
        return _is_positive(answer)

    async def send(self, answer: Answer) -> None:
        """Carry out one answer; raises ClosedError when it ends the connection."""
        match answer:
            case str() | bytes():
                self.writer.write(answer if isinstance(answer, bytes) else _reply(answer))
                await self.writer.drain()
            case Drop(reset=reset):
                if reset:
                    self.writer.transport.abort()
                raise ClosedError
            case Stall():
                await self.upstream.note()
                await asyncio.get_running_loop().create_future()
            case Endless(line=line):
                while True:
                    self.writer.write(line)
                    await self.writer.drain()
            case Then(first=first, second=second):
                await self.send(first)
                await self.send(second)
            case Wait(seconds=seconds, then=then):
                await asyncio.sleep(seconds)
                await self.send(then)

    async def start_tls(self) -> None:
        if not await self.say("starttls", "", "220 2.0.0 go ahead"):
            return
        assert self.upstream.tls is not None
        await self.writer.start_tls(self.upstream.tls)
        self.tls = True
        self.envelope = Envelope()

    async def authenticate(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        scripted = self.upstream.answer("auth", argument, b"", self)
        if scripted != b"":
            await self.send(scripted)
            return
        login = await self.check(mechanism.upper(), initial)
        if login is None:
            await self.send("535 5.7.8 Username and Password not accepted")
            return
        self.login, self.mechanism = login, mechanism.upper()
        await self.send("235 2.7.0 welcome")

    async def check(self, mechanism: str, initial: str) -> str | None:
        """Return the login that proved itself by `mechanism` (RFC 4954)."""
        accounts = self.upstream.accounts
        match mechanism:
            case "PLAIN":
                token = base64.b64decode(initial) if initial else await self.challenge(b"")
                _, login, password = token.split(b"\0")
                proof = password.decode()
            case "LOGIN":
                login = await self.challenge(b"Username:")
                proof = (await self.challenge(b"Password:")).decode()
            case "XOAUTH2":
                user, bearer, *_ = base64.b64decode(initial).split(b"\1")
                login, proof = user.removeprefix(b"user="), bearer.decode()[len("auth=Bearer ") :]
                if accounts.get(login.decode()) != proof:
                    await self.challenge(b'{"status":"401","schemes":"bearer"}')
            case _:
                login, _, digest = (await self.challenge(_CHALLENGE)).rpartition(b" ")
                secret = accounts.get(login.decode(), "")
                expected = hmac.new(secret.encode(), _CHALLENGE, hashlib.md5).hexdigest()
                proof = secret if digest.decode() == expected else ""
        name = login.decode()
        return name if accounts.get(name) == proof else None

    async def challenge(self, text: bytes) -> bytes:
        await self.send("334 " + base64.b64encode(text).decode())
        return base64.b64decode(await self.reader.readline())

    async def mail(self, argument: str) -> None:
        path = _PATH.match(argument)
        assert path is not None, argument
        if await self.say("mail", argument, "250 2.1.0 sender ok"):
            self.envelope = Envelope(path[1], path[2])

    async def rcpt(self, argument: str) -> None:
        path = _PATH.match(argument)
        assert path is not None, argument
        default: Answer = "250 2.1.5 recipient ok"
        if self.envelope.reverse_path is None:
            default = "503 5.5.1 MAIL first"
        step = f"rcpt:{path[1]}"
        if step not in self.upstream.script:
            step = "rcpt"
        if await self.say(step, argument, default):
            self.envelope.forward_paths.append(path[1])

    async def data(self) -> None:
        default = "354 end with a dot" if self.envelope.forward_paths else "554 5.5.1 nobody"
        answer = self.upstream.answer("data", "", default, self)
        await self.send(answer)
        if not _reply_text(answer).startswith("354"):
            return
        envelope = self.envelope
        envelope.content = await self.content()
        answer = self.upstream.answer("dot", "", "250 2.0.0 taken", self)
        self.envelope = Envelope()
        self.upstream.transactions.append(
            Transaction(
                connection=self.number,
                reverse_path=envelope.reverse_path or "",
                forward_paths=tuple(envelope.forward_paths),
                parameters=envelope.parameters,
                content=re.sub(rb"(?m)^\.", b"", envelope.content),
                login=self.login,
                mechanism=self.mechanism,
                tls=self.tls,
                accepted=_is_positive(answer),
            )
        )
        await self.upstream.note()
        await self.send(answer)

    async def content(self) -> bytes:
        """Return what comes before the final dot; only CRLF.CRLF ends it."""
        scripted = self.upstream.answer("content", "", b"", self)
        if scripted != b"":
            await self.reader.read(1)  # some of it has arrived
            await self.send(scripted)
        parts: list[bytes] = []
        ended = True  # the last line was ended by CRLF
        while True:
            try:
                line = await self.reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:
                line = await self.reader.readexactly(error.consumed)
            if ended and line == b".\r\n":
                return b"".join(parts)
            parts.append(line)
            ended = line.endswith(b"\r\n")


def _reply(text: str) -> bytes:
    """Return `text` ("250 one\\ntwo") as the lines of a reply."""
    code, _, words = text.partition(" ")
    lines = words.split("\n")
    last = len(lines) - 1
    return b"".join(
        f"{code}{' ' if at == last else '-'}{line}\r\n".encode() for at, line in enumerate(lines)
    )


def _reply_text(answer: Answer) -> str:
    match answer:
        case str():
            return answer
        case bytes():
            return answer.decode("latin-1")
        case Then(first=first):
            return _reply_text(first)
        case Wait(then=then):
            return _reply_text(then)
        case _:
            return ""


def _is_positive(answer: Answer) -> bool:
    return _reply_text(answer).startswith("2")

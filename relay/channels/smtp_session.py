"""A connection made ready to send: name looked up, connected, protected, introduced, signed in."""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from aiosmtplib.auth import auth_crammd5_verify, auth_login_encode, auth_plain_encode
from aiosmtplib.errors import (
    SMTPConnectError,
    SMTPException,
    SMTPNotSupported,
    SMTPServerDisconnected,
)
from aiosmtplib.esmtp import parse_esmtp_extensions
from aiosmtplib.response import SMTPResponse

from relay.channels.options import Security, SmtpOptions
from relay.channels.smtp_errors import RejectedError
from relay.channels.smtp_protocol import CLOSED, OutOfStep, UpstreamProtocol
from relay.mail.reply import Phase, Reply, make_reply

_PROTECTED_ORDER = ("plain", "login", "cram-md5")
_OPEN_ORDER = (
    "cram-md5",
    "plain",
    "login",
)  # on the wire in clear: no password if it can be helped


_Address = tuple[socket.AddressFamily, tuple[Any, ...]]


class Session:
    """One connection with an upstream; made once, never mended.

    `phase` tells at which step an exception came up. Whoever opened it calls `retire` or `abort`.
    """

    def __init__(self, options: SmtpOptions, context: Callable[[], ssl.SSLContext]) -> None:
        self.options = options
        self.phase = Phase.DNS
        self.greeting = ""  # the server's words
        self.extensions: dict[str, str] = {}
        self.mechanisms: tuple[str, ...] = ()  # for signing in, in lower case
        self.mechanism: str | None = None  # that was signed in by
        self.transactions = 0  # begun so far
        self.needs_reset = False  # a transaction was left open
        self.idle_since = 0.0  # loop time
        self._context = context
        self._protocol: UpstreamProtocol | None = None

    @property
    def protocol(self) -> UpstreamProtocol:
        """Return the connection; there is one once `open` was called."""
        assert self._protocol is not None
        return self._protocol

    @property
    def is_reusable(self) -> bool:
        """Return whether another transaction may be begun."""
        worn = self.transactions >= self.options.messages_per_connection
        return not worn and self.protocol.is_in_step

    @property
    def max_content_bytes(self) -> int | None:
        """Return the largest size the server takes: as it says (RFC 1870), else as is known."""
        size = self.extensions.get("size", "")
        said = int(size) if size.isascii() and size.isdigit() and len(size) < 20 else 0
        return said or self.options.max_content_bytes

    def offers(self, keyword: str) -> bool:
        """Return whether the server offered an extension, in lower case."""
        return keyword in self.extensions

    async def open(self) -> None:
        """Connect and sign in; raises RejectedError, OSError, SMTPException, ValueError."""
        options = self.options
        async with asyncio.timeout(options.connect_seconds):
            await self._connect(await self._look_up())
        await self._hello()
        if options.security is Security.STARTTLS:
            await self._start_tls()
            await self._hello()
        if options.username is not None:
            self.phase = Phase.OAUTH if options.access_token is not None else Phase.AUTH
            await self._sign_in(options.username)

    def abort(self) -> None:
        """Drop the connection, if there is one."""
        if self._protocol is not None:
            self._protocol.abort()

    async def read(self, seconds: float) -> Reply:
        """Return the next reply; raises TimeoutError, and RejectedError at 421: it hangs up."""
        protocol = self.protocol
        if protocol.has_reply:
            response = await protocol.reply()
        else:
            async with asyncio.timeout(seconds):
                response = await protocol.reply()
        reply = _reply(response.code, response.message)
        if reply.code == 421:
            raise RejectedError(self.phase, reply)
        return reply

    async def _command(self, line: bytes) -> SMTPResponse:
        self.protocol.ask(line + b"\r\n")
        async with asyncio.timeout(self.options.command_seconds):
            return await self.protocol.reply()

    async def _look_up(self) -> Sequence[_Address]:
        self.phase = Phase.DNS
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(
            self.options.host, self.options.port, type=socket.SOCK_STREAM
        )
        return [(family, address) for family, _, _, _, address in found]

    async def _connect(self, addresses: Sequence[_Address]) -> None:
        """Connect to the first address that answers; each gets its share of the time."""
        self.phase = Phase.CONNECT
        share = self.options.connect_seconds / len(addresses)
        loop = asyncio.get_running_loop()
        for at, (family, address) in enumerate(addresses, 1):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                # the last lines of a message must not wait for the ACK of the ones before
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                async with asyncio.timeout(share):
                    await loop.sock_connect(sock, address)
            except OSError:  # TimeoutError is one
                sock.close()
                if at == len(addresses):
                    raise
            except BaseException:
                sock.close()
                raise
            else:
                await self._greet(sock)
                return

    async def _greet(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        protocol = UpstreamProtocol(loop)
        self._protocol = protocol
        context = None
        if self.options.security is Security.IMPLICIT:
            self.phase = Phase.TLS
            context = await asyncio.to_thread(self._context)
        await loop.create_connection(
            lambda: protocol,
            sock=sock,
            ssl=context,
            server_hostname=self.options.host if context else None,
        )
        self.phase = Phase.CONNECT
        try:
            greeting = await protocol.reply()
            if greeting.code != 220:
                raise RejectedError(self.phase, _refusal(greeting))
            self.greeting = greeting.message
        except OutOfStep as error:  # it speaks something else
            raise SMTPConnectError(error.message) from error

    async def _hello(self) -> None:
        """Introduce ourselves with EHLO, to old servers with HELO (RFC 5321 §3.2)."""
        self.phase = Phase.EHLO
        name = (self.options.hello or self._machine()).encode("ascii")
        response = await self._command(b"EHLO " + name)
        self.extensions, self.mechanisms = {}, ()
        if response.code == 250:
            self.extensions, mechanisms = parse_esmtp_extensions(response.message)
            self.mechanisms = tuple(mechanisms)
            return
        if response.code in (500, 502):
            response = await self._command(b"HELO " + name)
        if response.code != 250:
            raise RejectedError(self.phase, _refusal(response))

    def _machine(self) -> str:
        """Return the machine's name, or its address as a literal when it has no full one."""
        name = socket.gethostname()
        if "." in name and name.isascii():
            return name
        address = self._ends("sockname")
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"

    async def _start_tls(self) -> None:
        """Protect the connection; what the settings ask for is never left out."""
        self.phase = Phase.STARTTLS
        if not self.offers("starttls"):
            raise SMTPNotSupported("STARTTLS extension not supported by server.")
        response = await self._command(b"STARTTLS")
        if response.code != 220:
            raise RejectedError(self.phase, _refusal(response))
        self.protocol.in_plain_step()
        context = await asyncio.to_thread(self._context)
        async with asyncio.timeout(self.options.connect_seconds):
            await self.protocol.upgrade(context, self.options.host)

    async def _sign_in(self, username: str) -> None:
        """Sign in by the first of our mechanisms that the server has, as RFC 4954 says."""
        protected = self._is_protected()
        if not protected and not self._is_loopback():
            text = "the password is not sent over a connection without TLS"
            raise RejectedError(Phase.AUTH, Reply(538, "5.7.11", text))
        if not self.offers("auth"):
            raise SMTPNotSupported("SMTP AUTH extension not supported by server.")
        if self.options.access_token is not None:
            await self._sign_in_by_token(username, self.options.access_token)
            return
        order = _PROTECTED_ORDER if protected or self._is_loopback() else _OPEN_ORDER
        mechanisms = [name for name in order if name in self.mechanisms]
        if not mechanisms:
            raise SMTPException("No suitable authentication method found.")
        password = self.options.password() if self.options.password else ""
        for mechanism in mechanisms:
            response = await self._try(mechanism, username, password)
            if response.code == 235:
                self.mechanism = mechanism
                return
            if response.code != 504:  # anything else counts as a guess: no second one
                break
        raise RejectedError(self.phase, _refusal(response))

    async def _sign_in_by_token(
        self, username: str, access_token: Callable[[str | None], Awaitable[str]]
    ) -> None:
        """Sign in by XOAUTH2; a token that is refused is renewed once, as clocks differ."""
        if "xoauth2" not in self.mechanisms:
            raise SMTPException("No suitable authentication method found.")
        token = await access_token(None)
        self.phase = Phase.AUTH
        response = await self._try_token(username, token)
        if response.code == 535:
            renewed = await access_token(token)
            if renewed != token:
                response = await self._try_token(username, renewed)
        if response.code != 235:
            raise RejectedError(self.phase, _refusal(response))
        self.mechanism = "xoauth2"

    async def _try_token(self, username: str, token: str) -> SMTPResponse:
        words = f"user={username}\x01auth=Bearer {token}\x01\x01".encode()
        response = await self._command(b"AUTH XOAUTH2 " + b64encode(words))
        if response.code == 334:  # it says why in base64; the reply comes after an empty answer
            response = await self._command(b"")
        return response

    async def _try(self, mechanism: str, username: str, password: str) -> SMTPResponse:
        match mechanism:
            case "plain":
                token = auth_plain_encode(username, password)
                response = await self._command(b"AUTH PLAIN " + token)
                answers = [token]  # for a server that ignores the first one
            case "login":
                answers = list(auth_login_encode(username, password))
                response = await self._command(b"AUTH LOGIN")
            case _:
                response = await self._command(b"AUTH CRAM-MD5")
                answers = []
                if response.code == 334:
                    answers = [auth_crammd5_verify(username, password, response.message)]
        for answer in answers:
            if response.code != 334:
                break
            response = await self._command(answer)
        if response.code == 334:  # one challenge too many: cancel (RFC 4954 §4)
            response = await self._command(b"*")
        return response

    def _is_protected(self) -> bool:
        transport = self.protocol.transport
        return transport is not None and transport.get_extra_info("ssl_object") is not None

    def _is_loopback(self) -> bool:
        return ip_address(self._ends("peername")).is_loopback

    def _ends(self, which: str) -> str:
        """Return the IP address of one end of the connection; raises ConnectionError."""
        transport = self.protocol.transport
        address = transport.get_extra_info(which) if transport is not None else None
        if not address:
            raise SMTPServerDisconnected(CLOSED)
        return str(address[0]).partition("%")[0]


def tls_context(options: SmtpOptions) -> ssl.SSLContext:
    """Return how certificates are checked; reads files, so call it in a thread.

    Raises OSError and ssl.SSLError.
    """
    context = ssl.create_default_context(cafile=options.ca_file)
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _refusal(response: SMTPResponse) -> Reply:
    """Return a reply that is not the one hoped for; one that refuses nothing is out of step."""
    reply = _reply(response.code, response.message)
    if reply.code < 400:
        raise OutOfStep(f"not an answer to this: {reply}")
    return reply


@lru_cache(maxsize=256)  # most replies are the same few
def _reply(code: int, text: str) -> Reply:
    return make_reply(code, text)

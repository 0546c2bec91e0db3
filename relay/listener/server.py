"""The sockets of the way in: aiosmtpd's protocol class with its inner life replaced.

Stock aiosmtpd runs a coroutine per session that reads line by line, inspects itself for every
connection, drains after every reply and is cancelled by EOF; ARCHITECTURE.md lists what that costs.
Here a `Session` reads whatever arrives; a task runs only while a message is accepted or TLS begins.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import cast

from aiosmtpd.smtp import SMTP

from relay.listener.dialogue import Accept, HangUp, Step, Upgrade
from relay.listener.options import ListenerOptions, Tls
from relay.listener.session import Reception, Session
from relay.listener.tls import server_context
from relay.mail.message import Message, Spooled
from relay.observe.events import RefusalReason, Refused
from relay.observe.journal import Journal
from relay.queue.spool import Spool

MAX_HELD_BYTES = 64 * 1024  # read while a message is accepted; then the client has to wait
HANDSHAKE_SECONDS = 30.0
GOODBYE_SECONDS = 0.5  # for a client to say QUIT when the relay stops
CLOSE_SECONDS = 30.0  # for a client that does not read our last words


class Listener:
    """One address: what its connections share."""

    def __init__(
        self,
        options: ListenerOptions,
        *,
        reception: Reception,
        journal: Journal,
        spool: Spool,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.options = options
        self.reception = reception
        self.journal = journal
        self.spool = spool
        self.loop = loop
        self.context = server_context(options)
        self.connections: set[Connection] = set()
        self.is_leaving = False
        self.emptied = asyncio.Event()  # no connection is left
        self.emptied.set()

    def refuse(self, client: str, reason: RefusalReason, detail: str) -> None:
        """Tell the operator of a client that got no session."""
        self.journal.record(
            Refused(listener=self.options.address, client=client, reason=reason, detail=detail)
        )

    def enter(self, connection: Connection) -> None:
        """Count a connection."""
        self.connections.add(connection)
        self.emptied.clear()

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is closed and has nothing under way."""
        self.connections.discard(connection)
        if not self.connections:
            self.emptied.set()

    def objection(self, client: str) -> tuple[bytes, RefusalReason, str] | None:
        """Return why a client is not let in: reply, reason, words for the operator."""
        options = self.options
        if self.is_leaving:
            return b"421 4.3.2 closing", RefusalReason.BUSY, "came while the relay stops"
        if len(self.connections) > options.max_connections:
            reply = b"421 4.7.0 too many connections, try again later"
            return reply, RefusalReason.BUSY, f"more than {options.max_connections} connections"
        if options.networks and client:
            address = ip_address(client)
            if not any(address in network for network in options.networks):
                return b"554 5.7.1 access denied", RefusalReason.ACCESS, "not in networks"
        return None


class Connection(SMTP):
    """One client: moves bytes between its socket and its session, keeps the time."""

    def __init__(self, listener: Listener) -> None:  # not the stock one: it inspects all methods
        self.loop = listener.loop
        self.transport: asyncio.Transport | None = None
        self._listener = listener
        self._session: Session
        self._client = ""
        self._task: asyncio.Task[None] | None = None  # a message is accepted, or TLS begins
        self._at_eof = False
        self._is_closing = False
        self._is_writing_paused = False
        self._tls = False
        options = listener.options
        self._timeout_duration = min(options.idle_seconds, options.transaction_seconds)
        self._timeout_handle: asyncio.TimerHandle | None = None
        self._read_at = 0.0
        self._transaction_at: float | None = None  # since when one is open

    # -- what the event loop calls ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the client in, or not."""
        listener = self._listener
        self.transport = cast("asyncio.Transport", transport)  # that of uvloop is no subclass
        self._client = address_of(transport.get_extra_info("peername"))
        self._session = Session(
            listener.options,
            reception=listener.reception,
            journal=listener.journal,
            spool=listener.spool,
            client=self._client,
            is_local=not self._client or ip_address(self._client).is_loopback,
        )
        if listener.options.tls is Tls.IMPLICIT:
            self._tls = True
            self._session.dialogue.secured()
        listener.enter(self)
        self._read_at = self.loop.time()
        self._reset_timeout()
        objection = listener.objection(self._client)
        if objection is not None:
            self._make(self._session.dialogue.hang_up(*objection))
        else:
            self._session.greet()
            self._write()

    def data_received(self, data: bytes) -> None:
        """Read on, or keep it for later while something is under way."""
        if self._is_busy or b"\n" in data:  # a command that drips in is no sign of life
            self._read_at = self.loop.time()
        if self._is_closing:
            return
        if self._task is None:
            self._read(data)
        elif self._session.hold(data) > MAX_HELD_BYTES:
            self._pause_reading()

    def eof_received(self) -> bool:
        """Keep the connection for what is still to be answered: many scripts only half-close it."""
        self._at_eof = True
        if self._task is None:
            self._close()
        return not self._tls

    def connection_lost(self, _: Exception | None) -> None:
        """Forget what was not complete; what is being accepted goes on."""
        self.transport = None
        self._is_closing = True
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        if self._task is None:
            self._leave()

    def pause_writing(self) -> None:
        """Read no more from a client that does not read our replies."""
        self._is_writing_paused = True
        self._pause_reading()

    def resume_writing(self) -> None:
        """Read on."""
        self._is_writing_paused = False
        self._resume_reading()

    def _timeout_cb(self) -> None:
        """See whether the client took too long; armed once per span, not once per command."""
        now = self.loop.time()
        due_at = self._read_at + self._listener.options.idle_seconds
        if self._transaction_at is not None:
            due_at = min(due_at, self._transaction_at + self._listener.options.transaction_seconds)
        if self._is_closing:
            self.abort()
        elif self._task is not None or now < due_at:
            self._reset_timeout(max(due_at - now, 0.01) if self._task is None else None)
        else:
            dialogue = self._session.dialogue
            step = dialogue.hang_up(b"421 4.4.2 timeout", RefusalReason.TIMEOUT, "client too slow")
            self._make(step)

    # -- what the room calls ------------------------------------------------------------------

    def finish(self) -> None:
        """Say goodbye now, or after the transaction that is open."""
        if self._task is None and not self._is_closing and not self._is_busy:
            self._make(self._session.leave())

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._task is not None:
            self._task.cancel()
            self._task.add_done_callback(lambda _: self._end_task())  # it may not have begun
        if self.transport is not None:
            self.transport.abort()

    # -- steps --------------------------------------------------------------------------------

    @property
    def _is_busy(self) -> bool:
        return self._session.dialogue.transaction is not None

    def _read(self, data: bytes) -> None:
        self._make(self._session.receive(data))

    def _make(self, step: Step | None) -> None:
        """Write the replies, in one go, and make the step."""
        self._write()
        match step:
            case None:
                self._rest()
            case Accept(message):
                self._task = self.loop.create_task(self._accept(message))
            case Upgrade():
                # At once: what came in the clear must not be taken for what TLS protects.
                self._pause_reading()
                self._task = self.loop.create_task(self._secure())
            case HangUp():
                self._close()

    def _rest(self) -> None:
        """Wait for the client, unless nobody is to be waited for."""
        if not self._is_busy:
            self._transaction_at = None
            if self._listener.is_leaving:
                self.loop.call_later(GOODBYE_SECONDS, self.finish)
        elif self._transaction_at is None:
            self._transaction_at = self._read_at
        if self._at_eof:
            self._close()

    def _write(self) -> None:
        replies = self._session.dialogue.take_replies()
        if replies and self.transport is not None and not self._is_closing:
            self.transport.write(replies)

    async def _accept(self, message: Message) -> None:
        """Have a message taken. Neither EOF nor a timer nor a lost connection cancels this.

        When the end of the program does, it may be queued or not: its file stays, to be found.
        """
        try:
            reply = await self._listener.reception.accept(message)
        except Exception as error:  # the edge of the task
            reply = self._session.crash(error)
        finally:
            self._end_task()
        if not reply.is_positive and isinstance(message.content, Spooled):
            with suppress(OSError):  # it is swept up later
                self._listener.spool.remove(message.content.path)
        if self.transport is None:
            return
        self._transaction_at = None
        self._session.dialogue.settle(reply)
        self._resume_reading()
        self._read(b"")  # what arrived meanwhile

    async def _secure(self) -> None:
        """Shake hands after STARTTLS."""
        secured: asyncio.Transport | None = None
        try:
            secured = await self._shake_hands()
        except OSError as error:  # that of `ssl` is one
            self._session.dialogue.record(RefusalReason.ACCESS, f"TLS handshake: {error}")
        finally:
            if secured is None and self.transport is not None:
                self.transport.abort()
                self.connection_lost(None)  # the loop does not say so before TLS is there
            self._end_task()
        if secured is not None and self.transport is not None:
            self.transport, self._tls = secured, True
            self._session.dialogue.secured()
            self._read(b"")

    async def _shake_hands(self) -> asyncio.Transport | None:
        context = self._listener.context
        if self.transport is None or context is None:
            return None
        return await self.loop.start_tls(
            self.transport,
            self,
            context,
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
        )

    def _end_task(self) -> None:
        self._task = None
        self._read_at = self.loop.time()  # the client waited for us, not we for it
        if self.transport is None:
            self._leave()

    def _leave(self) -> None:
        self._session.abandon()
        self._listener.leave(self)

    def _pause_reading(self) -> None:
        if self.transport is not None:
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self.transport is not None and self._task is None and not self._is_writing_paused:
            self.transport.resume_reading()

    def _close(self) -> None:
        """Close once everything is written, or when the client takes too long to read it."""
        if self.transport is not None and not self._is_closing:
            self._is_closing = True
            self.transport.close()
            self._reset_timeout(CLOSE_SECONDS)


def address_of(peer: object) -> str:
    """Return the IP address of a peer in its shortest form, "" for a Unix socket."""
    if not isinstance(peer, tuple):
        return ""
    address = ip_address(str(peer[0]).partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)

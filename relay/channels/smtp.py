"""An SMTP server to submit to: connections kept for the next message, one outcome per recipient."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from relay.channels.channel import Parcel, SendersAsked
from relay.channels.options import SmtpOptions
from relay.channels.pace import Pace
from relay.channels.sender import as_own, may_send_as, own_address
from relay.channels.smtp_ask import ask_senders
from relay.channels.smtp_certificate import shown
from relay.channels.smtp_errors import refused
from relay.channels.smtp_protocol import UpstreamProtocol
from relay.channels.smtp_session import Session, tls_context
from relay.channels.smtp_transaction import Transaction
from relay.mail.attempt import Attempt, Outcome, Refused, Sent
from relay.mail.reply import MAX_TEXT, Phase

_CLOSE_SECONDS = 2.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SmtpChannel:
    """See `Channel`. A connection is kept only while both sides are in step, else dropped."""

    def __init__(
        self,
        name: str,
        options: SmtpOptions,
        *,
        now: Callable[[], datetime] = _utc_now,
        pace: Pace | None = None,
    ) -> None:
        """`pace` is that of `new_connections`, which other channels of this name may share."""
        self._name = name
        self._options = options
        self._now = now
        self._room = asyncio.Semaphore(options.connections)
        self._idle: list[Session] = []  # the one used last is taken first
        self._expiry: asyncio.TimerHandle | None = None
        self._leaving: set[UpstreamProtocol] = set()
        self._context: ssl.SSLContext | None = None
        self._is_closed = False
        self._pace = pace

    @property
    def name(self) -> str:
        """Return the name in the settings."""
        return self._name

    @property
    def upstream(self) -> str:
        """Return `host:port`."""
        host = self._options.host
        return f"[{host}]:{self._options.port}" if ":" in host else f"{host}:{self._options.port}"

    async def send(self, parcel: Parcel) -> Attempt:
        """Make one transaction; raises only CancelledError."""
        async with self._room:
            started_at = self._now()
            outcomes, data_sent = await self._deliver_as_own(parcel)
            return Attempt(
                channel=self._name,
                upstream=self.upstream,
                started_at=started_at,
                ended_at=self._now(),
                outcomes=outcomes,
                data_sent=data_sent,
            )

    async def ask_senders(self, reverse_paths: Sequence[str]) -> SendersAsked | Refused:
        """Ask on a new connection, which is kept."""
        options = self._options
        own = own_address(options)
        asked = {each: each if may_send_as(options, each) else own for each in reverse_paths}
        async with self._room:
            session = Session(options, self._tls_context)
            try:
                await self._open(session)
                senders = tuple(dict.fromkeys(each for each in asked.values() if each))
                answer = await ask_senders(session, senders, own)
            except Exception as error:
                session.abort()
                return await self._why(error, session)
            except BaseException:
                session.abort()
                raise
            if isinstance(answer, Refused):
                session.abort()
                return answer
            self._give_back(session)
        said = answer.refused
        mine = {path: said[each] for path, each in asked.items() if each and each in said}
        return SendersAsked(mine, answer.takes_some)

    async def close(self) -> None:
        """Say goodbye on the idle connections and wait a moment for the answers."""
        self._is_closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        while self._idle:
            self._retire(self._idle.pop())
        if self._leaving:
            await asyncio.wait([one.gone for one in self._leaving], timeout=_CLOSE_SECONDS)
        for protocol in list(self._leaving):
            protocol.abort()

    async def _deliver_as_own(self, parcel: Parcel) -> tuple[tuple[Outcome, ...], bool]:
        """Return the same as `_deliver`; what the channel changed stands behind the replies."""
        try:
            parcel, change = await as_own(parcel, self._options)
        except OSError as error:  # the content cannot be read
            return (refused(error, Phase.DATA),) * len(parcel.forward_paths), False
        outcomes, data_sent = await self._deliver(parcel)
        if change:
            outcomes = tuple(
                Sent(replace(each.reply, text=f"{each.reply.text} ({change})"[:MAX_TEXT]))
                if isinstance(each, Sent)
                else each
                for each in outcomes
            )
        return outcomes, data_sent

    async def _deliver(self, parcel: Parcel) -> tuple[tuple[Outcome, ...], bool]:
        """Return the outcomes and whether content was begun.

        A kept connection may have been closed by the server meanwhile: nobody's failure, so what
        breaks before MAIL is answered is tried once more on a new one.
        """
        session = self._take()
        if session is not None:
            transaction = await self._transact(session, parcel)
            if transaction is not None:
                return transaction.outcomes, transaction.data_sent
        session = Session(self._options, self._tls_context)
        try:
            await self._open(session)
        except Exception as error:
            session.abort()
            return (await self._why(error, session),) * len(parcel.forward_paths), False
        except BaseException:
            session.abort()
            raise
        transaction = await self._transact(session, parcel, is_new=True)
        assert transaction is not None
        return transaction.outcomes, transaction.data_sent

    async def _open(self, session: Session) -> None:
        """Connect and sign in, once it may be done."""
        if self._pace is None:
            await session.open()
            return
        loop = asyncio.get_running_loop()
        turn = self._pace.take(loop.time())
        await asyncio.sleep(turn - loop.time())
        try:
            await session.open()
        finally:
            self._pace.opened(turn, loop.time())

    async def _why(self, error: Exception, session: Session) -> Refused:
        """Return why a connection could not be opened."""
        return replace(refused(error, session.phase), seen=await shown(error, session, self._open))

    async def _transact(
        self, session: Session, parcel: Parcel, *, is_new: bool = False
    ) -> Transaction | None:
        """Return the finished transaction, None when the connection turned out to be stale."""
        transaction = Transaction(session, parcel)
        try:
            await transaction.run()
        except ValueError as error:  # nothing was said yet: the connection is not to blame
            transaction.fail(error)
        except Exception as error:
            session.abort()
            if not is_new and not transaction.was_answered:
                return None
            transaction.fail(error)
        except BaseException:
            session.abort()
            raise
        self._give_back(session)
        return transaction

    def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls_context(self._options)
        return self._context

    def _take(self) -> Session | None:
        """Return an idle connection that still lives."""
        while self._idle:
            session = self._idle.pop()
            if session.protocol.is_in_step:
                return session
            session.abort()
        return None

    def _give_back(self, session: Session) -> None:
        if self._is_closed or not session.is_reusable:
            self._retire(session)
            return
        loop = asyncio.get_running_loop()
        session.idle_since = loop.time()
        self._idle.append(session)
        if self._expiry is None:
            self._expiry = loop.call_later(self._options.idle_seconds, self._expire)

    def _expire(self) -> None:
        """Retire what has been idle for long; come again when the next one is due."""
        loop = asyncio.get_running_loop()
        self._expiry = None
        oldest = loop.time() - self._options.idle_seconds
        while self._idle and self._idle[0].idle_since <= oldest:
            self._retire(self._idle.pop(0))
        if self._idle:
            due = self._idle[0].idle_since + self._options.idle_seconds
            self._expiry = loop.call_at(due, self._expire)

    def _retire(self, session: Session) -> None:
        protocol = session.protocol
        if protocol.gone.done():
            return
        self._leaving.add(protocol)
        protocol.gone.add_done_callback(lambda _: self._leaving.discard(protocol))
        protocol.retire()

"""What a queue has to do. One verb, one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from relay.mail.attempt import Attempt
from relay.mail.message import Content, Message
from relay.policy.accounting import Accounting, State
from relay.policy.corrections import Past
from relay.policy.evidence import EInvoice
from relay.policy.health import Health
from relay.policy.kinds import Kind, Verdict
from relay.policy.limits import Lesson, Limit, Usage
from relay.policy.plan import Plan
from relay.policy.settlement import Settlement
from relay.queue.rows import Claim, Depth, Lease, MessageRow, RecipientRow, Turn, Waiting


class StoreError(Exception):
    """The queue cannot be read or written now: disk full, read-only, damaged, locked."""


class QueueDamagedError(StoreError):
    """The files of the queue are not what they should be; a person has to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A message that is about to be accepted."""

    message: Message
    subject: str
    verdict: Verdict
    plans: tuple[Plan, ...]  # one for each forward-path, in its order
    channels: tuple[str, ...]  # which one of its plan each recipient takes first
    facts: tuple[EInvoice, ...] = ()  # what its documents say of themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much one claim may take."""

    leases: int  # at least one
    recipients: int  # of one transaction, at least one
    lease_for: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a person points at; everything given has to hold."""

    queue_ids: tuple[str, ...] = ()  # empty: all
    forward_path: str | None = None
    state: State | None = None
    channel: str | None = None
    kind: Kind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long what is finished is kept."""

    rows: timedelta
    content: timedelta
    charges: timedelta  # at least the reach of any limit
    contacts: timedelta = timedelta()  # the same of those that count distinct recipients


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What was found when the queue was opened."""

    recovered: int  # recipients that were being sent when the last run ended without settling
    latest_at: datetime  # of all that is dated; later than now if the clock was stepped back
    health: Mapping[str, Health] = field(default_factory=dict)


Planner = Callable[[Waiting, Callable[[int], bytes]], Plan | None]
"""Plans what waits, with as much of its content as it asks for; None holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """What one correction did."""

    messages: int  # whose kind is now the one that was said
    recipients: int  # of those: what waits or is held, planned again


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What one purge did."""

    messages: int  # forgotten
    more: bool  # there is more to forget


class Store(Protocol):
    """A queue. Every method raises StoreError when the world fails, and is one transaction."""

    async def open(self, now: datetime, retry_at: datetime) -> Opened:
        """Make ready; what a run that died was sending becomes due at `retry_at`."""

    async def close(self) -> None:
        """Finish what was begun; nothing else is called after it."""

    def set_limits(self, limits: Mapping[str, Sequence[Limit]]) -> None:
        """Say what each channel may send; what was charged so far counts."""

    def keep_content(self, span: timedelta) -> None:
        """Say how long content is kept once it was sent to the last recipient."""

    def tell(self, mail_for: Callable[[str], None]) -> None:
        """Say whom to tell of mail for a channel."""

    def keep(self, content: Content) -> Awaitable[None] | None:
        """Begin to make content durable, for `put`; None when there is nothing to be done yet."""

    async def put(self, entry: Entry, kept: Awaitable[None] | None = None) -> None:
        """Make a message durable. After it, and not before, the client gets its 250."""

    async def claim(self, channel: str, room: Room, now: datetime) -> Claim:
        """Lease what is due, as far as the limits have room, and charge them for it."""

    async def settle(
        self,
        lease: Lease,
        attempt: Attempt,
        settlement: Settlement,
        health: Health | None,
        reports: Sequence[Entry],
    ) -> None:
        """Write down what came of a lease, and queue its reports; all of it or nothing."""

    async def set_health(self, channel: str, health: Health) -> None:
        """Remember how a channel is."""

    async def waiting(
        self,
        channel: str,
        *,
        only_alternatives: bool,
        only_essential: bool = False,
        limit: int,
    ) -> list[Waiting]:
        """Return what waits for `channel`, the first first; perhaps only what may go elsewhere."""

    async def move(self, moves: Mapping[int, str]) -> int:
        """Let waiting recipients (by id) go by another channel; return how many did.

        Those that are in doubt stay: they may have arrived by theirs.
        """

    async def plan_again(self, fingerprint: str, plan: Planner, now: datetime) -> int:
        """Plan what waits anew, unless `fingerprint` is the last one; return how many."""

    async def retry(self, selection: Selection, now: datetime) -> int:
        """Make what is selected due now; return how many recipients."""

    async def hold(self, selection: Selection, why: str) -> int:
        """Hold what is waiting; return how many recipients."""

    async def release(self, selection: Selection, now: datetime) -> int:
        """Let go what is held; return how many recipients."""

    async def drop(self, selection: Selection, now: datetime) -> int:
        """Throw away what is waiting or held; return how many recipients."""

    async def correct(
        self, queue_ids: Sequence[str], kind: Kind, plan: Planner, now: datetime
    ) -> Corrected:
        """Set the kind of messages and plan again what of them waits or is held.

        What relay had found is remembered; to say that again takes the correction back.
        """

    async def past(self, limit: int) -> list[Past]:
        """Return the newest messages as they were told and corrected, the newest first."""

    async def expired(self, received_before: datetime, limit: int) -> list[Waiting]:
        """Return what was deferred and is older than `received_before`."""

    async def overdue(self, received_before: datetime, limit: int) -> list[Waiting]:
        """Return what still waits, is older, and whose sender got no delayed notice yet."""

    async def give_up(
        self,
        recipient_ids: Sequence[int],
        state: State,
        why: str,
        reports: Sequence[Entry],
        now: datetime,
    ) -> None:
        """Fail or hold (`state`) what waits, with its reports."""

    async def notice(self, recipient_ids: Sequence[int], reports: Sequence[Entry]) -> None:
        """Note that senders were told of a delay, with the notices."""

    async def take_back(self, in_flight: frozenset[int], now: datetime) -> int:
        """Make due what was leased until before `now` by a task that is gone; return how many.

        `in_flight` are message ids that are still being worked on.
        """

    async def clamp(self, now: datetime, latest: datetime) -> int:
        """Make nothing due after `latest` and date no charge after `now`; return how many were due.

        The clock was stepped back.
        """

    async def purge(self, retention: Retention, now: datetime) -> Purged:
        """Forget some of what is finished and old."""

    async def recipients(self, selection: Selection, limit: int) -> list[RecipientRow]:
        """Return recipients as people see them, the newest message first."""

    async def message(self, queue_id: str) -> MessageRow | None:
        """Return one message with its history, None if it is not known."""

    async def content_head(self, message_id: int, size_bytes: int) -> bytes:
        """Return the beginning of a message's content, b"" if it is gone."""

    async def probe(self) -> None:
        """Write a little, to show that the queue can be written."""

    async def depth(self) -> list[Depth]:
        """Return how much there is of everything that is not finished."""

    async def accounting(self) -> Accounting:
        """Count every recipient and compare it with what was accepted."""

    async def learn(self, lease: Lease, window: timedelta | None, now: datetime) -> Lesson | None:
        """Note that the provider refuses a lease as over a limit, of `window` if it says so.

        Return what that teaches, None for a channel without limits.
        """

    async def turns(self, recipient_ids: Sequence[int], now: datetime) -> dict[int, Turn]:
        """Return, by id, when those go that wait for a limit of their channel."""

    async def usage(self, now: datetime) -> dict[str, tuple[Usage, ...]]:
        """Return how each channel's limits stand."""

"""What the queue hands out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from relay.mail.message import Content, Envelope, Origin
from relay.policy.accounting import State
from relay.policy.evidence import EInvoice
from relay.policy.kinds import ESSENTIAL, Kind, Reason
from relay.policy.limits import Charge, Usage, Wait
from relay.policy.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One recipient of a lease."""

    id: int
    forward_path: str
    attempts: int  # this one included
    doubts: int  # earlier attempts that ended in doubt
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to try to send one message to some of its recipients by one channel, once."""

    message_id: int
    queue_id: str
    channel: str
    kind: Kind
    is_essential: bool
    received_at: datetime
    reverse_path: str | None
    body_8bit: bool
    smtputf8: bool
    subject: str
    targets: tuple[Target, ...]  # at least one
    content: Content
    charge: Charge


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a claim brought."""

    leases: tuple[Lease, ...]
    next_at: datetime | None  # when something more may be claimed; None: not before news
    throttled: Wait | None = None  # for a limit; what is essential may be due before
    has_reserve: bool = False  # of it, so that only mail that is not essential waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A recipient that waits, with what the rules of routing may ask for."""

    id: int
    message_id: int
    forward_path: str
    state: State
    channel: str
    plan: Plan
    attempts: int
    doubts: int  # attempts by `channel` that ended in doubt; with one, it goes by no other
    why: str
    kind: Kind
    unsure: bool
    reverse_path: str | None
    application: str | None
    listener: str
    size_bytes: int
    smtputf8: bool
    subject: str
    received_at: datetime
    due_at: datetime  # 1970 for what is held

    @property
    def is_essential(self) -> bool:
        """Return whether it may take another channel and the reserve of a limit."""
        return self.unsure or self.kind in ESSENTIAL


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One entry of a recipient's history."""

    at: datetime
    channel: str
    upstream: str
    result: str
    reply: str
    entry: str | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """When a recipient that waits for a limit goes, if nothing more important comes."""

    usage: Usage  # of the limit that decides, with the first room for its kind
    ahead: int  # recipients that go before it
    at: datetime  # about


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientRow:
    """A recipient as people see it."""

    id: int
    queue_id: str
    forward_path: str
    state: State
    channel: str
    plan: Plan
    due_at: datetime | None  # when it is tried, for what waits
    attempts: int
    why: str  # the last reply, or why it waits or is held
    reverse_path: str | None
    subject: str
    kind: Kind
    size_bytes: int
    received_at: datetime
    finished_at: datetime | None
    turn: Turn | None = None  # where a limit lets it wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """That a person said what a message is, and what relay had found."""

    at: datetime
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    """A message with everything that is known of it."""

    queue_id: str
    received_at: datetime
    envelope: Envelope
    origin: Origin
    size_bytes: int
    subject: str
    kind: Kind
    certainty: float  # of what relay found, as are the reasons
    reasons: tuple[Reason, ...]
    recipients: tuple[RecipientRow, ...]
    attempts: tuple[tuple[int, AttemptRow], ...]  # recipient id, attempt; oldest first
    has_content: bool
    corrected: Correction | None = None
    facts: tuple[EInvoice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How much is in one state, by channel and kind."""

    state: State
    channel: str
    kind: Kind
    recipients: int
    oldest_at: datetime | None  # reception of the oldest

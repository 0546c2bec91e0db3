"""The closed list of what happens: a new event does not type-check until all hearers know it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from relay.policy.kinds import Kind


class RefusalReason(StrEnum):
    """Why the listener did not take something; a closed set, it is a label."""

    SYNTAX = "syntax"
    SIZE = "size"
    RECIPIENTS = "recipients"
    HOPS = "hops"
    AUTH = "auth"
    ACCESS = "access"
    RULE = "rule"
    BUSY = "busy"
    STORE = "store"
    ABUSE = "abuse"  # HTTP on the port, endless lines, too many bad commands
    TIMEOUT = "timeout"
    INTERNAL = "internal"


class Result(StrEnum):
    """What an attempt came to for one recipient; a closed set, it is a label."""

    SENT = "sent"
    DEFERRED = "deferred"  # later, by the same channel
    DIVERTED = "diverted"  # by another channel
    IN_DOUBT = "in_doubt"
    HELD = "held"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    version: str
    settings: str  # path, or "rehearsal"
    recovered: int  # recipients that were being sent when the last run died
    rehearsal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    drained: bool  # whether everything in flight was settled before the deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerOpened:
    address: str
    tls: str
    auth: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    queue_id: str
    listener: str
    application: str | None
    client: str
    reverse_path: str | None
    recipients: int
    size_bytes: int
    kind: Kind
    certainty: float
    channels: tuple[str, ...]  # first channel of each plan, without repeats
    seconds: float  # from the final dot to the commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    listener: str
    client: str
    reason: RefusalReason
    detail: str  # exact words for the operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """One recipient of one attempt."""

    queue_id: str
    channel: str
    upstream: str
    kind: Kind
    forward_path: str
    result: Result
    reply: str
    entry: str | None  # of the reply dictionary, for what was refused
    attempts: int
    seconds: float
    due_at: datetime | None  # when it is tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPaused:
    channel: str
    category: str  # of the judgement: a closed set
    cause: str
    fix: str
    reply: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelResumed:
    channel: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelThrottled:
    channel: str
    limit: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitLearned:
    """A provider said that a limit is used up, when so much of it had been counted."""

    channel: str
    limit: str
    counted: int
    until: datetime  # no more than that is sent before


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderRefused:
    """A channel that was mended does not take a sender whose mail waits for it."""

    channel: str
    reverse_path: str
    reply: str
    moved: int  # recipients that take another channel
    held: int  # recipients that have none


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A delivery report (RFC 3464) was queued."""

    queue_id: str  # of the report
    about: str  # queue id of the message it is about
    action: str  # "failed" or "delayed"
    recipients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerActed:
    """A person did something to the queue or a channel."""

    action: str  # "retry", "hold", "release", "drop", "correct"
    recipients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTrouble:
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionFailed:
    queue_id: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsLoaded:
    path: str
    ok: bool
    detail: str  # the mistakes, one a line, when not ok


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    expired: int  # recipients given up
    purged: int  # messages forgotten
    notices: int  # delayed notices


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed:
    """A mistake of ours, caught at the edge of a task; the lease will run out."""

    where: str
    detail: str


Event = (
    Started
    | Stopped
    | ListenerOpened
    | Accepted
    | Refused
    | Attempted
    | ChannelPaused
    | ChannelResumed
    | ChannelThrottled
    | LimitLearned
    | SenderRefused
    | Reported
    | OwnerActed
    | StoreTrouble
    | InspectionFailed
    | SettingsLoaded
    | Swept
    | Crashed
)

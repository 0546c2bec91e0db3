"""What came of one try to send: an outcome for each recipient, never half empty."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from relay.mail.reply import Phase, Reply


@dataclass(frozen=True, slots=True)
class Sent:
    """The server took the message for this recipient."""

    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The message was not taken; the reply is the server's, or the one it would have sent."""

    phase: Phase
    reply: Reply
    error: str | None = None  # class name of the exception when no server spoke
    errno: int | None = None
    seen: str = ""  # a sentence for the owner on what the server showed; it decides nothing


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The connection was lost after the final dot and before the reply (RFC 1047)."""

    reply: Reply  # made up: 4.4.2


Outcome = Sent | Refused | InDoubt


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One transaction with an upstream."""

    channel: str
    upstream: str  # host:port, a command or a folder
    started_at: datetime
    ended_at: datetime
    outcomes: tuple[Outcome, ...]  # one for each recipient of the lease, in its order
    data_sent: bool  # whether DATA was begun; before that a provider counts nothing

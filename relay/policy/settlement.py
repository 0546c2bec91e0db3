"""What becomes of each recipient after an attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from relay.mail.reply import Reply
from relay.policy.judgement import Judgement


@dataclass(frozen=True, slots=True)
class Done:
    """The upstream took it."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Later:
    """Again at `due_at`, by `channel`."""

    due_at: datetime
    channel: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class Doubt:
    """Perhaps sent: once more at `due_at`, by the same channel."""

    due_at: datetime
    reply: Reply


@dataclass(frozen=True, slots=True)
class Held:
    """A person has to decide."""

    why: str


@dataclass(frozen=True, slots=True)
class Dead:
    """Failed for good; the reverse-path gets a report."""

    reply: Reply


Disposition = Done | Later | Doubt | Held | Dead


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """One disposition and, for what was refused, one judgement per recipient of the attempt."""

    dispositions: tuple[Disposition, ...]
    judgements: tuple[Judgement | None, ...]
    refund_messages: int  # what the provider has not counted
    refund_recipients: int

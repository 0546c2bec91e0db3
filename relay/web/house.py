"""What the web asks of the house. The app is one; tests bring a small one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from relay.observe.snapshot import Snapshot
from relay.policy.corrections import Past
from relay.policy.kinds import Kind
from relay.queue.rows import MessageRow, RecipientRow
from relay.queue.store import Corrected, Selection


class HouseError(Exception):
    """What was asked for is not possible now: why, and what to do."""

    def __init__(self, error: str, fix: str) -> None:
        super().__init__(error)
        self.error = error
        self.fix = fix


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What is known of this run without asking the queue."""

    version: str
    settings: str  # path, or "rehearsal"
    rehearsal: bool
    started_at: datetime
    listeners: tuple[str, ...]  # addresses that are open
    http: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A rule for what a person corrected by hand."""

    kind: Kind
    rule: str  # YAML, an item of `classification.rules`
    corrected: int  # messages that it is made from
    changes: int  # others of the history that it would change
    examples: tuple[Past, ...]  # the newest of both


class House(Protocol):
    """Every method that asks the queue raises StoreError when it does not answer."""

    async def status(self) -> Status:
        """Return what is known of this run."""

    async def snapshot(self) -> Snapshot:
        """Return how queue and channels stand."""

    async def why_unhealthy(self) -> Sequence[str]:
        """Return, in words, why this process should be restarted; nothing when it is well."""

    async def why_not_ready(self) -> Sequence[str]:
        """Return, in words, why mail cannot be taken now; nothing when it can."""

    async def queue(self, selection: Selection, limit: int) -> Sequence[RecipientRow]:
        """Return recipients, the newest message first."""

    async def message(self, queue_id: str) -> MessageRow | None:
        """Return one message with its history, None when it is not known."""

    async def retry(self, selection: Selection) -> int:
        """Make due now; return how many recipients."""

    async def hold(self, selection: Selection) -> int:
        """Hold what waits; return how many recipients."""

    async def release(self, selection: Selection) -> int:
        """Let go what is held; return how many recipients."""

    async def drop(self, selection: Selection) -> int:
        """Throw away what waits or is held; return how many recipients."""

    async def correct(self, queue_ids: Sequence[str], kind: Kind) -> Corrected:
        """Set the kind of messages by hand; what of them waits is planned again."""

    async def proposals(self) -> Sequence[Proposed]:
        """Return rules that would have made the corrections in the history."""

    async def resume(self, channel: str) -> str:
        """Let a paused or stopped channel send; say so. Raises HouseError for an unknown one."""

    async def stop(self, channel: str) -> str:
        """Stop a channel until a person resumes it; say so. Raises HouseError as `resume` does."""

    async def reload(self) -> str:
        """Read the settings anew; say what changed. Raises HouseError with their mistakes."""

"""The first promise as a sum: every accepted recipient is in exactly one state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a recipient's copy is."""

    QUEUED = "queued"  # not tried yet
    SENDING = "sending"  # leased to a channel
    SENT = "sent"
    DEFERRED = "deferred"  # tried, to be tried again
    HELD = "held"  # a person has to decide
    IN_DOUBT = "in_doubt"  # perhaps sent; to be tried again after a long wait
    FAILED = "failed"  # reported to the reverse-path, or visible here if there is none
    DROPPED = "dropped"  # a person threw it away


WAITING = frozenset({State.QUEUED, State.DEFERRED, State.IN_DOUBT})
FINAL = frozenset({State.SENT, State.FAILED, State.DROPPED})


@dataclass(frozen=True, slots=True)
class Accounting:
    """`accepted = queued + sending + sent + deferred + held + in doubt + failed + dropped`."""

    accepted: int  # recipients, since the queue was made
    states: dict[State, int]  # every state, finished ones that were purged included

    @property
    def difference(self) -> int:
        """Return what is missing (positive) or too much (negative); it must be 0."""
        return self.accepted - sum(self.states.values())

"""A channel without an account: it takes nothing, and says what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from relay.channels.channel import Parcel, SendersAsked
from relay.mail.attempt import Attempt, Refused
from relay.mail.reply import Phase, Reply


@dataclass(frozen=True, slots=True)
class UnconnectedChannel:
    """See `Channel`. Whatever is asked of it is refused for a fault of its own: mail waits."""

    name: str
    now: Callable[[], datetime]

    @property
    def upstream(self) -> str:
        """Return that there is none."""
        return "none yet"

    @property
    def refusal(self) -> Refused:
        """Return what it says to everything (RFC 3463: system incorrectly configured)."""
        text = f"not connected yet: run `relay connect {self.name}`"
        return Refused(phase=Phase.CONNECT, reply=Reply(451, "4.3.5", text))

    async def send(self, parcel: Parcel) -> Attempt:
        """Refuse it."""
        at = self.now()
        return Attempt(
            channel=self.name,
            upstream=self.upstream,
            started_at=at,
            ended_at=at,
            outcomes=(self.refusal,) * len(parcel.forward_paths),
            data_sent=False,
        )

    async def ask_senders(self, reverse_paths: Sequence[str]) -> SendersAsked | Refused:  # noqa: ARG002
        """Return why nobody can be asked."""
        return self.refusal

    async def close(self) -> None:
        """There is nothing to give back."""

"""What a way out is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.mail.attempt import Attempt, Refused
from relay.mail.message import Content, content_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One transaction to make: what a channel needs of a lease, and nothing more."""

    queue_id: str  # for file names and logs
    reverse_path: str | None
    forward_paths: tuple[str, ...]  # at least one
    content: Content
    body_8bit: bool
    smtputf8: bool
    header: bytes = b""  # goes out in the place of the first `instead_of` octets of `content`
    instead_of: int = 0

    @property
    def size_bytes(self) -> int:
        """Return how much goes out."""
        return content_size(self.content) - self.instead_of + len(self.header)


@dataclass(frozen=True, slots=True)
class SendersAsked:
    """Which senders a server does not take now."""

    refused: Mapping[str, Refused]
    takes_some: bool  # of them, or the account itself: else it may be said of the channel


class Channel(Protocol):
    """A named way out. Several `send` run at once, up to the settings' `connections`."""

    @property
    def name(self) -> str:
        """Return the name in the settings."""

    @property
    def upstream(self) -> str:
        """Return what is behind it, for people: `smtp.example.com:587`."""

    async def send(self, parcel: Parcel) -> Attempt:
        """Make one transaction; raises only CancelledError."""

    async def ask_senders(self, reverse_paths: Sequence[str]) -> SendersAsked | Refused:
        """Return which of them (at least one) the server does not take, or why it is not asked."""

    async def close(self) -> None:
        """Give connections back; `send` is not called again."""

"""How things stand at one moment: what metrics, status and readiness are made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from relay.policy.accounting import Accounting, State
from relay.policy.health import Health
from relay.policy.kinds import Kind
from relay.policy.limits import Usage


class DepthRow(Protocol):
    """How much is in one state, by channel and kind; the queue's own rows are such."""

    @property
    def state(self) -> State:
        """The state."""

    @property
    def channel(self) -> str:
        """The channel that it waits for, or took."""

    @property
    def kind(self) -> Kind:
        """The kind."""

    @property
    def recipients(self) -> int:
        """How many."""

    @property
    def oldest_at(self) -> datetime | None:
        """Reception of the oldest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelView:
    """One channel as it stands."""

    name: str
    upstream: str  # host:port, a command or a folder
    health: Health
    throttled_until: datetime | None  # when a limit has room again
    usage: tuple[Usage, ...]
    connected_at: datetime | None = None  # by `relay connect`, in the place of the settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The queue and the channels at `now`."""

    now: datetime
    depths: tuple[DepthRow, ...]
    accounting: Accounting
    channels: tuple[ChannelView, ...]

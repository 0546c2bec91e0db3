"""The settings as the rest of the relay sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from relay.channels.options import (
    FolderOptions,
    SendmailOptions,
    SmtpOptions,
    UnconnectedOptions,
)
from relay.connect.options import Grant
from relay.inspect.inspection import Guide
from relay.listener.options import ListenerOptions
from relay.policy.limits import Limit
from relay.policy.retry import Schedule
from relay.policy.rules import KindRule, Rule
from relay.providers.published import HEADROOM, Published
from relay.web.options import HttpOptions

ChannelOptions = SmtpOptions | UnconnectedOptions | SendmailOptions | FolderOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """A named way out and how much of it may be used."""

    name: str
    options: ChannelOptions
    connections: int  # transactions at once
    limits: tuple[Limit, ...]
    max_recipients: int  # of one transaction
    max_message_bytes: int | None  # larger ones take another channel, None for any
    provider: str | None  # whose knowledge applies, None to tell it from the host
    tier: str | None = None  # of the account; None: the lowest
    headroom: int = HEADROOM  # percent of what the provider publishes that is used
    own: frozenset[str] = field(default=frozenset(), compare=False)  # keys that the owner gave
    published: Published | None = None  # of the provider, where it is known
    grant: Grant | None = None  # signs in by tokens
    connected_at: datetime | None = None  # by `relay connect`, whose server and account it uses


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """What the owner says of what mail is; the relay tells the rest."""

    guide: Guide
    rules: tuple[KindRule, ...]  # in order, before all else


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Which mail goes by which channel."""

    only_use_for_direct_emails: bool
    rules: tuple[Rule, ...]  # in order; `via` names only channels that exist


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Who delivery reports and delay notices come from."""

    address: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How long what is finished stays visible."""

    keep: timedelta
    keep_content: timedelta  # counted from the end of the message's last recipient


class LogLevel(StrEnum):
    """The least that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """For people, or for machines."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What is written to the log, and how."""

    level: LogLevel
    format: LogFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that the owner decided. Two are equal when they say the same."""

    source: str  # path of the file, "rehearsal" without one
    rehearsal: bool  # every channel is a folder: nothing leaves the machine
    state_dir: Path  # absolute
    hostname: str
    listeners: tuple[ListenerOptions, ...]
    http: HttpOptions | None  # None: switched off
    channels: Mapping[str, ChannelSettings]  # in the order of the file, at least one
    classification: Classification
    routing: Routing
    retry: Schedule
    reports: Reports
    history: History
    log: Log
    drain: timedelta  # how long a stop waits for what is being sent
    warnings: tuple[str, ...]  # about the machine: secrets open to others, files not there

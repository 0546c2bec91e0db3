"""Whose fault a failure is: the shape of an answer that the reply dictionary gives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Category(StrEnum):
    """What a failure is about."""

    NETWORK = "network"
    TLS = "tls"
    CONFIG = "config"
    AUTH = "auth"
    ACCOUNT = "account"
    POLICY = "policy"
    OVER_QUOTA = "over_quota"
    REPUTATION = "reputation"
    RECIPIENT = "recipient"
    CONTENT = "content"
    SERVER = "server"
    UNKNOWN = "unknown"


class Retry(StrEnum):
    """What the queue should do."""

    NONE = "none"  # give the message back to its sender
    BACKOFF = "backoff"  # again with growing waits
    WAIT_WINDOW = "wait_window"  # hold until the limit frees room, then probe with one message
    FIX_FIRST = "fix_first"  # hold all mail of the channel, tell the owner, probe rarely
    SPLIT = "split"  # fewer recipients in one transaction
    RECONNECT = "reconnect"  # the same on a new connection
    REDUCE_CONCURRENCY = "reduce_concurrency"  # fewer connections, then go on
    REFRESH_TOKEN = "refresh_token"  # noqa: S105 -- a new access token once, then as fix_first


class Scope(StrEnum):
    """How much has to stop."""

    NONE = "none"  # this message or connection only
    RECIPIENT = "recipient"
    RECIPIENT_DOMAIN = "recipient_domain"
    ACCOUNT = "account"  # the whole channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is known of one failure."""

    entry: str  # id in the reply dictionary, or "rfc3463" when nothing matched
    category: Category
    is_permanent: bool  # will not go away without a change
    retry: Retry
    pause: Scope
    retry_after: timedelta | None  # as the reply itself says
    advice: timedelta | None  # as the dictionary says, where the reply names no time
    window: timedelta | None  # length of the quota window that is used up, if known
    cause: str  # one plain sentence for the owner
    fix: str  # what the owner can do, one plain sentence
    is_certain: bool = True  # the words say whose fault it is; else step, code and looks do

    @property
    def is_over_quota(self) -> bool:
        """Return whether an allowance is used up, so that the provider refuses for a while."""
        return self.category is Category.OVER_QUOTA and self.retry is Retry.WAIT_WINDOW

    @property
    def is_channel_fault(self) -> bool:
        """Return whether the channel is at fault, so that the message must not suffer."""
        return self.pause is Scope.ACCOUNT

    @property
    def is_of_the_way(self) -> bool:
        """Return whether another channel may be trusted, or set up, where this one is not."""
        return self.retry is Retry.FIX_FIRST or self.category is Category.REPUTATION

    @property
    def is_final(self) -> bool:
        """Return whether a permanent reply fails the message."""
        return self.is_permanent and self.retry is Retry.NONE and not self.is_channel_fault

    @property
    def may_be_the_accounts(self) -> bool:
        """Return whether it fails a message though the recipient may not be the reason.

        Else the words say that it is, or that the content is.
        """
        is_known = self.is_certain and self.category in (Category.RECIPIENT, Category.CONTENT)
        return self.is_final and not is_known

"""How a channel is, and what failures make of it: a circuit breaker as a pure function."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.policy.judgement import Judgement, Retry
from relay.policy.runs import Run

_FIX_FIRST_WAITS = (timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1))
_BACKOFF_WAITS = (
    timedelta(seconds=5),
    timedelta(seconds=15),
    timedelta(seconds=30),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=15),
)
_QUOTA_WAIT = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """It sends."""

    run: Run | None = None  # of equal refusals, since the last success


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """It waits after a fault of its own; one message probes it from `until` on."""

    entry: str  # of the reply dictionary
    category: str
    cause: str  # plain words
    fix: str  # plain words
    reply: str  # the server's words
    since: datetime
    until: datetime
    failures: int  # in a row, at least one
    run: Run | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A person stopped it; only a person starts it again."""

    by: str
    since: datetime


Health = Open | Paused | Stopped


def after_fault(
    health: Health,
    judgement: Judgement,
    reply: str,
    now: datetime,
    reset_at: datetime | None = None,
) -> Health:
    """Return the state after a failure that is the channel's fault.

    Waits grow with the failures in a row and are never shorter than the reply asks for. A quota
    without a named time waits until the provider begins to count anew (`reset_at`), where that is
    known, else for what is advised or its window, at most an hour; a thing to be mended by a person
    is probed rarely.
    """
    if isinstance(health, Stopped):
        return health
    failures = health.failures + 1 if isinstance(health, Paused) else 1
    since = health.since if isinstance(health, Paused) else now
    match judgement.retry:
        case Retry.WAIT_WINDOW | Retry.SPLIT:
            known = judgement.advice or judgement.window or _QUOTA_WAIT
            reset_in = None if reset_at is None else reset_at - now
            wait = judgement.retry_after or reset_in or min(known, _QUOTA_WAIT)
        case Retry.FIX_FIRST | Retry.REFRESH_TOKEN | Retry.NONE:
            wait = _grow(_FIX_FIRST_WAITS, failures)
        case _:
            wait = max(judgement.retry_after or timedelta(), _grow(_BACKOFF_WAITS, failures))
    return Paused(
        entry=judgement.entry,
        category=judgement.category,
        cause=judgement.cause,
        fix=judgement.fix,
        reply=reply,
        since=since,
        until=now + wait,
        failures=failures,
        run=health.run,
    )


def resumed(health: Health) -> Health:
    """Return the state after a person lets it send; a run of equal refusals is remembered."""
    return Open() if isinstance(health, Stopped) else Open(run=health.run)


def _grow(waits: tuple[timedelta, ...], failures: int) -> timedelta:
    return waits[min(failures, len(waits)) - 1]

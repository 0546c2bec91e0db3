"""What becomes of each recipient after an attempt: whose fault it was decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.mail.attempt import Attempt, InDoubt, Refused, Sent
from relay.mail.reply import Phase, Reply
from relay.policy.judgement import Category, Judgement, Retry
from relay.policy.retry import Schedule, next_attempt_at
from relay.policy.route import first_channel
from relay.policy.settlement import Dead, Disposition, Done, Doubt, Held, Later, Settlement

_AT_ONCE = timedelta(seconds=1)  # for what only needs a new connection or fewer recipients
_ENVELOPE = frozenset({Phase.MAIL, Phase.RCPT})
_CONTENT = frozenset({Phase.DATA, Phase.AFTER_DATA})
_HANGS_UP = 421


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What is known of one recipient of the attempt."""

    attempts: int  # this one included
    doubts: int  # earlier ones that ended in doubt
    channels: tuple[str, ...]  # of its plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a settlement depends on besides the attempt."""

    schedule: Schedule
    received_at: datetime
    closed: Mapping[str, datetime]  # channels that are closed, and until when
    now: datetime


def channel_fault(
    attempt: Attempt, judgements: Sequence[Judgement | None]
) -> tuple[Judgement, Reply] | None:
    """Return the first failure that is the channel's, if there is one."""
    for outcome, judgement in zip(attempt.outcomes, judgements, strict=True):
        if judgement is not None and judgement.is_channel_fault:
            assert isinstance(outcome, Refused)
            return judgement, outcome.reply
    return None


def settle(
    attempt: Attempt,
    copies: Sequence[Copy],
    judgements: Sequence[Judgement | None],
    about: Circumstances,
) -> Settlement:
    """Return one disposition per recipient.

    `judgements` has one for each outcome that is Refused, None for the others. A fault of the
    channel never fails a message: it goes by the next channel of its plan, or waits.
    """
    some_sent = any(isinstance(outcome, Sent) for outcome in attempt.outcomes)
    dispositions = tuple(
        _dispose(outcome, copy, judgement, attempt.channel, some_sent, about)
        for outcome, copy, judgement in zip(attempt.outcomes, copies, judgements, strict=True)
    )
    refused = [outcome for outcome in attempt.outcomes if isinstance(outcome, Refused)]
    clean = 0 if attempt.data_sent else sum(map(_is_clean, refused))
    return Settlement(
        dispositions=dispositions,
        judgements=tuple(judgements),
        refund_messages=int(clean == len(attempt.outcomes)),
        refund_recipients=clean,
    )


def _is_of_the_connection(reply: Reply, judgement: Judgement) -> bool:
    """Return whether a connection was lost, which is nobody's fault for certain."""
    is_lost = judgement.category is Category.NETWORK or reply.code == _HANGS_UP
    return is_lost or judgement.retry is Retry.RECONNECT


def _is_clean(refused: Refused) -> bool:
    """Return whether a provider surely counts nothing: it said no, or was not asked.

    Where a connection ends among the recipients, some of them may have been taken.
    """
    if refused.phase in _ENVELOPE:
        return refused.error is None and refused.reply.code != _HANGS_UP
    return refused.phase not in _CONTENT


def _dispose(
    outcome: Sent | Refused | InDoubt,
    copy: Copy,
    judgement: Judgement | None,
    channel: str,
    some_sent: bool,
    about: Circumstances,
) -> Disposition:
    match outcome:
        case Sent(reply):
            return Done(reply)
        case InDoubt(reply):
            if copy.doubts:
                return Held(f"in doubt twice, it may have arrived: {reply}")
            return Doubt(about.now + about.schedule.in_doubt_wait, reply)
        case Refused(reply=reply):
            assert judgement is not None
            return _after_refusal(reply, copy, judgement, channel, some_sent, about)


def _after_refusal(
    reply: Reply,
    copy: Copy,
    judgement: Judgement,
    channel: str,
    some_sent: bool,
    about: Circumstances,
) -> Disposition:
    now = about.now
    if judgement.is_channel_fault:
        closed = {channel: now, **about.closed}
        return Later(now, first_channel(copy.channels, closed), reply)
    match judgement.retry:
        case Retry.NONE if reply.is_permanent and judgement.is_permanent:
            return Dead(reply)
        case Retry.SPLIT if some_sent:  # the rest comes next
            return Later(now, channel, reply)
        case Retry.RECONNECT if copy.attempts == 1:
            return Later(now + _AT_ONCE, channel, reply)
    if _is_of_the_connection(reply, judgement) and copy.attempts <= len(copy.channels):
        other = first_channel(copy.channels, {channel: now, **about.closed})
        if other != channel:
            return Later(now, other, reply)
    due_at = next_attempt_at(about.schedule, copy.attempts, about.received_at, now)
    if due_at is None:
        return Dead(reply)
    asked = now + (judgement.retry_after or timedelta())
    last = about.received_at + about.schedule.give_up_after
    return Later(max(due_at, min(asked, last)), channel, reply)

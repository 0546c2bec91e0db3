"""What becomes of each recipient after an attempt: whose fault it was decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.mail.attempt import Attempt, InDoubt, Refused, Sent
from relay.mail.reply import Phase, Reply
from relay.policy.judgement import Category, Judgement, Retry
from relay.policy.kinds import Kind
from relay.policy.retry import Schedule, next_attempt_at
from relay.policy.route import first_channel
from relay.policy.settlement import Dead, Disposition, Done, Doubt, Held, Later, Settlement

_AT_ONCE = timedelta(seconds=1)  # for what only needs a new connection or fewer recipients
_BEHIND = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=1)
_OWN_FAULTS = frozenset(
    {Category.RECIPIENT, Category.CONTENT, Category.POLICY, Category.UNKNOWN}
)  # of recipient, content or sender address: of a message that was tried in vain for days
_ABOUT_MAIL = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.AFTER_DATA})
_ENVELOPE = frozenset({Phase.MAIL, Phase.RCPT})
_CONTENT = frozenset({Phase.DATA, Phase.AFTER_DATA})
_HANGS_UP = 421


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What is known of one recipient of the attempt."""

    attempts: int  # this one included
    doubts: int  # earlier ones that ended in doubt: it may have arrived by this channel
    channels: tuple[str, ...]  # of its plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a settlement depends on besides the attempt."""

    schedule: Schedule
    kind: Kind
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
    channel never fails a message: it goes by the next channel of its plan, or waits. What may have
    arrived by this channel waits for it.
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


def may_have_arrived(why: str) -> str:
    """Return what a person is told of mail that is held because it is in doubt."""
    return (
        f"It may have arrived: {why}. Ask the recipient: `relay queue drop` if it is there, "
        "`relay queue release` to send it again."
    )


def _given_up(reply: Reply, about: Circumstances) -> Held:
    days = about.schedule.give_up_after / timedelta(days=1)
    return Held(
        f"It was tried for {days:g} days, and the fault is not its own: {reply}. "
        "`relay queue release` tries it again, `relay queue drop` gives it up."
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
                return Held(may_have_arrived(f"twice no answer came to the end of it: {reply}"))
            if about.kind in about.schedule.held_in_doubt:
                return Held(may_have_arrived(f"no answer came to the end of it: {reply}"))
            return Doubt(about.now + about.schedule.in_doubt_wait, reply)
        case Refused(reply=reply):
            assert judgement is not None
            if judgement.is_channel_fault:
                return _after_channel_fault(outcome, copy, judgement, channel, about)
            return _after_refusal(reply, copy, judgement, channel, some_sent, about)


def _after_channel_fault(
    refused: Refused, copy: Copy, judgement: Judgement, channel: str, about: Circumstances
) -> Later:
    """Return when it goes by the next channel, or waits for this one.

    Where a person has to mend something, and the server only said so when it knew of this mail,
    this mail may be what is wrong: what the channel is tried with next is another one.
    """
    closed = {channel: about.now, **about.closed}
    by = channel if copy.doubts else first_channel(copy.channels, closed)
    due_at = about.now
    if by == channel and judgement.retry is Retry.FIX_FIRST and refused.phase in _ABOUT_MAIL:
        due_at = min(closed[channel], about.now + _LONGEST_PAUSE) + _BEHIND
    return Later(due_at, by, refused.reply)


def _after_refusal(
    reply: Reply,
    copy: Copy,
    judgement: Judgement,
    channel: str,
    some_sent: bool,
    about: Circumstances,
) -> Disposition:
    now = about.now
    others = tuple(name for name in copy.channels if name != channel)
    if judgement.is_of_the_way and not copy.doubts and copy.attempts <= len(others):
        return Later(now, first_channel(others, about.closed), reply)
    match judgement.retry:
        case Retry.NONE if reply.is_permanent and judgement.is_final:
            return Dead(reply)
        case Retry.SPLIT if some_sent:  # the rest comes next
            return Later(now, channel, reply)
        case Retry.RECONNECT if copy.attempts == 1:
            return Later(now + _AT_ONCE, channel, reply)
    is_lost = _is_of_the_connection(reply, judgement)
    if is_lost and not copy.doubts and copy.attempts <= len(copy.channels):
        other = first_channel(copy.channels, {channel: now, **about.closed})
        if other != channel:
            return Later(now, other, reply)
    due_at = next_attempt_at(about.schedule, copy.attempts, about.received_at, now)
    if due_at is None:
        return Dead(reply) if judgement.category in _OWN_FAULTS else _given_up(reply, about)
    asked = now + (judgement.retry_after or timedelta())
    last = about.received_at + about.schedule.give_up_after
    return Later(max(due_at, min(asked, last)), channel, reply)

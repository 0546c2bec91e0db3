"""Small makers of values that many tests need; what a test is about is said by its arguments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

from relay.mail.attempt import Attempt, InDoubt, Outcome, Refused, Sent
from relay.mail.message import Content, Envelope, Message, Origin, message_id
from relay.mail.reply import Phase, make_reply
from relay.policy.judgement import Category, Judgement, Retry, Scope
from relay.policy.kinds import Kind, Reason, Verdict
from relay.policy.plan import Plan
from relay.policy.retry import Schedule
from relay.queue.rows import Lease
from relay.queue.store import Entry, Room

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

SCHEDULE = Schedule(
    waits=(MINUTE, 5 * MINUTE),
    give_up_after=5 * DAY,
    in_doubt_wait=30 * MINUTE,
    delay_notice_after=4 * HOUR,
)
ROOM = Room(leases=10, recipients=100, lease_for=HOUR)
CONTENT = b"From: a@example.com\r\nTo: b@example.net\r\nSubject: hello\r\n\r\nhello\r\n"

_numbers = count(1)


def verdict(kind: Kind = Kind.INVOICE, *, unsure: bool = False) -> Verdict:
    """Return a verdict as certain as can be."""
    return Verdict(
        kind=kind, certainty=0.99, reasons=(Reason("Subject", "'Rechnung 1'"),), unsure=unsure
    )


def entry(
    *to: str,
    kind: Kind = Kind.INVOICE,
    plan: Plan | None = None,
    channel: str | None = None,
    at: datetime = NOON,
    reverse_path: str | None = "shop@example.com",
    content: Content = CONTENT,
    subject: str = "hello",
    application: str | None = None,
) -> Entry:
    """Return a message ready for the queue."""
    plan = plan or Plan(channels=("native", "direct"))
    to = to or ("customer@example.net",)
    return Entry(
        message=Message(
            id=message_id(at, next(_numbers)),
            received_at=at,
            envelope=Envelope(reverse_path=reverse_path, forward_paths=to),
            origin=Origin(
                listener="127.0.0.1:2525",
                client="127.0.0.1",
                helo="app",
                application=application,
            ),
            content=content,
        ),
        subject=subject,
        verdict=verdict(kind),
        plans=(plan,) * len(to),
        channels=(channel or plan.channels[0],) * len(to),
    )


def attempt(lease: Lease, *outcomes: Outcome, at: datetime = NOON, data: bool = True) -> Attempt:
    """Return an attempt at a lease that took a second."""
    return Attempt(
        channel=lease.channel,
        upstream="smtp.example.org:587",
        started_at=at,
        ended_at=at + SECOND,
        outcomes=outcomes,
        data_sent=data,
    )


def sent(text: str = "2.0.0 taken") -> Sent:
    """Return that the upstream took it."""
    return Sent(make_reply(250, text))


def refused(code: int, text: str = "no", phase: Phase = Phase.RCPT) -> Refused:
    """Return a refusal."""
    return Refused(phase=phase, reply=make_reply(code, text))


def in_doubt() -> InDoubt:
    """Return that the connection was lost after the final dot."""
    return InDoubt(make_reply(451, "4.4.2 connection lost after the final dot"))


def judgement(
    retry: Retry = Retry.BACKOFF,
    pause: Scope = Scope.NONE,
    *,
    permanent: bool = False,
    category: Category = Category.SERVER,
    retry_after: timedelta | None = None,
    window: timedelta | None = None,
) -> Judgement:
    """Return what the dictionary might say."""
    return Judgement(
        entry="test",
        category=category,
        is_permanent=permanent,
        retry=retry,
        pause=pause,
        retry_after=retry_after,
        advice=None,
        window=window,
        cause="Something is wrong.",
        fix="Mend it.",
    )


RECIPIENT_FAULT = judgement(
    Retry.NONE, Scope.RECIPIENT, permanent=True, category=Category.RECIPIENT
)
CHANNEL_FAULT = judgement(Retry.FIX_FIRST, Scope.ACCOUNT, permanent=True, category=Category.AUTH)
GREYLISTED = judgement(Retry.BACKOFF, Scope.RECIPIENT, category=Category.RECIPIENT)

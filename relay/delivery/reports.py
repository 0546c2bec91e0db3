"""Reports as new messages: RFC 3464, to the reverse-path, never about a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from relay.mail import dsn
from relay.mail.message import Content, Envelope, Message, Origin, Spooled, encode_id
from relay.policy.kinds import Kind, Reason, Verdict
from relay.policy.plan import Plan
from relay.policy.route import first_channel
from relay.policy.rules import MailFacts
from relay.queue.store import Entry

_HEADER_BYTES = 16384
_MAX_LISTED = 100  # recipients named in one report
_VERDICT = Verdict(
    kind=Kind.REPORT,
    certainty=1.0,
    reasons=(Reason("relay", "a report that this relay wrote itself"),),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The message that a report is about."""

    queue_id: str
    reverse_path: str
    subject: str
    received_at: datetime
    header: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """Writes reports for one relay."""

    hostname: str
    sender: str  # address in From
    sender_name: str
    new_id: Callable[[], int]
    plan: Callable[[Verdict, MailFacts], Plan | None]  # None: the owner wants none
    closed: Callable[[datetime, bool], Mapping[str, datetime]]

    def write(
        self,
        action: dsn.Action,
        about: About,
        failures: Sequence[dsn.Failure],
        retry_until: datetime | None,
        now: datetime,
    ) -> tuple[Entry, ...]:
        """Return the report as an entry for the queue, or none if a rule refuses it."""
        number = self.new_id()
        report = dsn.Report(
            action=action,
            number=encode_id(number),
            reporter=self.hostname,
            sender=self.sender,
            sender_name=self.sender_name,
            to=about.reverse_path,
            about=about.queue_id,
            subject=about.subject,
            received_at=about.received_at,
            retry_until=retry_until,
            now=now,
            failures=tuple(failures[:_MAX_LISTED]),
            header=about.header,
        )
        content = dsn.render(report)
        facts = MailFacts(
            kind=Kind.REPORT,
            reverse_path=None,
            forward_path=about.reverse_path,
            listener="relay",
            size_bytes=len(content),
        )
        plan = self.plan(_VERDICT, facts)
        if plan is None:
            return ()
        message = Message(
            id=number,
            received_at=now,
            envelope=Envelope(
                reverse_path=None,
                forward_paths=(about.reverse_path,),
                body_8bit=not content.isascii(),
                smtputf8=not about.reverse_path.isascii(),
            ),
            origin=Origin(listener="relay"),
            content=content,
        )
        return (
            Entry(
                message=message,
                subject=dsn.TITLES[action],
                verdict=_VERDICT,
                plans=(plan,),
                channels=(first_channel(plan.channels, self.closed(now, False)),),
            ),
        )


def header_of(content: Content) -> bytes:
    """Return the header of content, for giving it back; b"" if it cannot be read."""
    if isinstance(content, Spooled):
        try:
            with Path(content.path).open("rb") as file:
                return dsn.header_of(file.read(_HEADER_BYTES))
        except OSError:
            return b""
    return dsn.header_of(content[:_HEADER_BYTES])

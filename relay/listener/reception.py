"""The way in: inspect, classify, route, put. Read `accept` and you know it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from relay.inspect.inspection import Inspection, copies_of
from relay.inspect.inspector import Inspector
from relay.mail.message import Message
from relay.mail.reply import Reply
from relay.observe import events
from relay.observe.events import RefusalReason
from relay.observe.journal import Journal
from relay.policy.kinds import Verdict
from relay.policy.plan import Plan, Refusal
from relay.policy.route import RouteRules, first_channel, route, safe_reply_text
from relay.policy.rules import KindRule, MailFacts, header_names, overrule
from relay.queue.store import Entry, Store, StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """Takes messages for the queue; many `accept` run at once."""

    inspector: Inspector
    kind_rules: tuple[KindRule, ...]
    route_rules: RouteRules
    store: Store
    journal: Journal
    clock: Callable[[], datetime]
    ids: Callable[[], int]
    closed: Callable[[datetime, bool], Mapping[str, datetime]]  # to avoid by what is essential?
    rehearsal: bool

    def new_id(self) -> int:
        """Return a number that no other message has."""
        return self.ids()

    def now(self) -> datetime:
        """Return the time."""
        return self.clock()

    async def accept(self, message: Message) -> Reply:
        """Return 250 once the message is durable, 4yz when it cannot be kept, 550 by a rule."""
        began_at = self.clock()
        kept = self.store.keep(message.content)  # the disk works while we read
        seen = await self._inspect(message)
        copies = copies_of(seen, message.envelope, message.origin, message.size_bytes)
        verdict = overrule(seen.verdict, copies, self.kind_rules)
        plans = self._plan(copies, verdict)
        if isinstance(plans, Refusal):
            return self._refuse(message, plans)
        closed = self.closed(began_at, verdict.is_essential)
        channels = tuple(first_channel(plan.channels, closed) for plan in plans)
        try:
            await self.store.put(
                Entry(
                    message=message,
                    subject=seen.subject,
                    verdict=verdict,
                    plans=plans,
                    channels=channels,
                    facts=seen.einvoices,
                ),
                kept,
            )
        except StoreError as error:
            self.journal.record(events.StoreTrouble(detail=str(error)))
            return Reply(451, "4.3.0", "the queue cannot be written now, try again later")
        ways = tuple(dict.fromkeys(channels))
        try:
            self._tell(message, seen, verdict, ways, began_at)
        except Exception as error:  # it is queued: another reply would bring it a second time
            self.journal.record(events.Crashed(where="telling of new mail", detail=repr(error)))
        return self._taken(message, verdict, ways)

    async def _inspect(self, message: Message) -> Inspection:
        names = self.route_rules.header_names | header_names(rule.when for rule in self.kind_rules)
        return await self.inspector.inspect(
            message.envelope, message.origin, message.content, names
        )

    def _plan(self, copies: tuple[MailFacts, ...], verdict: Verdict) -> tuple[Plan, ...] | Refusal:
        """Return a plan for each forward-path; one refusal refuses the message."""
        plans = []
        for facts in copies:
            plan = route(verdict, replace(facts, kind=verdict.kind), self.route_rules)
            if isinstance(plan, Refusal):
                return plan
            plans.append(plan)
        return tuple(plans)

    def _refuse(self, message: Message, refusal: Refusal) -> Reply:
        self.journal.record(
            events.Refused(
                listener=message.origin.listener,
                client=message.origin.client,
                reason=RefusalReason.SIZE if refusal.is_size else RefusalReason.RULE,
                detail=f"{refusal.rule}: {refusal.text}",
            )
        )
        if refusal.is_size:
            return Reply(552, "5.3.4", safe_reply_text(refusal.text))
        return Reply(550, "5.7.1", safe_reply_text(refusal.text))

    def _tell(
        self,
        message: Message,
        seen: Inspection,
        verdict: Verdict,
        ways: tuple[str, ...],
        began_at: datetime,
    ) -> None:
        for problem in seen.problems:
            self.journal.record(events.InspectionFailed(queue_id=message.queue_id, detail=problem))
        self.journal.record(
            events.Accepted(
                queue_id=message.queue_id,
                listener=message.origin.listener,
                application=message.origin.application,
                client=message.origin.client,
                reverse_path=message.envelope.reverse_path,
                recipients=len(message.envelope.forward_paths),
                size_bytes=message.size_bytes,
                kind=verdict.kind,
                certainty=verdict.certainty,
                channels=ways,
                seconds=(self.clock() - began_at).total_seconds(),
            )
        )

    def _taken(self, message: Message, verdict: Verdict, ways: tuple[str, ...]) -> Reply:
        # RFC 5321 §4.2 allows ASCII only, RFC 6531 §3.7.4.2 more once the client declared it
        arrow = "→" if message.envelope.smtputf8 else "->"
        note = ", rehearsal: nothing leaves this machine" if self.rehearsal else ""
        decided = f"{verdict.kind} {arrow} {', '.join(ways)}{note}"
        return Reply(250, "2.0.0", f"queued as {message.queue_id} ({decided})")

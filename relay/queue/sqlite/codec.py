"""Values to columns and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from typing import Any

from relay.mail.message import Origin
from relay.policy.evidence import EInvoice
from relay.policy.health import Health, Open, Paused, Stopped
from relay.policy.kinds import Kind, Reason, Verdict
from relay.policy.limits import from_ms, to_ms
from relay.policy.plan import Plan
from relay.policy.runs import Run

ESSENTIAL_RANK = 0
_MANY, _TO_MANY = 20, " to many"  # recipients


def rank_of(kind: Kind, essential: bool) -> int:
    """Return a kind's place in a channel's queue: what matters, then people, then bulk."""
    if essential:
        return ESSENTIAL_RANK
    return 2 if kind is Kind.MARKETING else 1


def flow_of(origin: Origin, recipients: int) -> str:
    """Return in which line of its rank a message waits; lines take turns.

    Each application has one, and another one for what goes to many, so that a newsletter does not
    stand in front of its answer to a customer.
    """
    flow = origin.application or origin.listener
    return f"{flow}{_TO_MANY}" if recipients > _MANY else flow


def goes_to_many(flow: str) -> bool:
    """Return whether it is a line of messages with many recipients."""
    return flow.endswith(_TO_MANY)


def encode_reasons(verdict: Verdict) -> str:
    """Return the reasons as JSON."""
    return json.dumps([[r.where, r.what] for r in verdict.reasons], ensure_ascii=False)


def decode_reasons(text: str) -> tuple[Reason, ...]:
    """Return the reasons behind JSON."""
    return tuple(Reason(where, what) for where, what in json.loads(text))


def encode_facts(facts: tuple[EInvoice, ...]) -> str:
    """Return facts as JSON."""
    return json.dumps([asdict(each) for each in facts], ensure_ascii=False) if facts else "[]"


def decode_facts(text: str) -> tuple[EInvoice, ...]:
    """Return the facts behind JSON."""
    return tuple(EInvoice(**each) for each in json.loads(text))


@lru_cache(maxsize=1024)
def decode_plan(channels: str, rule: str) -> Plan:
    """Return a plan from its columns."""
    return Plan(channels=tuple(channels.split(" ")), rule=rule)


def encode_health(health: Health) -> str:
    """Return a channel's state as JSON."""
    fields: dict[str, Any] = {"state": type(health).__name__.lower()}
    for name, value in asdict(health).items():
        fields[name] = to_ms(value) if isinstance(value, datetime) else value
    return json.dumps(fields, ensure_ascii=False)


def decode_health(text: str) -> Health:
    """Return the state behind JSON."""
    fields = json.loads(text)
    if run := fields.get("run"):
        fields["run"] = Run(
            likeness=run["likeness"], domains=tuple(run["domains"]), failed=tuple(run["failed"])
        )
    match fields.pop("state"):
        case "paused":
            fields["since"], fields["until"] = from_ms(fields["since"]), from_ms(fields["until"])
            return Paused(**fields)
        case "stopped":
            return Stopped(by=fields["by"], since=from_ms(fields["since"]))
        case _:
            return Open(run=fields.get("run"))


def optional_time(ms: int | None) -> datetime | None:
    """Return the time, or None for None."""
    return None if ms is None else from_ms(ms)

"""By which channel mail goes: the rules of the owner, then the default of its kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.policy.kinds import Kind, Verdict
from relay.policy.plan import Plan, Refusal
from relay.policy.rules import MailFacts, Rule, header_names, matches

PATIENCE = timedelta(minutes=2)
"""How long mail with another channel in its plan waits for a better one."""

_ESSENTIAL_BY = {True: ("native", "direct"), False: ("direct", "native")}


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRules:
    """What the settings say of routing."""

    only_use_for_direct_emails: bool  # direct is for people and marketing; else for everything
    rules: tuple[Rule, ...]  # the first match decides
    channels: tuple[str, ...]  # configured ones, in the order of the settings; at least one

    @property
    def header_names(self) -> frozenset[str]:
        """Return the fields that the rules ask for."""
        return header_names(rule.when for rule in self.rules)


def route(verdict: Verdict, facts: MailFacts, rules: RouteRules) -> Plan | Refusal:
    """Return the channels for one recipient's copy, or the refusal that a rule asks for."""
    for rule in rules.rules:
        if matches(rule.when, facts):
            if rule.refuse is not None:
                return Refusal(rule.refuse, rule.name)
            return Plan(
                channels=rule.via or default_channels(verdict, rules),
                hold=rule.hold,
                redirect=rule.redirect,
                rule=rule.name,
            )
    return Plan(channels=default_channels(verdict, rules))


def default_channels(verdict: Verdict, rules: RouteRules) -> tuple[str, ...]:
    """Return the kind's channels, those that exist; with neither `direct` nor `native`, the first.

    Whatever happens there is a way out: a relay with one channel sends everything by it.
    """
    if verdict.is_essential:
        wanted: tuple[str, ...] = _ESSENTIAL_BY[rules.only_use_for_direct_emails]
    elif verdict.kind is Kind.REPORT:
        wanted = ("native",)
    else:
        wanted = ("direct",)
    there = tuple(name for name in wanted if name in rules.channels)
    return there or rules.channels[:1]


def first_channel(channels: tuple[str, ...], closed: Mapping[str, datetime]) -> str:
    """Return the first of `channels` that is not closed, else the one that opens first.

    `closed` says until when: what is paused, and what is throttled for longer than PATIENCE.
    """
    for name in channels:
        if name not in closed:
            return name
    return min(channels, key=lambda name: closed[name])


def safe_reply_text(text: str) -> str:
    """Return a rule's words as a reply may carry them: printable ASCII, short."""
    return re.sub(r"[^\x20-\x7e]", "?", text)[:400]

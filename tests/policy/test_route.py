"""By which channel each kind goes, and what the owner's rules change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from making import HOUR, NOON, verdict

from relay.policy.kinds import Kind
from relay.policy.plan import Plan, Refusal
from relay.policy.route import RouteRules, first_channel, route, safe_reply_text
from relay.policy.rules import Condition, Glob, MailFacts, Rule

BOTH = ("direct", "native")
ESSENTIAL = (Kind.INVOICE, Kind.QUOTE, Kind.STATEMENT, Kind.RECEIPT, Kind.NOTIFICATION)


def facts(kind: Kind = Kind.INVOICE) -> MailFacts:
    return MailFacts(kind=kind, reverse_path="shop@example.com", forward_path="c@example.net")


def planned(kind: Kind, *, only_direct: bool, channels=BOTH, unsure: bool = False):
    rules = RouteRules(only_use_for_direct_emails=only_direct, rules=(), channels=channels)
    return route(verdict(kind, unsure=unsure), facts(kind), rules).channels


@pytest.mark.parametrize("kind", ESSENTIAL)
def test_what_matters_has_two_ways(kind):
    assert planned(kind, only_direct=True) == ("native", "direct")
    assert planned(kind, only_direct=False) == ("direct", "native")


@pytest.mark.parametrize("kind", [Kind.DIRECT, Kind.MARKETING, Kind.SMS])
def test_the_rest_goes_by_the_own_mailbox(kind):
    assert planned(kind, only_direct=True) == ("direct",)
    assert planned(kind, only_direct=False) == ("direct",)


def test_reports_go_by_native_and_what_is_unsure_is_essential():
    assert planned(Kind.REPORT, only_direct=False) == ("native",)
    assert planned(Kind.DIRECT, only_direct=True, unsure=True) == ("native", "direct")


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("channels", [("direct",), ("native",), ("native", "esp")])
def test_there_is_always_a_way(kind, channels):
    assert set(planned(kind, only_direct=True, channels=channels)) <= set(channels)
    assert planned(kind, only_direct=True, channels=channels)


def test_the_first_rule_that_fits_decides():
    billing = Condition(sender=(Glob("shop@*"),))
    rules = RouteRules(
        only_use_for_direct_emails=True,
        rules=(
            Rule(name="other", when=Condition(sender=(Glob("nobody@*"),)), via=("native",)),
            Rule(name="mine", when=billing, via=("direct",), hold="wait", redirect="x@y.example"),
            Rule(name="late", when=billing, refuse="no"),
        ),
        channels=BOTH,
    )
    assert route(verdict(), facts(), rules) == Plan(
        channels=("direct",), hold="wait", redirect="x@y.example", rule="mine"
    )


def test_a_rule_may_refuse_or_only_hold():
    anything = Condition()
    refuse = RouteRules(
        only_use_for_direct_emails=True,
        rules=(Rule(name="r", when=anything, refuse="no"),),
        channels=BOTH,
    )
    assert route(verdict(), facts(), refuse) == Refusal("no", "r")
    hold = RouteRules(
        only_use_for_direct_emails=True,
        rules=(Rule(name="h", when=anything, hold="wait"),),
        channels=BOTH,
    )
    assert route(verdict(), facts(), hold).channels == ("native", "direct")


@pytest.mark.parametrize(
    ("closed", "expected"),
    [
        ({}, "native"),
        ({"direct": NOON}, "native"),
        ({"native": NOON}, "direct"),
        ({"native": NOON, "direct": NOON + HOUR}, "native"),
        ({"native": NOON + HOUR, "direct": NOON}, "direct"),
    ],
)
def test_takes_the_first_that_is_open(closed, expected):
    assert first_channel(("native", "direct"), closed) == expected


def test_the_words_of_a_rule_cannot_break_a_reply():
    assert safe_reply_text("nö\r\n250 ok") == "n???250 ok"


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [
        pytest.param(1000, Plan(channels=("native", "direct")), id="fits both"),
        pytest.param(1001, Plan(channels=("direct",)), id="fits one"),
        pytest.param(
            2001,
            Refusal(
                "2001 bytes are more than native and direct take (2000)", "default", is_size=True
            ),
            id="fits none",
        ),
    ],
)
def test_a_message_goes_by_the_channels_that_take_its_size(size_bytes, expected):
    rules = RouteRules(
        only_use_for_direct_emails=True,
        rules=(),
        channels=BOTH,
        max_bytes=(("native", 1000), ("direct", 2000)),
    )
    assert route(verdict(), replace(facts(), size_bytes=size_bytes), rules) == expected

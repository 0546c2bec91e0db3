"""Which mail the owner's rules are for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.policy.kinds import Kind, Reason, Verdict
from relay.policy.rules import Condition, Glob, KindRule, MailFacts, matches, overrule

FACTS = MailFacts(
    kind=Kind.INVOICE,
    reverse_path="Shop@Billing.Example.com",
    forward_path="ann@example.org",
    header={"x-app": ("shop 2", "blog")},
    application="shop",
    listener="127.0.0.1:2525",
    size_bytes=1000,
)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("*", "anything", True),
        ("a@b", "A@B", True),
        ("a@b", "a@bc", False),
        ("*@billing.example.com", "shop@BILLING.example.com", True),
        ("*@billing.example.com", "shop@billing.example.com.evil.org", False),
        ("*@billing.example.com", "shop@notbilling.example.com", False),
        ("invoice-*@*.example.com", "invoice-7@a.b.example.com", True),
        ("invoice-*@*.example.com", "invoice-7@example.com", False),
        ("aba*aba", "aba", False),  # the two ends may not share characters
        ("aba*aba", "abaaba", True),
        ("a*bc*bc", "abc", False),
        ("a*b*c", "a-c-b", False),
        ("**", "x", True),
        ("root@[127.0.0.1]", "root@[127.0.0.1]", True),  # no character classes
        ("root@[1]", "root@1", False),
        ("a?c", "abc", False),
        ("STRASSE*", "straße 1", True),
    ],
)
def test_a_glob_fits_all_of_a_text(pattern: str, text: str, expected: bool) -> None:
    assert Glob(pattern).matches(text) is expected


@given(st.lists(st.text("ab@.", max_size=4), min_size=1, max_size=4), st.data())
def test_whatever_fills_the_stars_fits(pieces: list[str], data: st.DataObject) -> None:
    fills = [data.draw(st.text("ab@.*?[", max_size=4)) for _ in pieces[1:]]
    text = pieces[0] + "".join(f + p for f, p in zip(fills, pieces[1:], strict=True))
    assert Glob("*".join(pieces)).matches(text)


def test_many_stars_take_no_time() -> None:
    assert not Glob("*a" * 500 + "b").matches("a" * 20_000)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        pytest.param(Condition(), True, id="nothing asked"),
        pytest.param(Condition(kinds=frozenset({Kind.QUOTE, Kind.INVOICE})), True, id="kind"),
        pytest.param(Condition(kinds=frozenset({Kind.QUOTE})), False, id="other kind"),
        pytest.param(Condition(sender=(Glob("*@billing.*"),)), True, id="sender"),
        pytest.param(Condition(sender=(Glob("<>"),)), False, id="not the null sender"),
        pytest.param(Condition(sender=(Glob("x"), Glob("shop@*"))), True, id="one of two"),
        pytest.param(Condition(recipient=(Glob("*@example.org"),)), True, id="recipient"),
        pytest.param(Condition(recipient=(Glob("*@example.com"),)), False, id="other recipient"),
        pytest.param(Condition(header=(("x-app", (Glob("BLOG"),)),)), True, id="second value"),
        pytest.param(Condition(header=(("x-app", (Glob("shop"),)),)), False, id="part of value"),
        pytest.param(Condition(header=(("list-id", (Glob("*"),)),)), False, id="no such field"),
        pytest.param(
            Condition(header=(("x-app", (Glob("*"),)), ("list-id", (Glob("*"),)))),
            False,
            id="every field is needed",
        ),
        pytest.param(Condition(applications=frozenset({"shop"})), True, id="application"),
        pytest.param(Condition(applications=frozenset({"blog"})), False, id="other application"),
        pytest.param(Condition(listeners=frozenset({"127.0.0.1:2525"})), True, id="listener"),
        pytest.param(Condition(listeners=frozenset({"[::1]:2525"})), False, id="other listener"),
        pytest.param(Condition(larger_than=999), True, id="larger"),
        pytest.param(Condition(larger_than=1000), False, id="not larger"),
        pytest.param(Condition(smaller_than=1001), True, id="smaller"),
        pytest.param(Condition(smaller_than=1000), False, id="not smaller"),
        pytest.param(
            Condition(sender=(Glob("*"),), kinds=frozenset({Kind.QUOTE})), False, id="every part"
        ),
    ],
)
def test_a_condition_holds_when_all_its_parts_do(condition: Condition, expected: bool) -> None:
    assert matches(condition, FACTS) is expected


def test_the_null_reverse_path_has_a_name_of_its_own() -> None:
    report = replace(FACTS, reverse_path=None)
    assert matches(Condition(sender=(Glob("<>"),)), report)
    assert matches(Condition(sender=(Glob("*"),)), report)
    assert not matches(Condition(sender=(Glob("*@*"),)), report)


def test_mail_of_no_application_fits_no_application() -> None:
    condition = Condition(applications=frozenset({"shop"}))
    assert not matches(condition, replace(FACTS, application=None))


FOUND = Verdict(kind=Kind.DIRECT, certainty=0.43, reasons=(Reason("body", "hello"),), unsure=True)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        pytest.param([], FOUND, id="no rule"),
        pytest.param([Condition(applications=frozenset({"blog"}))], FOUND, id="none that fits"),
        pytest.param([Condition()], 0, id="the one"),
        pytest.param(
            [Condition(larger_than=5000), Condition(sender=(Glob("shop@*"),)), Condition()],
            1,
            id="the first that fits",
        ),
        pytest.param([Condition(recipient=(Glob("bob@*"),))], 0, id="one of two recipients"),
        pytest.param([Condition(kinds=frozenset({Kind.DIRECT}))], 0, id="what it would be"),
    ],
)
def test_the_owner_says_what_a_message_is(
    conditions: list[Condition], expected: Verdict | int
) -> None:
    facts = replace(FACTS, kind=Kind.DIRECT)
    copies = (facts, replace(facts, forward_path="bob@example.org"))
    rules = [
        KindRule(name=f"rule {index}", when=when, kind=Kind.QUOTE)
        for index, when in enumerate(conditions)
    ]
    if isinstance(expected, int):
        said = (
            Reason("settings", f"rule {expected} says so"),
            Reason("without it", "it would be direct, 43% certain"),
        )
        expected = Verdict(kind=Kind.QUOTE, certainty=1.0, reasons=said)
    assert overrule(FOUND, copies, rules) == expected

"""Which rules are proposed for what a person corrected."""

from __future__ import annotations

from itertools import count

import pytest

from relay.policy.corrections import Past, Proposal, propose
from relay.policy.kinds import Kind
from relay.policy.rules import Condition, Glob, KindRule

_numbers = count(1)
DIRECT, INVOICE, QUOTE = Kind.DIRECT, Kind.INVOICE, Kind.QUOTE
SHOP = "shop@example.com"
Told = tuple[object, ...]


def past(
    subject: str,
    kind: Kind = DIRECT,
    *,
    was: Kind | None = None,
    sender: str | None = SHOP,
    application: str | None = None,
) -> Past:
    """Return a message; with `was` one that a person corrected to `kind`."""
    return Past(
        queue_id=f"{next(_numbers):013}",
        listener="127.0.0.1:2525",
        application=application,
        reverse_path=sender,
        subject=subject,
        kind=kind,
        found=was or kind,
        is_corrected=was is not None,
    )


def told(proposal: Proposal) -> Told:
    return (
        proposal.kind,
        proposal.application,
        proposal.sender,
        proposal.subjects,
        len(proposal.corrected),
        len(proposal.changes),
    )


def fixed(subject: str, **more: object) -> Past:
    return past(subject, INVOICE, was=DIRECT, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        pytest.param([past("a"), past("b", INVOICE)], [], id="nothing was corrected"),
        pytest.param(
            [fixed("Akonto 17"), past("Akonto 16"), past("Hello")],
            [(INVOICE, None, SHOP, ("Akonto *",), 1, 1)],
            id="numbers do not matter",
        ),
        pytest.param(
            [fixed("Akonto 17 vom 3.5.2026 für Ann"), fixed("Zweite Rate")],
            [(INVOICE, None, SHOP, ("Akonto * vom * für Ann", "Zweite Rate"), 2, 0)],
            id="two sorts of a sender are two subjects of a rule",
        ),
        pytest.param(
            [fixed("A"), fixed("B"), fixed("C"), past("D", INVOICE)],
            [(INVOICE, None, SHOP, (), 3, 0)],
            id="three sorts and none against it are the sender",
        ),
        pytest.param(
            [fixed("A"), fixed("B"), fixed("C"), past("Hello")],
            [(INVOICE, None, SHOP, ("A", "B", "C"), 3, 0)],
            id="one that was left as it is speaks against it",
        ),
        pytest.param(
            [fixed("Akonto 1", sender=f"{name}@x.example") for name in "abc"],
            [(INVOICE, None, None, ("Akonto *",), 3, 0)],
            id="one subject of many senders",
        ),
        pytest.param(
            [
                fixed("A", application="erp", sender="a@x.example"),
                fixed("B", application="erp", sender="b@x.example"),
                fixed("C", application="erp"),
                past("A", sender="a@x.example"),
            ],
            [(INVOICE, "erp", None, (), 3, 0)],
            id="all of an application",
        ),
        pytest.param(
            [fixed("A", application="erp"), past("A", application="crm")],
            [(INVOICE, "erp", SHOP, ("A",), 1, 0)],
            id="as much as is needed to leave the others alone",
        ),
        pytest.param(
            [fixed("A", sender="bounce+ann=example.net@lists.example", application="erp")],
            [(INVOICE, None, "bounce*@lists.example", ("A",), 1, 0)],
            id="senders that hold the recipient",
        ),
        pytest.param(
            [fixed("2026-17", sender=None)], [(INVOICE, None, "<>", (), 1, 0)],
            id="a subject of numbers alone says nothing",
        ),
        pytest.param(
            [fixed("x" * 300)], [(INVOICE, None, SHOP, ("x" * 300 + "*",), 1, 0)],
            id="a subject that was cut off",
        ),
        pytest.param(
            [past("A 3", QUOTE, was=DIRECT), fixed("A 2"), past("A 1")],
            [(QUOTE, None, SHOP, ("A *",), 1, 2)],
            id="the last word counts",
        ),
        pytest.param(
            [past("B", QUOTE, was=DIRECT), fixed("A")],
            [(QUOTE, None, SHOP, ("B",), 1, 0), (INVOICE, None, SHOP, ("A",), 1, 0)],
            id="a rule for each kind",
        ),
    ],
)  # fmt: skip
def test_a_correction_becomes_the_simplest_rule_that_fits(
    history: list[Past], expected: list[Told]
) -> None:
    proposals = propose(history, ())
    assert [told(each) for each in proposals] == expected
    for proposal in proposals:
        assert all(each.kind is not proposal.kind for each in proposal.changes)


@pytest.mark.parametrize(
    ("when", "kind", "is_new"),
    [
        (Condition(sender=(Glob("*@example.com"),)), INVOICE, False),
        (Condition(header=(("subject", (Glob("akonto*"),)),)), INVOICE, False),
        (Condition(sender=(Glob("*@example.com"),)), QUOTE, True),
        (Condition(sender=(Glob("*@other.example"),)), INVOICE, True),
        (Condition(recipient=(Glob("*@example.net"),)), INVOICE, True),
    ],
)
def test_what_the_settings_say_already_is_not_proposed(
    when: Condition, kind: Kind, is_new: bool
) -> None:
    rule = KindRule(name="rule 1", when=when, kind=kind)
    assert bool(propose([fixed("Akonto 17")], [rule])) is is_new

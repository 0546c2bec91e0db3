"""A proposed rule is YAML that says what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.policy.corrections import Proposal
from relay.policy.kinds import Kind
from relay.policy.rules import Condition, Glob, KindRule
from relay.settings.loader import load
from relay.settings.paste import as_rule

BEFORE = """\
listeners:
  - {address: 127.0.0.1:25, auth: required, applications: [{login: erp, password: {env: E}}]}
channels: {native: {folder: {path: /x}}}
classification:
  rules:
"""


@pytest.mark.parametrize(
    ("proposal", "expected"),
    [
        pytest.param(
            {"application": "erp"}, Condition(applications=frozenset({"erp"})), id="application"
        ),
        pytest.param({"sender": "<>"}, Condition(sender=(Glob("<>"),)), id="null path"),
        pytest.param(
            {"sender": "*@a.example", "subjects": ("Akonto *",)},
            Condition(sender=(Glob("*@a.example"),), header=(("subject", (Glob("Akonto *"),)),)),
            id="sender and subject",
        ),
        pytest.param(
            {"subjects": ("\"}] # \\ : '", "\U0001f4b6 Grüße\u202e\x1b\x7f", "- yes")},
            Condition(
                header=(
                    (
                        "subject",
                        (
                            Glob("\"}] # \\ : '"),
                            Glob("\U0001f4b6 Grüße\u202e\x1b\x7f"),
                            Glob("- yes"),
                        ),
                    ),
                )
            ),
            id="hostile subjects",
        ),
    ],
)
def test_a_pasted_rule_says_what_was_proposed(
    tmp_path: Path, proposal: dict[str, object], expected: Condition
) -> None:
    rule = as_rule(
        Proposal(kind=Kind.INVOICE, corrected=(), changes=(), **proposal)  # type: ignore[arg-type]
    )
    assert all(char.isprintable() or char == "\n" for char in rule)
    path = tmp_path / "relay.yaml"
    path.write_text(BEFORE + "".join(f"    {line}\n" for line in rule.splitlines()))
    name = "classification rule 1 (relay.yaml:6)"
    rules = load(path, {"E": "x"}).classification.rules
    assert rules == (KindRule(name=name, when=expected, kind=Kind.INVOICE),)

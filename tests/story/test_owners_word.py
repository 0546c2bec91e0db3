"""What the owner says of what mail is comes before what relay finds in it."""

from __future__ import annotations

import os
import smtplib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from daemon import PATIENCE, ROOT, Daemon, free_port

LETTER = b"""\
From: Ann <ann@shop.example>\r
To: Bob <bob@example.net>\r
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe_vom_See?=\r
User-Agent: Mozilla Thunderbird\r
\r
Hi Bob,\r
see you on Sunday?\r
Ann\r
"""
E_INVOICE = b"""\
From: Ann <ann@shop.example>\r
To: Bob <bob@example.net>\r
Subject: Document\r
MIME-Version: 1.0\r
Content-Type: application/xml; name=document.xml\r
Content-Disposition: attachment; filename=document.xml\r
\r
<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2">\r
<ID>RE-118</ID><DueDate>2026-12-05</DueDate>\r
<DocumentCurrencyCode>EUR</DocumentCurrencyCode>\r
<LegalMonetaryTotal><PayableAmount currencyID="EUR">119.00</PayableAmount></LegalMonetaryTotal>\r
</Invoice>\r
"""
DECLARED = b"X-Relay-Kind: Invoice\r\n" + LETTER


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    """Return settings whose channels do not send: what is decided can be looked at."""
    closed = {"smtp": {"host": "127.0.0.1", "port": free_port(), "security": "none"}}
    return {"channels": {"direct": closed, "native": closed}, **more}


def applications(**said: Any) -> dict[str, Any]:
    return {
        "auth": "required",
        "applications": [{"login": "shop", "password": {"env": "SHOP"}, **said}],
    }


def sign_in_and_submit(relay: Daemon, content: bytes) -> str:
    with smtplib.SMTP("127.0.0.1", relay.smtp_port, timeout=PATIENCE) as smtp:
        smtp.login("shop", "secret")
        smtp.sendmail("ann@shop.example", ["bob@example.net"], content)
    newest: str = relay.queue()[0]["queue_id"]
    return newest


def decided(relay: Daemon, queue_id: str) -> tuple[str, str, str]:
    """Return kind, first channel of the plan, and the place of the first reason."""
    message = relay.control.message(queue_id)
    (recipient,) = message["recipients"]
    return message["kind"], recipient["plan"]["channels"][0], message["reasons"][0]["where"]


@pytest.mark.parametrize(
    ("listener", "expected"),
    [
        ({}, ("direct", "direct")),
        ({"trust_kind_field": True}, ("invoice", "native")),
    ],
    ids=["from anybody", "from a trusted listener"],
)
def test_a_declared_kind_counts_where_it_is_trusted(tmp_path, listener, expected):
    with Daemon(tmp_path, settings(tmp_path, listeners=[listener])) as relay:
        declared = relay.submit("ann@shop.example", ["bob@example.net"], DECLARED)
        assert decided(relay, declared)[:2] == expected
        plain = relay.submit("ann@shop.example", ["bob@example.net"], LETTER)
        assert decided(relay, plain)[:2] == ("direct", "direct")


def test_an_application_says_what_all_its_mail_is_and_a_reload_changes_that(tmp_path):
    plain = settings(tmp_path, listeners=[applications()])
    with Daemon(tmp_path, plain, environ={"SHOP": "secret"}) as relay:
        assert decided(relay, sign_in_and_submit(relay, DECLARED))[0] == "direct"

        relay.configure({**plain, "listeners": [applications(kind="quote")]})
        assert relay.control.reload() == "changed: classification"
        told = decided(relay, sign_in_and_submit(relay, DECLARED))
        assert told == ("quote", "native", "application")

        relay.configure({**plain, "listeners": [applications(kind="quote", trust_kind_field=True)]})
        relay.control.reload()
        told = decided(relay, sign_in_and_submit(relay, DECLARED))
        assert told == ("invoice", "native", "X-Relay-Kind")
        assert decided(relay, sign_in_and_submit(relay, LETTER))[0] == "quote"


def test_the_owner_s_own_words_count_from_the_next_reload_on(tmp_path):
    letter = LETTER.replace(b"=?utf-8?q?Gr=C3=BC=C3=9Fe_vom_See?=", b"Honorarblatt 2026-77")
    letter = letter.replace(b"User-Agent: Mozilla Thunderbird\r\n", b"").replace(b"?", b".")
    plain = settings(tmp_path)
    with Daemon(tmp_path, plain) as relay:
        before = relay.submit("ann@shop.example", ["bob@example.net"], letter)
        assert decided(relay, before)[0] != "invoice"
        words = {"any": {"invoice": "Honorarblatt*"}}
        relay.configure({**plain, "classification": {"phrases": words}})
        assert relay.control.reload() == "changed: classification"
        after = relay.submit("ann@shop.example", ["bob@example.net"], letter)
        assert decided(relay, after) == ("invoice", "native", "Subject")


def test_a_rule_says_what_mail_is_and_routing_goes_by_it(tmp_path):
    rules = {
        "classification": {
            "rules": [{"when": {"header": {"Subject": "Gr\u00fc\u00dfe *"}}, "kind": "marketing"}]
        },
        "routing": {"rules": [{"when": {"kind": "marketing"}, "hold": "a look first"}]},
    }
    trusting = [{"trust_kind_field": True}]
    with Daemon(tmp_path, settings(tmp_path, listeners=trusting, **rules)) as relay:
        queue_id = relay.submit("ann@shop.example", ["bob@example.net"], DECLARED)
        assert decided(relay, queue_id) == ("marketing", "direct", "settings")
        assert relay.states() == {"held": 1}
        without = relay.control.message(queue_id)["reasons"][1]
        assert without == {"where": "without it", "what": "it would be invoice, 100% certain"}


def test_a_correction_sends_what_waits_the_right_way_and_proposes_a_rule(tmp_path):
    plain = settings(tmp_path)
    akonto = [LETTER.replace(b"=?utf-8?q?Gr=C3=BC=C3=9Fe_vom_See?=", b"Akonto %d" % number)
              for number in range(3)]  # fmt: skip
    with Daemon(tmp_path, plain) as relay:
        first, second = (
            relay.submit("ann@shop.example", ["bob@example.net"], content) for content in akonto[:2]
        )
        relay.submit("ann@shop.example", ["bob@example.net"], LETTER)
        assert decided(relay, second)[:2] == ("direct", "direct")

        assert relay.control.correct([second], "invoice") == {"messages": 1, "recipients": 1}
        assert decided(relay, second)[:2] == ("invoice", "native")
        assert relay.control.message(second)["corrected"]["kind"] == "direct"

        (proposal,) = relay.control.corrections()
        assert (proposal["corrected"], proposal["changes"]) == (1, 1)
        assert [each["queue_id"] for each in proposal["examples"]] == [second, first]
        rule = yaml.safe_load(proposal["rule"])
        assert rule == [
            {
                "when": {"sender": "ann@shop.example", "header": {"Subject": "Akonto *"}},
                "kind": "invoice",
            }
        ]
        relay.configure({**plain, "classification": {"rules": rule}})
        relay.control.reload()
        third = relay.submit("ann@shop.example", ["bob@example.net"], akonto[2])
        assert decided(relay, third) == ("invoice", "native", "settings")
        letter = relay.submit("ann@shop.example", ["bob@example.net"], LETTER)
        assert decided(relay, letter)[0] == "direct"
        assert relay.control.corrections() == []


def test_what_an_e_invoice_says_is_kept_with_the_message(tmp_path):
    with Daemon(tmp_path, settings(tmp_path)) as relay:
        queue_id = relay.submit("ann@shop.example", ["bob@example.net"], E_INVOICE)
        assert relay.control.message(queue_id)["facts"] == [
            {
                "syntax": "UBL",
                "document": "invoice",
                "number": "RE-118",
                "total": "119.00",
                "currency": "EUR",
                "due": "2026-12-05",
            }
        ]
        shown = subprocess.run(
            [sys.executable, "-m", "relay", "queue", "show", queue_id],
            cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
            env={**os.environ, "RELAY_CONFIG": str(relay.settings_file)},
        )  # fmt: skip
        assert "it says   UBL invoice RE-118, 119.00 EUR, due 2026-12-05\n" in shown.stdout

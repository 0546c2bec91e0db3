"""What decides before any weighing: the owner's word, facts, documents; and what is left unsure."""

import gc

import pytest

from relay.inspect.lexica import load_lexicon
from relay.policy.classify import ClassifyRules, classify
from relay.policy.classify_amounts import read_sums
from relay.policy.evidence import Document, EInvoice, Evidence, Reading
from relay.policy.folding import fold
from relay.policy.identifiers import is_identifier
from relay.policy.kinds import Kind
from relay.policy.lexicon import Lexicon
from relay.policy.phrases import HEADINGS, OWN_WEIGHT, Phrase

LEXICON = load_lexicon()
RULES = ClassifyRules(lexicon=LEXICON)
BILL = "Invoice\nInvoice No. 2025-118\nDesk 2 150.00 300.00\nLamp 3 20.00 60.00\nTotal 360.00 EUR"


def document(text="", **fields):
    return Document(
        **{"where": "attachment a.pdf", "name": "a.pdf", "media_type": "application/pdf"}
        | {"pages": (text,) if text else ()}
        | fields
    )


@pytest.mark.parametrize(
    ("evidence", "rules", "kind"),
    [
        pytest.param(
            Evidence(headers={"x-relay-kind": "quote"}, listener="127.0.0.1:2525"),
            ClassifyRules(lexicon=LEXICON, trust_kind_field=frozenset({"127.0.0.1:2525"})),
            Kind.QUOTE,
            id="declared at a trusted listener",
        ),
        pytest.param(
            Evidence(headers={"x-relay-kind": "quote"}, application="shop"),
            ClassifyRules(lexicon=LEXICON, trust_kind_field=frozenset({"shop"})),
            Kind.QUOTE,
            id="declared by a trusted application",
        ),
        pytest.param(
            Evidence(application="crm"),
            ClassifyRules(lexicon=LEXICON, application_kinds={"crm": Kind.MARKETING}),
            Kind.MARKETING,
            id="default of an application",
        ),
        pytest.param(Evidence(gateway="Carrier (sms.example)"), RULES, Kind.SMS, id="gateway"),
        pytest.param(Evidence(report_type="delivery-status"), RULES, Kind.REPORT, id="DSN"),
        pytest.param(Evidence(null_reverse_path=True), RULES, Kind.REPORT, id="null reverse-path"),
        pytest.param(
            Evidence(headers={"auto-submitted": "auto-replied"}),
            RULES,
            Kind.REPORT,
            id="auto-reply",
        ),
        pytest.param(Evidence(documents=(document(BILL),)), RULES, Kind.INVOICE, id="a bill"),
        pytest.param(
            Evidence(
                subject="Huge sale!",
                headers={"list-unsubscribe": "<https://x.example>", "precedence": "bulk"},
                text="50% discount! Unsubscribe here.",
                documents=(document(BILL),),
            ),
            RULES,
            Kind.INVOICE,
            id="marketing never outvotes a document",
        ),
        pytest.param(
            Evidence(documents=(document(einvoice=EInvoice(syntax="UBL", document="quote")),)),
            RULES,
            Kind.QUOTE,
            id="an e-invoice says what it is",
        ),
    ],
)
def test_what_leaves_no_choice(evidence, rules, kind):
    verdict = classify(evidence, rules)
    assert verdict.kind is kind
    assert verdict.certainty >= 0.85
    assert verdict.reasons


def test_a_declared_kind_counts_only_from_those_who_are_trusted():
    evidence = Evidence(headers={"x-relay-kind": "quote"}, listener="0.0.0.0:25", text="Hi")
    assert classify(evidence, RULES).kind is not Kind.QUOTE


@pytest.mark.parametrize("reading", [Reading.ENCRYPTED, Reading.IMAGE_ONLY, Reading.UNREADABLE])
def test_a_person_sending_what_cannot_be_read_is_unsure(reading):
    evidence = Evidence(
        subject="Hi",
        headers={"user-agent": "Thunderbird", "in-reply-to": "<a@b>"},
        text="see attached",
        documents=(document(reading=reading),),
    )
    verdict = classify(evidence, RULES)
    assert verdict.unsure
    assert verdict.is_essential
    assert any("could not be read" in reason.what for reason in verdict.reasons)


def test_a_problem_while_reading_makes_direct_mail_unsure_and_is_told():
    evidence = Evidence(
        headers={"user-agent": "Thunderbird"}, text="Hi Tom", problems=("more than 200 parts",)
    )
    verdict = classify(evidence, RULES)
    assert verdict.is_essential
    assert "reading: more than 200 parts" in map(str, verdict.reasons)


def test_a_document_that_is_no_invoice_speaks_for_a_person():
    contract = "Contract\nbetween Ann and Bob about the use of a garden. " * 5
    evidence = Evidence(
        subject="Question about the invoice",
        headers={"user-agent": "Thunderbird"},
        text="Hi, here is the contract. When will the invoice come?",
        documents=(document(contract),),
    )
    assert classify(evidence, RULES).kind is Kind.DIRECT


def test_the_owner_s_own_words_count():
    lexicon = Lexicon([Phrase("honorarblatt*", HEADINGS[Kind.INVOICE], "", OWN_WEIGHT)])
    evidence = Evidence(subject="Honorarblatt 2025-77", sender="praxis@example.com")
    assert classify(evidence, ClassifyRules(lexicon=lexicon)).kind is Kind.INVOICE


@pytest.mark.parametrize(
    ("text", "is_table"),
    [
        ("2 150.00 300.00\n3 20.00 60.00\ntotal 360.00", True),
        ("10 100,00 1.000,00\n2 5,50 11,00", True),
        ("10 100,00 1 000,00\n2 50,00 100,00", True),
        ("call 030 1234567 on 12.03.2025 at 10:30", False),
        ("version 2.0 of 3.1 and 4.5", False),
    ],
)
def test_positions_multiply_and_add_up(text, is_table):
    assert read_sums(fold(text)).is_table is is_table


@pytest.mark.parametrize("group", [".000", " 000", "'000"])
def test_a_number_without_end_is_no_obstacle(group):
    text = f"{BILL}\nIBAN, VAT, due 1{group * 2000}"
    assert classify(Evidence(subject="Invoice", text=text), RULES).kind is Kind.INVOICE


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("2025-118", True),
        ("4711", True),
        ("2025/0042", True),
        ("2025", False),
        ("1.190,00", False),
        ("03.12.2025", False),
        ("10:30", False),
        ("7", False),
    ],
)
def test_an_identifier_is_no_amount_date_or_year(word, expected):
    assert is_identifier(word) is expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("RECHNUNG", "rechnung"),
        ("Číslo", "cislo"),
        ("İade Faturası", "iade faturasi"),
        ("ΤΙΜΟΛΌΓΙΟ", "τιμολογιο"),
        ("ﻓﺎﺗﻮﺭﺓ", "فاتورة"),
        ("hoá đơn", "hóa đơn"),
        ("１２３", "123"),
        ("٣٤", "34"),
    ],
)
def test_spelling_does_not_hide_a_word(one, other):
    a, b = fold(one), fold(other)
    assert a == b or sorted(a) == sorted(b)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        pytest.param("חשבונית מס 4471\nסה״כ 27.50"[::-1], Kind.INVOICE, id="Hebrew as it looks"),
        pytest.param("ใบเสนอรคา 4471\nรวม 27.50", Kind.QUOTE, id="Thai without its vowels"),
        pytest.param("इनवइस 4471\nकुल 27.50", Kind.INVOICE, id="Hindi without its vowel signs"),
    ],
)
def test_a_name_is_found_although_a_pdf_file_spoils_it(text, kind):
    verdict = classify(Evidence(documents=(document(text),)), RULES)
    assert verdict.kind is kind


def test_words_that_the_owner_has_changed_are_forgotten_at_once():
    """The cycle collector never looks at what the daemon froze when it started."""
    lexicon = Lexicon([Phrase("honorarblatt*", HEADINGS[Kind.INVOICE], "", OWN_WEIGHT)])
    lexicon.find("honorarblatt")
    gc.disable()
    try:
        mine = id(lexicon)
        del lexicon
        assert not any(id(one) == mine and type(one) is Lexicon for one in gc.get_objects())
    finally:
        gc.enable()

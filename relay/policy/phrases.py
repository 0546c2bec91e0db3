"""What a lexicon is made of, and what it finds in a text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from relay.policy.kinds import Kind


class Concept(StrEnum):
    """What a phrase speaks of."""

    COMMON = "common"  # small words that tell the language
    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"
    PROFORMA = "proforma"
    REMINDER = "reminder"  # of an unpaid invoice
    QUOTE = "quote"
    STATEMENT = "statement"
    RECEIPT = "receipt"
    ORDER = "order"  # orders, delivery notes, requests for prices, work reports
    OTHER_DOCUMENT = "other_document"  # contract, minutes, menu, programme …
    TOTAL = "total"
    TAX = "tax"
    DUE = "due"
    COLUMN = "column"  # headings of a table of positions
    BALANCE = "balance"  # words of accounts: balance, open items, ageing
    BANK = "bank"
    NUMBER = "number"  # "No.", what stands between a document's name and its number
    VIEW = "view"  # view, open, download, pay
    ATTACHED = "attached"
    PAID = "paid"  # money was received, refunded, donated
    ACCOUNT = "account"  # password, sign-in, verification, security
    ACTIVITY = "activity"  # order, shipment, booking, ticket, comment, task
    AUTOMATIC = "automatic"  # "this message was made automatically", "do not reply"
    UNSUBSCRIBE = "unsubscribe"
    PROMOTION = "promotion"
    AUTO_REPLY = "auto_reply"
    UNDELIVERED = "undelivered"
    PERSONAL = "personal"  # greetings and closings of people
    TRAP = "trap"  # holds another phrase but means nothing here


class Phrase(NamedTuple):
    """One entry of a lexicon; there are many, so tuples (they are made three times as fast)."""

    text: str  # as a person wrote it in the file
    concept: Concept
    language: str
    weight: float = 1.0


_CONCEPT_OF = {
    Kind.INVOICE: Concept.INVOICE,
    Kind.QUOTE: Concept.QUOTE,
    Kind.STATEMENT: Concept.STATEMENT,
    Kind.RECEIPT: Concept.RECEIPT,
    Kind.NOTIFICATION: Concept.ACTIVITY,
    Kind.MARKETING: Concept.PROMOTION,
    Kind.DIRECT: Concept.PERSONAL,
    Kind.REPORT: Concept.AUTO_REPLY,
}
HEADINGS = {concept.value: concept for concept in Concept if concept is not Concept.COMMON} | {
    kind.value: concept for kind, concept in _CONCEPT_OF.items()
}
"""What the owner may put phrases under: the headings of the files, and kinds."""
NUMBERED = frozenset(
    {
        Concept.INVOICE,
        Concept.CREDIT_NOTE,
        Concept.PROFORMA,
        Concept.REMINDER,
        Concept.QUOTE,
        Concept.STATEMENT,
        Concept.RECEIPT,
        Concept.ORDER,
        Concept.PAID,
    }
)
"""What is one of many and has a number of its own: documents and payments."""
OWN_WEIGHT = 2.0  # the owner knows his mail


class Hit(NamedTuple):
    """A phrase that was found."""

    concept: Concept  # what it speaks of
    weight: float
    found: str  # the words as they stand in the (folded) text
    at: int  # rises with the place in the text
    number: str | None  # an identifier with digits next to it, where the concept is NUMBERED
    languages: frozenset[str]  # that have the phrase; empty where the script says enough


@dataclass(frozen=True, slots=True)
class Scan:
    """What a lexicon sees in a text."""

    hits: list[Hit]
    languages: frozenset[str]  # by its common words; empty when there are too few
    common: int  # different common words of the best language
    words: int  # how many there are; places in scripts without spaces are counted on from there

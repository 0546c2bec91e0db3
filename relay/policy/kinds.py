"""The kinds of mail and what was decided of a message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a message is (ARCHITECTURE.md, "Kinds and default routing")."""

    INVOICE = "invoice"
    QUOTE = "quote"
    STATEMENT = "statement"
    RECEIPT = "receipt"
    NOTIFICATION = "notification"
    DIRECT = "direct"
    MARKETING = "marketing"
    SMS = "sms"
    REPORT = "report"


ESSENTIAL = frozenset({Kind.INVOICE, Kind.QUOTE, Kind.STATEMENT, Kind.RECEIPT, Kind.NOTIFICATION})
"""Kinds that may take another channel and the reserve of a limit."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One piece of evidence, in words that the owner understands."""

    where: str  # "Subject", "PDF page 1", "attachment rechnung.pdf", "List-Unsubscribe"
    what: str  # "'Rechnung Nr.' and a total of 1.190,00 EUR"

    def __str__(self) -> str:
        """Return it as one sentence part."""
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a message is, how certain that is, and why."""

    kind: Kind
    certainty: float  # 0 to 1: the share of such verdicts that are right
    reasons: tuple[Reason, ...]  # the strongest first, at least one
    unsure: bool = False  # too little evidence, or reading failed: treated as essential

    @property
    def is_essential(self) -> bool:
        """Return whether this mail matters enough to take another channel."""
        return self.unsure or self.kind in ESSENTIAL

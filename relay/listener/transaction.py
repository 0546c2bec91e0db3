"""What MAIL and RCPT say (RFC 5321 §3.3): arguments in, a transaction or a reply out; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from relay.mail.address import (
    PathError,
    parse_forward_path,
    parse_parameters,
    parse_reverse_path,
)
from relay.mail.message import Envelope

_FROM = re.compile(rb"FROM[ \t]*:", re.IGNORECASE)
_TO = re.compile(rb"TO[ \t]*:", re.IGNORECASE)
_SIZE = re.compile(r"[0-9]{1,20}", re.ASCII)
_SMTPUTF8_FIRST = "553 5.6.7 address with non-ASCII characters needs SMTPUTF8"


class NotTaken(Exception):  # noqa: N818 - a reply, not a fault
    """MAIL or RCPT cannot be obeyed; the text is the reply."""


@dataclass(slots=True)
class Transaction:
    """What MAIL and RCPT said so far."""

    reverse_path: str | None
    body_8bit: bool = False
    smtputf8: bool = False
    forward_paths: list[str] = field(default_factory=list)
    has_too_many: bool = False  # whether a recipient was refused since there are enough

    def envelope(self) -> Envelope:
        """Return it as it is kept; a recipient named twice gets one copy."""
        return Envelope(
            reverse_path=self.reverse_path,
            forward_paths=tuple(dict.fromkeys(self.forward_paths)),
            body_8bit=self.body_8bit,
            smtputf8=self.smtputf8,
        )


def read_mail(argument: bytes, max_message_bytes: int) -> Transaction:
    """Return the transaction that MAIL begins; raises NotTaken."""
    match = _FROM.match(argument)
    if match is None:
        raise NotTaken("501 5.5.4 syntax: MAIL FROM:<address>")
    try:
        address, rest = parse_reverse_path(argument[match.end() :])
    except PathError as error:
        raise NotTaken(f"501 5.1.7 sender address: {error}") from None
    try:
        parameters = parse_parameters(rest)
    except PathError as error:
        raise NotTaken(f"501 5.5.4 {error}") from None
    transaction = Transaction(address)
    for name, value in parameters.items():
        _declare(transaction, name, value, max_message_bytes)
    _check_characters(address, transaction)
    return transaction


def read_rcpt(argument: bytes, transaction: Transaction) -> str:
    """Return the recipient that RCPT names; raises NotTaken."""
    match = _TO.match(argument)
    if match is None:
        raise NotTaken("501 5.5.4 syntax: RCPT TO:<address>")
    try:
        address, rest = parse_forward_path(argument[match.end() :])
    except PathError as error:
        raise NotTaken(f"501 5.1.3 recipient address: {error}") from None
    if rest.strip():
        raise NotTaken("555 5.5.4 parameter not recognised")
    _check_characters(address, transaction)
    return address


def _declare(
    transaction: Transaction, name: str, value: str | None, max_message_bytes: int
) -> None:
    match name:
        case "SIZE" if value and _SIZE.fullmatch(value):
            if int(value) > max_message_bytes:
                raise NotTaken(f"552 5.3.4 message larger than {max_message_bytes} octets")
        case "BODY" if value and value.upper() in {"7BIT", "8BITMIME"}:
            transaction.body_8bit = value.upper() == "8BITMIME"
        case "SMTPUTF8" if value is None:
            transaction.smtputf8 = True
        case "AUTH" if value:
            pass  # RFC 4954 §5: who wrote it is of no use here, and Exchange always says it
        case "SIZE" | "BODY" | "SMTPUTF8" | "AUTH":
            raise NotTaken(f"501 5.5.4 value of {name} not understood")
        case _:
            raise NotTaken("555 5.5.4 parameter not recognised")


def _check_characters(address: str | None, transaction: Transaction) -> None:
    if address is not None and not transaction.smtputf8 and not address.isascii():
        raise NotTaken(_SMTPUTF8_FIRST)

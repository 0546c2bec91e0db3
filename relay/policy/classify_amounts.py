"""Sums of money in a text and whether they add up: evidence that needs no language."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

from relay.policy.folding import any_of

MAX_NUMBERS = 160
_REACH = 6  # numbers of one row of a table

# They begin with a digit and look behind it: so `re` skips to the digits by itself.
_BEGIN, _END = r"\d(?<![\w.,/:\-]\d)", r"(?![\w/:\-]| ?%)"
_NUMBER = re.compile(  # thousands set apart by points, commas, apostrophes
    rf"{_BEGIN}(?:\d{{0,2}}(?:[.,'’]\d{{3}}){{1,6}}(?:[.,]\d{{1,3}})?|\d{{0,8}}(?:[.,]\d{{1,4}})?){_END}"
)
_SPACED_NUMBER = re.compile(  # or by blanks
    rf"{_BEGIN}(?:\d{{0,2}}(?: \d{{3}}){{1,6}}(?:[.,]\d{{1,3}})?|\d{{0,8}}(?:[.,]\d{{1,4}})?){_END}"
)
_SPACED = re.compile(r"\d \d{3}\b")
_CODES = """eur usd gbp chf sek nok dkk isk pln czk huf ron bgn rsd hrk mkd try rub uah jpy cny rmb
    krw twd hkd sgd myr idr thb vnd php inr pkr bdt lkr aed sar qar kwd egp mad dzd tnd ils irr kes
    tzs ugx ngn ghs zar brl mxn ars clp cop pen uyu aud nzd cad gel amd azn kzt uzs khr lak mmk npr
    lei leva kr kc zl ft rs rp rm tl"""
_SIGNS = r"[€$£¥₹₺₽₴₩₪฿₫₦₱₸₾₡₲₵]|元|円|원|руб|грн|лв|ден|дин|บาท|ر\.س|د\.إ|ریال|تومان"
_CURRENCY = re.compile(rf"{_SIGNS}|\b{any_of(_CODES.split())}\b")
_ASCII_CURRENCY = re.compile(rf"\$|\b{any_of(_CODES.split())}\b")
_DATE = re.compile(
    r"\b(?:\d{1,2}[./\-]\d{1,2}[./\-](?:\d{4}|\d{2})|\d{4}[./\-]\d{1,2}[./\-]\d{1,2})\b"
)
_MONEY = re.compile(r"\d[.,]\d\d(?!\d|[./\-]\d)")
_AGES = re.compile(
    r"1 ?[-–] ?30\D{1,40}31 ?[-–] ?60\D{1,40}61 ?[-–] ?90|\b30\D{1,25}\b60\D{1,25}\b90\b"
)
_IBAN = re.compile(r"\b[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){3,7}(?: ?[a-z0-9]{1,3})?\b")
_VAT_ID = re.compile(
    r"""\b(?:atu\d{8}|be\ ?[01]\d{9}|bg\d{9,10}|che-?\d{3}\.?\d{3}\.?\d{3}|cy\d{8}[a-z]|cz\d{8,10}
    |de\ ?\d{9}|dk\ ?\d{8}|ee\d{9}|el\d{9}|es[a-z]\d{7}[\da-z]|fi\ ?\d{8}|fr\ ?[\da-z]{2}\ ?\d{9}
    |gb\ ?\d{9}|hr\d{11}|hu\d{8}|ie\d[\da-z]\d{5}[a-z]|it\ ?\d{11}|lt\d{9,12}|lu\d{8}|lv\d{11}
    |mt\d{8}|nl\ ?\d{9}b\d{2}|no\ ?\d{9}mva|pl\ ?\d{10}|pt\ ?\d{9}|ro\ ?\d{6,10}|se\ ?\d{12}
    |si\d{8}|sk\d{10})\b""",
    re.VERBOSE,
)

_FEWEST_DIGITS = re.compile(r"\d{5}|\d\.\d{3}")  # that every VAT id has


@dataclass(frozen=True, slots=True)
class Sums:
    """What the numbers of a text show."""

    amounts: int  # numbers written as money: two decimals
    currencies: int
    rows: int  # quantity x price = amount
    has_total: bool  # a number that is the sum of others
    largest: str  # as written, "" without amounts
    has_iban: bool
    has_vat_id: bool
    dated_lines: int = 0  # with a date and a sum, as accounts have them
    is_aged: bool = False  # 1-30, 31-60, 61-90 days

    @property
    def is_table(self) -> bool:
        """Return whether these are positions with prices."""
        return self.rows >= 2 or (self.rows == 1 and self.has_total)


@dataclass(frozen=True, slots=True)
class _Number:
    text: str
    value: int  # hundredths
    decimals: int

    @property
    def is_grouped(self) -> bool:
        """Return whether its thousands are set apart."""
        return not self.decimals and not self.text.isdigit()

    @property
    def is_month(self) -> bool:
        """Return whether it reads as a year and a month, `2020.05`."""
        return 1990_00 <= self.value <= 2040_12 and self.value % 100 <= 12 and len(self.text) == 7


def read_sums(text: str) -> Sums:
    """Return the sums in `text`, which must be folded.

    `10 100,00` may be one number or two, so both readings are tried; the one that adds up counts.
    """
    plain = _read(text, _NUMBER)
    if plain.is_table or not _SPACED.search(text):
        return plain
    spaced = _read(text, _SPACED_NUMBER)
    return spaced if spaced.is_table or spaced.has_total else plain


def _read(text: str, pattern: re.Pattern[str]) -> Sums:
    found = islice(pattern.finditer(text), MAX_NUMBERS)
    numbers = [_parse(match[0]) for match in found]
    money = [number for number in numbers if number.decimals == 2 and not number.is_month]
    currency = _ASCII_CURRENCY if text.isascii() else _CURRENCY
    currencies = len(currency.findall(text)[:50])
    if not money:
        whole = [number for number in numbers if number.value >= 100_00 and not number.decimals]
        money = whole if currencies else [number for number in whole if number.is_grouped]
    return Sums(
        amounts=len(money),
        currencies=currencies,
        rows=_rows(numbers),
        has_total=_has_total([number.value for number in money]),
        largest=max(money, key=lambda number: number.value).text if money else "",
        has_iban=bool(_IBAN.search(text)),
        has_vat_id=bool(_FEWEST_DIGITS.search(text) and _VAT_ID.search(text)),
        dated_lines=_dated_lines(text),
        is_aged="60" in text and bool(_AGES.search(text)),
    )


def _dated_lines(text: str) -> int:
    return sum(
        1
        for line in text.splitlines()[:200]
        if _MONEY.search(line[:200]) and _DATE.search(line[:200])
    )


def _parse(text: str) -> _Number:
    whole, decimals = text, ""
    position = max(text.rfind("."), text.rfind(","))
    if position >= 0 and (len(text) - position - 1 != 3 or len(text[:position].strip("0")) == 0):
        whole, decimals = text[:position], text[position + 1 :]
    digits = re.sub(r"\D", "", whole) or "0"
    return _Number(text, int(digits) * 100 + int((decimals + "00")[:2]), len(decimals))


def _rows(numbers: list[_Number]) -> int:
    """Count quantities that, times a price next to them, give an amount next to them."""
    rows = 0
    position = 0
    while position < len(numbers):
        window = numbers[position : position + _REACH]
        if _is_row(window):
            rows += 1
            position += 3
        else:
            position += 1
    return rows


def _is_row(window: list[_Number]) -> bool:
    first = window[0]
    if first.value <= 0:
        return False
    values = [number.value for number in window]
    for i in range(1, len(values) - 1):
        if values[i] <= 0 or (first.value == 100 and not window[i].decimals):
            continue
        product = first.value * values[i]
        for j in range(i + 1, len(values)):
            if first.value == 100 and values[i] < 200:
                continue
            if abs(values[j] * 100 - product) <= _rounding(first, window[i], product):
                return min(first.value, values[i]) != 100 or window[j].decimals == 2
    return False


def _rounding(quantity: _Number, price: _Number, product: int) -> int:
    """Return how far a product may be off because the price is shown rounded to its unit."""
    if price.decimals or quantity.value <= 100:
        return 0
    return min(quantity.value * 50 + 50_00, product // 200)


def _has_total(values: list[int]) -> bool:
    """Return whether an amount is the sum of two to eight that stand before it in a row."""
    for end in range(2, min(len(values), 60)):
        total = 0
        for start in range(end - 1, max(end - 9, -1), -1):
            total += values[start]
            if total == values[end] and start < end - 1 and values[end] > 0:
                return True
    return False

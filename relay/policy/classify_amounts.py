"""Sums of money in a text and whether they add up: evidence that needs no language."""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

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
_MAY_BE_DIGIT = re.compile("[0-9\u0080-\U0010ffff]")
_NOT_DIGITS = re.compile(r"\D+")
_SPACED = re.compile(r"\d \d{3}\b")
_CODES_TEXT = """eur usd gbp chf sek nok dkk isk pln czk huf ron bgn rsd hrk mkd try rub uah jpy cny
    rmb krw twd hkd sgd myr idr thb vnd php inr pkr bdt lkr aed sar qar kwd egp mad dzd tnd ils irr
    kes tzs ugx ngn ghs zar brl mxn ars clp cop pen uyu aud nzd cad gel amd azn kzt uzs khr lak mmk
    npr lei leva kr kc zl ft rs rp rm tl"""
_CODES = frozenset(_CODES_TEXT.split())
_SIGNS = re.compile("[€$£¥₹₺₽₴₩₪฿₫₦₱₸₾₡₲₵元円원]")
_SIGN_WORDS = ("руб", "грн", "лв", "ден", "дин", "บาท", "ر.س", "د.إ", "ریال", "تومان")
_TOKEN = re.compile(r"\w+")
_TOKENS = "".join(
    chr(code) if chr(code).isalnum() or code == ord("_") else " " for code in range(128)
)
_DATE = re.compile(
    r"""\d(?<!\w\d)(?:\d?[./\-]\d{1,2}[./\-](?:\d{4}|\d{2})
    |\d{3}[./\-]\d{1,2}[./\-]\d{1,2})\b""",
    re.VERBOSE,
)
_MONEY = re.compile(r"\d[.,]\d\d(?!\d|[./\-]\d)")
_AGES = re.compile(
    r"1 ?[-–] ?30\D{1,40}31 ?[-–] ?60\D{1,40}61 ?[-–] ?90|\b30\D{1,25}\b60\D{1,25}\b90\b"
)
_IBAN = re.compile(r"\d(?<=\b[a-z]{2}\d)\d(?: ?[a-z0-9]{4}){3,7}(?: ?[a-z0-9]{1,3})?\b")
_VAT_ID = re.compile(
    r"""\b(?:atu\d{8}|be\ ?[01]\d{9}|bg\d{9,10}|che-?\d{3}\.?\d{3}\.?\d{3}|cy\d{8}[a-z]|cz\d{8,10}
    |de\ ?\d{9}|dk\ ?\d{8}|ee\d{9}|el\d{9}|es[a-z]\d{7}[\da-z]|fi\ ?\d{8}|fr\ ?[\da-z]{2}\ ?\d{9}
    |gb\ ?\d{9}|hr\d{11}|hu\d{8}|ie\d[\da-z]\d{5}[a-z]|it\ ?\d{11}|lt\d{9,12}|lu\d{8}|lv\d{11}
    |mt\d{8}|nl\ ?\d{9}b\d{2}|no\ ?\d{9}mva|pl\ ?\d{10}|pt\ ?\d{9}|ro\ ?\d{6,10}|se\ ?\d{12}
    |si\d{8}|sk\d{10})\b""",
    re.VERBOSE,
)

_FEWEST_DIGITS = re.compile(r"\d(?:\d{4}|\.\d{3})")  # that every VAT id has


class Sums(NamedTuple):
    """What the numbers of a text show."""

    currencies: int
    has_iban: bool
    has_vat_id: bool
    dated_lines: int  # with a date and a sum, as accounts have them
    is_aged: bool  # 1-30, 31-60, 61-90 days
    amounts: int = 0  # numbers written as money: two decimals
    rows: int = 0  # quantity x price = amount
    has_total: bool = False  # a number that is the sum of others
    largest: str = ""  # as written, "" without amounts

    @property
    def is_table(self) -> bool:
        """Return whether these are positions with prices."""
        return self.rows >= 2 or (self.rows == 1 and self.has_total)


class _Number(NamedTuple):
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
    lines = [line for line in text.splitlines() if _MAY_BE_DIGIT.search(line)]
    figures = "\n".join(lines)  # all that has a number in it: mostly a small part
    sums = Sums(
        currencies=_currencies(text),
        has_iban=bool(_IBAN.search(figures)),
        has_vat_id=any(_VAT_ID.search(line) for line in lines if _FEWEST_DIGITS.search(line)),
        dated_lines=sum(map(_is_dated, lines[:200])),
        is_aged="60" in text and bool(_AGES.search(text)),
    )
    plain = _with_amounts(sums, figures, _NUMBER)
    if plain.is_table or not _SPACED.search(figures):
        return plain
    spaced = _with_amounts(sums, figures, _SPACED_NUMBER)
    return spaced if spaced.is_table or spaced.has_total else plain


def _currencies(text: str) -> int:
    if text.isascii():
        return text.count("$") + sum(map(_CODES.__contains__, text.translate(_TOKENS).split()))
    signs = len(_SIGNS.findall(text)) + sum(map(text.count, _SIGN_WORDS))
    return signs + sum(map(_CODES.__contains__, _TOKEN.findall(text)))


def _is_dated(line: str) -> bool:
    begin = line[:200]
    return bool(_MONEY.search(begin) and _DATE.search(begin))


def _with_amounts(sums: Sums, figures: str, pattern: re.Pattern[str]) -> Sums:
    found = islice(pattern.finditer(figures), MAX_NUMBERS)
    numbers = [_parse(match[0]) for match in found]
    money = [number for number in numbers if number.decimals == 2 and not number.is_month]
    if not money:
        whole = [number for number in numbers if number.value >= 100_00 and not number.decimals]
        money = whole if sums.currencies else [number for number in whole if number.is_grouped]
    return sums._replace(
        amounts=len(money),
        rows=_rows(numbers),
        has_total=_has_total([number.value for number in money]),
        largest=max(money, key=lambda number: number.value).text if money else "",
    )


def _parse(text: str) -> _Number:
    whole, decimals = text, ""
    position = max(text.rfind("."), text.rfind(","))
    if position >= 0 and (len(text) - position - 1 != 3 or len(text[:position].strip("0")) == 0):
        whole, decimals = text[:position], text[position + 1 :]
    if not whole.isdecimal():
        whole = _NOT_DIGITS.sub("", whole) or "0"
    return _Number(text, int(whole) * 100 + int((decimals + "00")[:2]), len(decimals))


def _rows(numbers: list[_Number]) -> int:
    """Count quantities that, times a price next to them, give an amount next to them."""
    rows = 0
    position = 0
    while position < len(numbers) - 2:
        if _is_row(numbers[position : position + _REACH]):
            rows += 1
            position += 3
        else:
            position += 1
    return rows


def _is_row(window: list[_Number]) -> bool:
    quantity = window[0]
    if quantity.value <= 0:
        return False
    is_one = quantity.value == 100
    for at, price in enumerate(window[1:-1], 2):
        if price.value <= 0 or (is_one and (price.value < 200 or not price.decimals)):
            continue
        product = quantity.value * price.value
        rounding = _rounding(quantity, price, product)
        for amount in window[at:]:
            if abs(amount.value * 100 - product) <= rounding:
                return min(quantity.value, price.value) != 100 or amount.decimals == 2
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

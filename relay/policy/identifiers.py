"""Numbers that name one thing, told from amounts, dates, years and shares."""

from __future__ import annotations

import re
from bisect import bisect_left

from relay.policy.wording import Wording

_PLAIN_NUMBER = re.compile(r"\d{3,}")
_AMOUNT = re.compile(r"\d{1,3}(?:[.,]\d{3})+(?:[.,]\d{1,2})?|\d+[.,]\d{1,2}")
_DATE = re.compile(
    r"\d{1,4}([./\-])\d{1,2}\1\d{1,4}|\d{1,2}:\d\d.*|\d{4}-(?:0\d|1[0-2])|\d{1,2}/\d{4}|\d{1,2}/\d{1,2}"
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_NEAR_NUMBER = re.compile(r"\d[\w.,/:\-]*")
_DIGITS = frozenset("0123456789")
_UNITS_TEXT = """% eur usd gbp chf kr sek nok dkk pln zl kc czk huf ft lei ron rub руб грн tl try lv
    bgn euro euros dollars days day tage tagen jours dias dagen giorni min minutes hours"""
_UNITS = frozenset(_UNITS_TEXT.split())


def number_near(wording: Wording, first: int, last: int) -> str | None:
    """Return an identifier up to three words after or two before, for `Rechnung Nr. 118`."""
    words, figures = wording
    nearest = bisect_left(figures, first - 2)
    if nearest == len(figures) or figures[nearest] > last + 3:
        return None
    count = len(words)
    for index in (last + 1, last + 2, last + 3, first - 1, first - 2):
        if 0 <= index < count and words[index][0] in _DIGITS:
            labelled = index > 0 and words[index - 1] in ("#", "№")
            follower = words[index + 1] if index + 1 < len(words) else ""
            if is_identifier(words[index], labelled=labelled, follower=follower):
                return words[index].rstrip(".,:-/")
    return None


def number_around(text: str, start: int, end: int) -> str | None:
    for window in (text[end : end + 20], text[max(0, start - 16) : start]):
        for match in _NEAR_NUMBER.finditer(window):
            if is_identifier(match[0]):
                return match[0].rstrip(".,:-/")
    return None


def is_identifier(word: str, *, labelled: bool = False, follower: str = "") -> bool:
    """Return whether a word of digits names one thing: no amount, date, year, time or share."""
    word = word.rstrip(".,:-/")
    if follower in _UNITS or _AMOUNT.fullmatch(word) or _DATE.fullmatch(word):
        return False
    if labelled:
        return True
    if _YEAR.fullmatch(word):
        return False
    digits = sum(map(str.isdigit, word))
    return bool(_PLAIN_NUMBER.search(word)) or (digits >= 2 and digits < len(word))

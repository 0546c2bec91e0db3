"""Where an answer stops and what it answers begins."""

from __future__ import annotations

import re

_SEPARATOR = re.compile(  # ----- Original Message -----
    r"^(?:[-_=*]{2,}.{0,10}[^\W\d_].{2,60}[-_=*]{2,}|_{10,}|-{10,})\s*$"
)
_FROM = """From, Von, De, Da, Van, Fra, Från, Od, Lähettäjä, Saatja, От, Від, Από, Kimden, Gönderen,
    Feladó, No, Nuo, 发件人, 寄件者, 寄件人, 差出人, 보낸 사람, من, מאת, จาก, Từ, Dari, Dla, De la,
    Pošiljatelj, Odesílatel, Expéditeur, Remitente"""
_FROM_NAMES = "|".join(name.strip() for name in _FROM.split(","))
_FROM_LABEL = re.compile(rf"^[*\s]{{0,3}}(?:{_FROM_NAMES})\s?[:：]\*?\s?\S")
_LABEL = re.compile(r"^[*\s]{0,3}[^\W\d_][^:：\n]{0,20}[:：]")
_INTRODUCES = re.compile(r"[:：]\s*$|<[^<>\s@]{1,100}@[^<>\s@]{1,255}>.{0,30}$|@[\w.\-]+.{0,25}$")
MAX_LINES = 2_000
MAX_INTRODUCTION = 400  # characters of a line that are looked at, its last


def split_quoted(text: str, *, is_answer: bool) -> tuple[str, str]:
    """Return the new text and the quoted; other marks than `>` count in an answer only."""
    if not is_answer and "\n>" not in text and not text.startswith(">"):
        return text, ""
    lines = text.split("\n", MAX_LINES)
    new: list[str] = []
    quoted: list[str] = []
    for index, line in enumerate(lines):
        if line.lstrip().startswith(">"):
            if not quoted:
                _take_introduction(new, quoted)
            quoted.append(line.lstrip("> "))
        elif is_answer and _begins_original(lines, index):
            quoted.extend(lines[index:])
            break
        else:
            new.append(line)
    return "\n".join(new), "\n".join(quoted)


def _take_introduction(new: list[str], quoted: list[str]) -> None:
    """Move `On Monday, Ann wrote:`, one line or two, to what is quoted."""
    while new and not new[-1].strip():
        new.pop()
    if new and _INTRODUCES.search(new[-1][-MAX_INTRODUCTION:]):
        last = new.pop()
        if new and new[-1].strip() and not re.search(r"\d{4}|\d:\d\d", last) and len(new) > 1:
            quoted.append(new.pop())
        quoted.append(last)


def _begins_original(lines: list[str], index: int) -> bool:
    """Return whether the headers of another message stand here."""
    line = lines[index]
    if _SEPARATOR.match(line):
        return any(_LABEL.match(text) for text in _following(lines, index)[:2])
    if (":" in line or "：" in line) and _FROM_LABEL.match(line):
        return sum(bool(_LABEL.match(text)) for text in _following(lines, index)) >= 2
    return False


def _following(lines: list[str], index: int) -> list[str]:
    """Return the next three lines that are not empty, if they are near."""
    return [text for text in lines[index + 1 : index + 7] if text.strip()][:3]

"""The entries of the reply dictionary, and whether one matches a failure."""

from __future__ import annotations

import builtins
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, lru_cache
from typing import Any

from relay.mail.attempt import Refused
from relay.policy.judgement import Category, Retry, Scope

BOUNCE = "bounce"  # the stage of what is reported by mail, after a 250
_NOT_A_REPLY = "-1"
_NEVER = "(?!)"  # matches nothing
_STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![.\d])")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One kind of failure. Of the conditions, all that are given must hold."""

    id: str
    providers: frozenset[str]  # empty: everybody
    provider_required: bool
    stages: frozenset[str]
    codes: frozenset[str]
    status: str | None  # regular expression
    text: str | None  # regular expression
    exceptions: frozenset[str]
    errnos: frozenset[int]
    ports: frozenset[int]
    securities: frozenset[str]
    host: str | None  # regular expression
    certain: str  # regular expression; without it in the text, the fault may be the account's
    catch_all: bool
    category: Category
    is_permanent: bool
    retry: Retry
    retry_after: timedelta | None
    pause: Scope
    window: timedelta | None
    cause: str
    fix: str
    propose: Mapping[str, Any] = field(default_factory=dict)  # changes of settings, unasked-for


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What entries are asked about: a refusal, normalised."""

    stage: str
    code: str  # "550", "-" for none
    status: str | None
    text: str  # on one line, the status in front
    exceptions: frozenset[str] = frozenset()  # the class and its bases, when no server spoke
    errno: int | None = None
    host: str = ""
    port: int = 0
    security: str = ""


def read_entry(data: Mapping[str, Any]) -> Entry:
    """Return an entry of the data file; raises KeyError, TypeError, ValueError for what is none."""
    match = data["match"]
    when = match.get("when", {})
    quota = data.get("quota", {})
    return Entry(
        id=data["id"],
        providers=frozenset(data.get("providers", ())),
        provider_required=data.get("provider_required", False),
        stages=frozenset(data["stage"]),
        codes=frozenset(match.get("code", ())),
        status=match.get("status"),
        text=match.get("text"),
        exceptions=frozenset(match.get("exception", ())),
        errnos=frozenset(match.get("errno", ())),
        ports=frozenset(when.get("port", ())),
        securities=frozenset(when.get("security", ())),
        host=when.get("host"),
        certain=_NEVER if data.get("certain") is False else data.get("certain", ""),
        catch_all=data.get("catch_all", False),
        category=Category(data["category"]),
        is_permanent=data["persistence"] == "permanent",
        retry=Retry(data["retry"]),
        retry_after=_seconds(data.get("retry_after_s")),
        pause=Scope(data["pause"]),
        window=_seconds(quota.get("window_s")),
        cause=data["cause"],
        fix=data["fix"],
        propose=data.get("propose", {}),
    )


def normalise(refused: Refused, host: str = "", port: int = 0, security: str = "") -> Failure:
    """Return `refused` as entries know it: lines joined, blanks collapsed, the status in front."""
    reply = refused.reply
    text = _BLANKS.sub(" ", f"{reply.status or ''} {reply.text}").strip()
    status = reply.status
    if status is None and (found := _STATUS.search(text)):
        status = found[0]
    return Failure(
        stage=refused.phase.value,
        code=_NOT_A_REPLY if refused.error else str(reply.code),
        status=status,
        text=text,
        exceptions=_family(refused.error) if refused.error else frozenset(),
        errno=refused.errno,
        host=host,
        port=port,
        security=security,
    )


def matches(entry: Entry, failure: Failure) -> bool:
    """Return whether all conditions of `entry` hold; its stage and providers are not asked."""
    return (
        _code_fits(entry, failure)
        and _situation_fits(entry, failure)
        and (entry.status is None or _status_fits(entry.status, failure))
        and (entry.text is None or expression(entry.text).search(failure.text) is not None)
    )


@cache  # bounded by the data file; compiled when first needed
def expression(pattern: str) -> re.Pattern[str]:
    """Return a regular expression of the data file, compiled."""
    return re.compile(pattern, re.IGNORECASE)


def _code_fits(entry: Entry, failure: Failure) -> bool:
    if not entry.codes and not entry.exceptions:
        return True  # its text decides
    if failure.exceptions:
        by_code = not entry.codes or _NOT_A_REPLY in entry.codes
        return by_code and not entry.exceptions.isdisjoint(failure.exceptions)
    return failure.code in entry.codes or f"{failure.code[0]}xx" in entry.codes


def _situation_fits(entry: Entry, failure: Failure) -> bool:
    if entry.errnos and failure.errno is not None and failure.errno not in entry.errnos:
        return False
    if entry.ports and failure.port not in entry.ports:
        return False
    if entry.securities and failure.security not in entry.securities:
        return False
    return entry.host is None or expression(entry.host).search(failure.host) is not None


def _status_fits(pattern: str, failure: Failure) -> bool:
    status = failure.status
    return status is not None and expression(pattern).fullmatch(status) is not None


@lru_cache(maxsize=64)
def _family(error: str) -> frozenset[str]:
    """Return the names of an exception class and of what it is a kind of."""
    found = getattr(builtins, error, None) or getattr(ssl, error, None)
    if isinstance(found, type):
        return frozenset(base.__name__ for base in found.__mro__)
    if error.startswith("SMTP"):
        return frozenset({error, "SMTPException", "OSError"})
    return frozenset({error, "OSError"}) if error == "gaierror" else frozenset({error})


def _seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)

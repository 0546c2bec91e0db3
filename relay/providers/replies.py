"""The reply dictionary: whose fault a failure is, what to do, and what to tell the owner."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from datetime import timedelta
from importlib.resources import files
from typing import Self

import yaml

from relay.mail.attempt import Refused
from relay.policy.judgement import Judgement, Retry, Scope
from relay.providers.entries import (
    BOUNCE,
    Entry,
    Failure,
    expression,
    matches,
    normalise,
    read_entry,
)
from relay.providers.rfc3463 import BEFORE_MAIL, judge_by_step

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LONGEST_WAIT = timedelta(days=1)  # a server is not believed to mean more
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WAIT = re.compile(
    r"\b(?:try|retry|re-?send|wait|again|back|blocked|locked|delayed|deferred)\b.{0,40}?"
    r"\b(?P<wait>\d{1,6})\s?(?P<unit>s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"\b(?:in|after|for)\s+(\d{1,3}):([0-5]\d):([0-5]\d)\b", re.IGNORECASE)


class ReplyDictionary:
    """Entries in their order. See the head of replies.yaml for what they say."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)
        self._by_stage: dict[str, list[Entry]] = {}
        for entry in self.entries:
            for stage in entry.stages:
                self._by_stage.setdefault(stage, []).append(entry)

    @classmethod
    def load(cls) -> Self:
        """Return the dictionary that comes with the relay."""
        text = files(__package__).joinpath("replies.yaml").read_bytes()
        return cls(read_entry(entry) for entry in yaml.load(text, Loader=LOADER)["entries"])  # noqa: S506

    def judge(
        self,
        refused: Refused,
        *,
        provider: str | None,
        host: str = "",
        port: int = 0,
        security: str = "",
    ) -> Judgement:
        """Return whose fault `refused` is. `provider` is the account's, None when unknown."""
        failure = normalise(refused, host, port, security)
        entry = self.find(failure, provider)
        if entry is None:
            judgement = judge_by_step(refused)
        elif entry.catch_all:
            by_step = judge_by_step(refused)
            judgement = dataclasses.replace(by_step, entry=entry.id, advice=entry.retry_after)
        else:
            judgement = _judgement(entry, failure)
        if refused.seen:
            judgement = dataclasses.replace(judgement, cause=f"{judgement.cause} {refused.seen}")
        return _timed(_spared(judgement, refused), entry, failure)

    def find(self, failure: Failure, provider: str | None) -> Entry | None:
        """Return the first entry that matches: the provider's own first, then the others."""
        candidates = self._by_stage.get(failure.stage, [])
        own = [entry for entry in candidates if provider in entry.providers]
        others = [
            entry
            for entry in candidates
            if provider not in entry.providers and _may_speak(entry, failure, provider)
        ]
        for entry in (*own, *others):
            if matches(entry, failure):
                return entry
        return None


def _may_speak(entry: Entry, failure: Failure, provider: str | None) -> bool:
    """Return whether an entry that does not name the account's provider is asked."""
    if entry.provider_required:
        return False
    return not entry.providers or provider is None or failure.stage == BOUNCE


def _judgement(entry: Entry, failure: Failure) -> Judgement:
    return Judgement(
        entry=entry.id,
        category=entry.category,
        is_permanent=entry.is_permanent,
        retry=entry.retry,
        pause=entry.pause,
        retry_after=None,
        advice=entry.retry_after,
        window=entry.window,
        cause=entry.cause,
        fix=entry.fix,
        is_certain=expression(entry.certain).search(failure.text) is not None,
    )


def _spared(judgement: Judgement, refused: Refused) -> Judgement:
    """Return `judgement` with the message spared what is not its fault.

    4yz is never final. What is said before MAIL stops the channel and fails no message.
    """
    if refused.phase in BEFORE_MAIL:
        retry = judgement.retry
        if retry is Retry.NONE:
            lasting = judgement.is_permanent and refused.reply.is_permanent
            retry = Retry.FIX_FIRST if lasting else Retry.BACKOFF
        return dataclasses.replace(judgement, retry=retry, pause=Scope.ACCOUNT)
    if judgement.retry is Retry.NONE and not refused.reply.is_permanent:
        return dataclasses.replace(judgement, retry=Retry.BACKOFF)
    return judgement


def _timed(judgement: Judgement, entry: Entry | None, failure: Failure) -> Judgement:
    """Return `judgement` with the wait that the reply itself names, if it does."""
    if judgement.retry is Retry.NONE:
        return judgement
    return dataclasses.replace(judgement, retry_after=named_wait(failure.text, entry))


def named_wait(text: str, entry: Entry | None = None) -> timedelta | None:
    """Return the wait that a text asks for: "again in 92 seconds", "come back in 00:05:00"."""
    if clock := _CLOCK.search(text):
        hours, minutes, seconds = (int(part) for part in clock.groups())
        return min(timedelta(hours=hours, minutes=minutes, seconds=seconds), _LONGEST_WAIT)
    found = None
    if entry is not None and entry.text is not None and "(?P<wait>" in entry.text:
        found = expression(entry.text).search(text)
    found = found or _WAIT.search(text)
    if found is None:
        return None
    seconds = int(found["wait"]) * _UNITS[found["unit"][0].lower()]
    return min(timedelta(seconds=seconds), _LONGEST_WAIT)

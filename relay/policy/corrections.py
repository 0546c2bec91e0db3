"""From messages whose kind a person set to the rules that would have set it.

Messages are alike when application, sender and subject are, whatever numbers stand in them. A rule
that asks for less than all three is proposed when corrections of several sorts speak for it and no
message that was left as it is speaks against it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from relay.policy.kinds import Kind, Reason, Verdict
from relay.policy.rules import NULL_PATH, KindRule, MailFacts, overrule

MAX_SUBJECT = 300  # characters that are kept of a subject
_WORD = re.compile(r"\S+")
_STARS = re.compile(r"\*(?:\s+\*)+")
_DIGIT = re.compile(r"\d")
_LONG_NUMBER = re.compile(r"\d{4,}")
_TAG = re.compile(r"[+=-]")
_ANYTHING = frozenset({"", "*"})
_BROAD = 3  # sorts of corrections that speak for a rule broader than any of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A message of the history, as far as rules for kinds may ask for it."""

    queue_id: str
    listener: str
    application: str | None
    reverse_path: str | None
    subject: str
    kind: Kind  # a person's, if it was corrected
    found: Kind  # what relay had found
    is_corrected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A rule that says of mail what a person said: what all that is not None or empty fits is."""

    kind: Kind
    application: str | None = None
    sender: str | None = None  # glob
    subjects: tuple[str, ...] = ()  # globs, one of which has to fit
    corrected: tuple[Past, ...]  # that it is made from, the newest first
    changes: tuple[Past, ...]  # others of the history that it would change, the newest first


class _Alike(NamedTuple):
    application: str | None
    sender: str
    subject: str


class _Scope(NamedTuple):
    """Which parts of `_Alike` a rule asks for; None is any."""

    application: str | None = None
    sender: str | None = None
    subject: str | None = None


def propose(history: Iterable[Past], rules: Iterable[KindRule]) -> list[Proposal]:
    """Return rules for the corrections in `history`, the newest first, that `rules` do not make."""
    sorts = _Sorts(history, tuple(rules))
    chosen: dict[tuple[_Scope, bool, Kind], dict[_Scope, None]] = defaultdict(dict)
    for alike, kind in sorts.said.items():
        scope = sorts.simplest(alike, kind)
        is_of_sender = scope.sender is not None and scope.subject is not None
        key = scope._replace(subject=None) if is_of_sender else scope
        chosen[key, is_of_sender, kind][scope] = None
    return [sorts.proposal(tuple(scopes), kind) for (_, _, kind), scopes in chosen.items()]


class _Sorts:
    """The history by what is alike in it."""

    def __init__(self, history: Iterable[Past], rules: tuple[KindRule, ...]) -> None:
        self.said: dict[_Alike, Kind] = {}  # what a person said last
        self._messages: dict[_Alike, list[Past]] = defaultdict(list)
        self._inside: dict[_Scope, list[_Alike]] = defaultdict(list)
        self._fits: dict[tuple[_Scope, Kind], bool] = {}
        for past in history:
            alike = _alike(past)
            self._messages[alike].append(past)
            if past.is_corrected and not _is_ruled(past, rules):
                self.said.setdefault(alike, past.kind)
        for alike in self._messages:
            for scope in _scopes(alike):
                self._inside[scope].append(alike)

    def simplest(self, alike: _Alike, kind: Kind) -> _Scope:
        """Return what the simplest rule asks for that says `kind` of what is alike."""
        *broader, narrowest = _scopes(alike)
        for scope in broader:
            if (scope, kind) not in self._fits:
                self._fits[scope, kind] = self._does_fit(scope, kind)
            if self._fits[scope, kind]:
                return scope
        return narrowest

    def _does_fit(self, scope: _Scope, kind: Kind) -> bool:
        """Return whether corrections speak for a rule, and nothing that was left speaks against."""
        sorts = self._inside[scope]
        backing = sum(self.said.get(alike) is kind for alike in sorts)
        needed = _BROAD if scope.sender is None or scope.subject is None else 1
        return backing >= needed and all(
            self.said.get(alike) is kind or all(past.kind is kind for past in self._messages[alike])
            for alike in sorts
        )

    def proposal(self, scopes: Sequence[_Scope], kind: Kind) -> Proposal:
        """Return the rule for scopes that differ in their subjects only."""
        sorts = {alike for scope in scopes for alike in self._inside[scope]}
        messages = [past for alike in sorts for past in self._messages[alike]]
        messages.sort(key=lambda past: past.queue_id, reverse=True)
        return Proposal(
            kind=kind,
            application=scopes[0].application,
            sender=scopes[0].sender,
            subjects=tuple(scope.subject for scope in scopes if scope.subject is not None),
            corrected=tuple(past for past in messages if past.is_corrected and past.kind is kind),
            changes=tuple(past for past in messages if past.kind is not kind),
        )


def _alike(past: Past) -> _Alike:
    subject = _STARS.sub("*", _WORD.sub(_without_number, past.subject))
    if len(past.subject) >= MAX_SUBJECT:
        subject += "*"
    return _Alike(past.application, _sender(past.reverse_path), subject)


def _without_number(word: re.Match[str]) -> str:
    return "*" if _DIGIT.search(word[0]) else word[0]


def _sender(reverse_path: str | None) -> str:
    """Return who sends; without the recipient or the number that some programs write into it."""
    if reverse_path is None:
        return NULL_PATH
    local, at, domain = reverse_path.lower().rpartition("@")
    if "=" in local:  # bounce+ann=example.net
        local = _TAG.split(local, maxsplit=1)[0] + "*"
    return _LONG_NUMBER.sub("*", local) + at + domain


def _scopes(alike: _Alike) -> list[_Scope]:
    """Return what a rule may ask for to fit `alike`, the simplest first."""
    application, sender, subject = alike
    scopes = [_Scope(application=application)] if application is not None else []
    scopes.append(_Scope(sender=sender))
    if subject not in _ANYTHING:
        scopes += [_Scope(subject=subject), _Scope(sender=sender, subject=subject)]
    if application is not None:
        asked = None if subject in _ANYTHING else subject
        scopes.append(_Scope(application, sender, asked))
    return scopes


def _is_ruled(past: Past, rules: tuple[KindRule, ...]) -> bool:
    """Return whether the rules say already what the person said."""
    facts = MailFacts(
        kind=past.found,
        reverse_path=past.reverse_path,
        forward_path="",
        header={"subject": (past.subject,)},
        application=past.application,
        listener=past.listener,
    )
    found = Verdict(kind=past.found, certainty=0.0, reasons=(Reason("history", "as it was told"),))
    verdict = overrule(found, (facts,), rules)
    return verdict is not found and verdict.kind is past.kind

"""The owner's rules: which mail they are for, and what they say of it. The first match decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from relay.policy.kinds import Kind, Reason, Verdict

NULL_PATH = "<>"
"""How the null reverse-path is written in a glob; `*` matches it too."""


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern in which `*` stands for any characters, none too; case does not matter.

    Nothing else is special: `[` and `?` occur in addresses.
    """

    pattern: str
    _pieces: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Split it once, for every later match."""
        object.__setattr__(self, "_pieces", tuple(self.pattern.casefold().split("*")))

    def matches(self, text: str) -> bool:
        """Return whether all of `text` fits; the time is linear in it for each `*`."""
        text = text.casefold()
        first, *middle = self._pieces
        if not middle:
            return text == first
        last = middle.pop()
        end = len(text) - len(last)
        if not text.startswith(first) or not text.endswith(last):
            return False
        at = len(first)
        for piece in middle:
            found = text.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return at <= end


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What has to be true of mail: every part that is given, and of a part's values any one."""

    kinds: frozenset[Kind] = frozenset()
    sender: tuple[Glob, ...] = ()  # on the reverse-path; `<>` is the null one
    recipient: tuple[Glob, ...] = ()
    header: tuple[tuple[str, tuple[Glob, ...]], ...] = ()  # field name in lower case, globs
    applications: frozenset[str] = frozenset()  # logins
    listeners: frozenset[str] = frozenset()  # addresses as in the settings
    larger_than: int | None = None  # bytes
    smaller_than: int | None = None  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What to do with mail that fits `when`; `refuse` stands alone, the others combine."""

    name: str  # for people, as in "rule 2 (relay.yaml:31)"
    when: Condition
    via: tuple[str, ...] | None = None  # channels in order; None: the default plan
    hold: str | None = None  # why a person has to release it first
    redirect: str | None = None  # forward-path that takes the recipient's place
    refuse: str | None = None  # text for the client, ASCII


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRule:
    """What mail that fits `when` is, whatever it looks like."""

    name: str  # for people
    when: Condition
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class MailFacts:
    """What a rule may ask of one recipient's copy."""

    kind: Kind
    reverse_path: str | None
    forward_path: str
    header: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Values by field name in lower case, unfolded and decoded."""
    application: str | None = None
    listener: str = ""
    size_bytes: int = 0


def matches(condition: Condition, facts: MailFacts) -> bool:
    """Return whether `condition` holds; an empty one always does."""
    return (
        (not condition.kinds or facts.kind in condition.kinds)
        and (not condition.applications or facts.application in condition.applications)
        and (not condition.listeners or facts.listener in condition.listeners)
        and (condition.larger_than is None or facts.size_bytes > condition.larger_than)
        and (condition.smaller_than is None or facts.size_bytes < condition.smaller_than)
        and (not condition.sender or _any(condition.sender, facts.reverse_path or NULL_PATH))
        and (not condition.recipient or _any(condition.recipient, facts.forward_path))
        and all(
            any(_any(globs, value) for value in facts.header.get(name, ()))
            for name, globs in condition.header
        )
    )


def overrule(verdict: Verdict, copies: Sequence[MailFacts], rules: Iterable[KindRule]) -> Verdict:
    """Return what the first rule says that fits a recipient's copy, or else `verdict`."""
    for rule in rules:
        if any(matches(rule.when, facts) for facts in copies):
            seemed = f"it would be {verdict.kind}, {verdict.certainty:.0%} certain"
            reasons = Reason("settings", f"{rule.name} says so"), Reason("without it", seemed)
            return Verdict(kind=rule.kind, certainty=1.0, reasons=reasons)
    return verdict


def header_names(conditions: Iterable[Condition]) -> frozenset[str]:
    """Return the fields that `conditions` ask for, in lower case."""
    return frozenset(name for condition in conditions for name, _ in condition.header)


def _any(globs: tuple[Glob, ...], text: str) -> bool:
    return any(glob.matches(text) for glob in globs)

"""`relay classify`: what mail in files is, and why; needs no running relay."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.config import Config, read_settings
from relay.cli.exits import Exit
from relay.cli.mails import Mail, Unreadable, envelope_of, find_files, read_mails
from relay.cli.terminal import Styled, complain, say, say_json, show_table, watched
from relay.cli.words import count, percent
from relay.policy.kinds import Kind, Verdict
from relay.policy.plan import Refusal
from relay.policy.route import RouteRules, route
from relay.policy.rules import KindRule, header_names, overrule

if TYPE_CHECKING:
    import asyncio

    from relay.inspect.inspection import Guide

_FEW = 3  # messages that are shown at length
_WORKERS = 8  # at most
_AHEAD = 48  # messages read while earlier ones are waited for

_DEFAULT = RouteRules(only_use_for_direct_emails=True, rules=(), channels=("direct", "native"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owner:
    """What the owner's settings say of kinds and ways; without any, the defaults."""

    route_rules: RouteRules = _DEFAULT
    kind_rules: tuple[KindRule, ...] = ()
    guide: Guide | None = None

    @property
    def header_names(self) -> frozenset[str]:
        """Return the fields that the rules ask for."""
        return self.route_rules.header_names | header_names(rule.when for rule in self.kind_rules)


@dataclass(frozen=True, slots=True)
class _Judged:
    verdict: Verdict
    channels: tuple[str, ...]  # of the first recipient; none if a rule refuses the mail
    refused_by: str = ""


def classify(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Mail, an mbox, a folder of .eml files, or - ."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    sender: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="The envelope sender, <> for none. Default: From."),
    ] = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Envelope recipients. Default: To and Cc."),
    ] = None,
    config: Config = None,
) -> None:
    """Say what mail is, how sure that is, which way it goes, and why.

    The words and rules of your settings count, if there are any. No running relay is needed, and
    nothing is sent.
    """
    import asyncio

    owner = _owner(config)
    names = find_files(files)
    teller = _Teller(as_json=as_json, few=len(names) <= _FEW)
    mails = (mail for name in watched(names) for mail in read_mails(name))
    try:
        asyncio.run(_judge_all(mails, sender, recipient or [], owner, teller))
    except ExceptionGroup as group:  # of one: whoever read the output went away
        raise group.exceptions[0] from None
    teller.sum_up()
    if teller.unreadable:
        raise typer.Exit(Exit.NOT_DONE)


def _owner(config: Path | None) -> _Owner:
    """Return what the settings say; those of the system need not be for everybody's eyes."""
    if config is None and not os.environ.get("RELAY_CONFIG"):
        from relay.settings.place import SYSTEM_FILE

        if not os.access(SYSTEM_FILE, os.R_OK):
            return _Owner()
    settings = read_settings(config)
    return _Owner(
        route_rules=RouteRules(
            only_use_for_direct_emails=settings.routing.only_use_for_direct_emails,
            rules=settings.routing.rules,
            channels=tuple(settings.channels),
        ),
        kind_rules=settings.classification.rules,
        guide=settings.classification.guide,
    )


async def _judge_all(
    mails: Iterable[Mail | Unreadable],
    sender: str | None,
    recipients: list[str],
    owner: _Owner,
    teller: _Teller,
) -> None:
    """Tell of each one in its order; a few are read at once."""
    import asyncio

    from relay.inspect.inspection import copies_of
    from relay.inspect.inspector import Inspector
    from relay.mail.message import Origin
    from relay.providers.sms import load_gateways

    workers = min(_WORKERS, os.cpu_count() or 1)
    inspector = Inspector(load_gateways(), owner.guide, workers=workers)
    origin = Origin(listener="")
    names = owner.header_names

    async def verdict_on(mail: Mail) -> _Judged:
        envelope = envelope_of(mail.content, sender, recipients)
        seen = await inspector.inspect(envelope, origin, mail.content, names)
        copies = copies_of(seen, envelope, origin, len(mail.content))
        verdict = overrule(seen.verdict, copies, owner.kind_rules)
        way = route(verdict, replace(copies[0], kind=verdict.kind), owner.route_rules)
        if isinstance(way, Refusal):
            return _Judged(verdict, (), way.rule)
        return _Judged(verdict, way.channels)

    pending: deque[tuple[Mail, asyncio.Task[_Judged]]] = deque()
    try:
        async with asyncio.TaskGroup() as group:
            for mail in mails:
                if isinstance(mail, Unreadable):
                    teller.tell_unreadable(mail)
                    continue
                pending.append((mail, group.create_task(verdict_on(mail))))
                if len(pending) >= _AHEAD:
                    await _tell_first(pending, teller)
            while pending:
                await _tell_first(pending, teller)
    finally:
        await inspector.close()


async def _tell_first(pending: deque[tuple[Mail, asyncio.Task[_Judged]]], teller: _Teller) -> None:
    mail, task = pending.popleft()
    teller.tell(mail.name, await task)


class _Teller:
    """Says of each message what it is, and at the end what they were."""

    def __init__(self, *, as_json: bool, few: bool) -> None:
        self.unreadable = 0
        self._kinds: Counter[Kind] = Counter()
        self._as_json = as_json
        self._few = few

    def tell(self, name: str, judged: _Judged) -> None:
        """Say what one is."""
        verdict = judged.verdict
        self._kinds[verdict.kind] += 1
        channel = judged.channels[0] if judged.channels else None
        if self._as_json:
            say_json(
                {
                    "file": name,
                    "kind": verdict.kind.value,
                    "certainty": round(verdict.certainty, 4),
                    "channel": channel,
                    "reasons": [str(reason) for reason in verdict.reasons],
                }
            )
        elif self._few:
            self._tell_at_length(name, judged)
        else:
            certainty = percent(verdict.certainty)
            say(f"{verdict.kind:<12} {certainty:>4}  {channel or 'refused':<7}  ", name)

    def tell_unreadable(self, mail: Unreadable) -> None:
        """Say that one could not be read; the others are."""
        self.unreadable += 1
        complain(f"{mail.name}: {mail.why}")

    def sum_up(self) -> None:
        """Say how many there were of each kind."""
        total = self._kinds.total()
        if self._as_json or total <= _FEW:
            return
        say()
        rows = [
            (kind.value, str(number), percent(number / total))
            for kind, number in self._kinds.most_common()
        ]
        show_table(("KIND", "MESSAGES", "SHARE"), rows, right="MESSAGES SHARE")
        unread = f", {count(self.unreadable, 'file')} unreadable" if self.unreadable else ""
        say(f"{count(total, 'message')}{unread}")

    def _tell_at_length(self, name: str, judged: _Judged) -> None:
        verdict = judged.verdict
        if self._kinds.total() > 1:
            say()
        unsure = " (unsure, so it is treated as essential)" if verdict.unsure else ""
        say(Styled(name, "bold"))
        certainty = percent(verdict.certainty)
        say("  it is    ", Styled(verdict.kind, "bold"), f", {certainty} certain{unsure}")
        refused = f"nowhere: {judged.refused_by} refuses it"
        say("  goes by  ", ", then ".join(judged.channels) or refused)
        say("  because")
        for reason in verdict.reasons:
            say(f"    {reason}")

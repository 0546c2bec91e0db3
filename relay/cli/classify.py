"""`relay classify`: what mail in files is, and why; needs no running relay."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.exits import Exit
from relay.cli.mails import Mail, Unreadable, envelope_of, find_files, read_mails
from relay.cli.terminal import Styled, complain, say, say_json, show_table, watched
from relay.cli.words import count, percent
from relay.policy.kinds import Kind, Verdict
from relay.policy.route import RouteRules, default_channels

if TYPE_CHECKING:
    import asyncio

_FEW = 3  # messages that are shown at length
_AHEAD = 8  # messages read while earlier ones are waited for
_RULES = RouteRules(only_use_for_direct_emails=True, rules=(), channels=("direct", "native"))


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
) -> None:
    """Say what mail is, how sure that is, which way it goes, and why.

    The way is that of its kind when `direct` is only for direct mail; your own rules are not
    asked. No running relay is needed, and nothing is sent.
    """
    import asyncio

    names = find_files(files)
    teller = _Teller(as_json=as_json, few=len(names) <= _FEW)
    mails = (mail for name in watched(names) for mail in read_mails(name))
    try:
        asyncio.run(_judge_all(mails, sender, recipient or [], teller))
    except ExceptionGroup as group:  # of one: whoever read the output went away
        raise group.exceptions[0] from None
    teller.sum_up()
    if teller.unreadable:
        raise typer.Exit(Exit.NOT_DONE)


async def _judge_all(
    mails: Iterable[Mail | Unreadable], sender: str | None, recipients: list[str], teller: _Teller
) -> None:
    """Tell of each one in its order; a few are read at once."""
    import asyncio

    from relay.inspect.inspector import Inspector
    from relay.inspect.lexica import load_lexicon
    from relay.mail.message import Origin
    from relay.policy.classify import ClassifyRules
    from relay.policy.classify import classify as judge
    from relay.providers.sms import load_gateways

    inspector = Inspector(load_gateways(), workers=min(_AHEAD, os.cpu_count() or 1))
    rules = ClassifyRules(lexicon=load_lexicon())
    origin = Origin(listener="")

    async def verdict_on(mail: Mail) -> Verdict:
        envelope = envelope_of(mail.content, sender, recipients)
        return judge(await inspector.inspect(envelope, origin, mail.content), rules)

    pending: deque[tuple[Mail, asyncio.Task[Verdict]]] = deque()
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


async def _tell_first(pending: deque[tuple[Mail, asyncio.Task[Verdict]]], teller: _Teller) -> None:
    mail, task = pending.popleft()
    teller.tell(mail.name, await task)


class _Teller:
    """Says of each message what it is, and at the end what they were."""

    def __init__(self, *, as_json: bool, few: bool) -> None:
        self.unreadable = 0
        self._kinds: Counter[Kind] = Counter()
        self._as_json = as_json
        self._few = few

    def tell(self, name: str, verdict: Verdict) -> None:
        """Say what one is."""
        self._kinds[verdict.kind] += 1
        channels = default_channels(verdict, _RULES)
        if self._as_json:
            say_json(
                {
                    "file": name,
                    "kind": verdict.kind.value,
                    "certainty": round(verdict.certainty, 4),
                    "channel": channels[0],
                    "reasons": [str(reason) for reason in verdict.reasons],
                }
            )
        elif self._few:
            self._tell_at_length(name, verdict, channels)
        else:
            certainty = percent(verdict.certainty)
            say(f"{verdict.kind:<12} {certainty:>4}  {channels[0]:<6}  ", name)

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

    def _tell_at_length(self, name: str, verdict: Verdict, channels: tuple[str, ...]) -> None:
        if self._kinds.total() > 1:
            say()
        unsure = " (unsure, so it is treated as essential)" if verdict.unsure else ""
        say(Styled(name, "bold"))
        certainty = percent(verdict.certainty)
        say("  it is    ", Styled(verdict.kind, "bold"), f", {certainty} certain{unsure}")
        say("  goes by  ", ", then ".join(channels))
        say("  because")
        for reason in verdict.reasons:
            say(f"    {reason}")

"""Trying a connection, and when it fails the ways beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from relay.channels.options import SmtpOptions
from relay.channels.smtp_probe import Questions, Report, Stage, probe
from relay.connect.account import Account, Endpoint, siblings
from relay.mail.attempt import Refused
from relay.mail.reply import Phase
from relay.policy.judgement import Judgement

_UNREACHABLE = frozenset({Phase.DNS, Phase.CONNECT, Phase.TLS, Phase.EHLO, Phase.STARTTLS})
_MORE_ENDPOINTS = 4
_MORE_USERNAMES = 2  # each one is a failed sign-in, which providers count
_BESIDE_SECONDS = 10.0  # to connect, for what nobody asked for

Prober = Callable[[SmtpOptions, Questions], Awaitable[Report]]
Judge = Callable[[Refused, SmtpOptions], Judgement]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One connection and what came of it."""

    options: SmtpOptions
    report: Report
    judgement: Judgement | None  # of the first step that failed

    @property
    def works(self) -> bool:
        """Return whether every step went well."""
        return self.report.failure is None

    @property
    def endpoint(self) -> Endpoint:
        """Return where that was."""
        return Endpoint(self.options.host, self.options.port, self.options.security)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The connection that was asked for, and those beside it that were tried when it failed."""

    first: Tried
    beside: tuple[Tried, ...] = ()

    @property
    def working(self) -> Tried | None:
        """Return the one that works; only the last one tried can."""
        last = self.beside[-1] if self.beside else self.first
        return last if last.works else None


async def try_once(options: SmtpOptions, questions: Questions, judge: Judge) -> Tried:
    """Return what came of one connection."""
    return await _try(options, questions, judge, probe)


async def search(
    options: SmtpOptions,
    account: Account,
    questions: Questions,
    judge: Judge,
    prober: Prober = probe,
) -> Found:
    """Try `options`; if they fail, what may work instead, until something does.

    A message is sent by the first one alone: the others are only offered. What checks certificates
    is never touched.
    """
    first = await _try(options, questions, judge, prober)
    tried: list[Tried] = []
    quiet = replace(questions, parcel=None)
    for other in alternatives(options, account, first.report.failure):
        tried.append(await _try(other, quiet, judge, prober))
        if tried[-1].works or _is_end(tried[-1], first):
            break
    return Found(first=first, beside=tuple(tried))


def alternatives(
    options: SmtpOptions, account: Account, failure: Stage | None
) -> Iterator[SmtpOptions]:
    """Yield what is worth trying after `failure`, the likeliest first."""
    refused = failure.refused if failure is not None else None
    if refused is None:
        return
    if refused.phase in _UNREACHABLE or (refused.phase is Phase.AUTH and refused.error):
        endpoint = Endpoint(options.host, options.port, options.security)
        others = dict.fromkeys((*siblings(endpoint), *account.endpoints))
        others.pop(endpoint, None)
        for each in list(others)[:_MORE_ENDPOINTS]:
            yield replace(
                options,
                host=each.host,
                port=each.port,
                security=each.security,
                connect_seconds=min(options.connect_seconds, _BESIDE_SECONDS),
            )
    elif refused.phase is Phase.AUTH and refused.reply.is_permanent:
        names = [name for name in account.usernames if name != options.username]
        for name in names[:_MORE_USERNAMES]:
            yield replace(options, username=name)


def _is_end(tried: Tried, first: Tried) -> bool:
    """Return whether no other way in would help; each refused sign-in is counted by somebody."""
    refused, before = _refused(tried), _refused(first)
    assert refused is not None
    if refused.phase is Phase.AUTH:
        return refused.error is None and before is not None and before.phase is not Phase.AUTH
    return refused.phase not in _UNREACHABLE


def _refused(tried: Tried) -> Refused | None:
    failure = tried.report.failure
    return failure.refused if failure is not None else None


async def _try(options: SmtpOptions, questions: Questions, judge: Judge, prober: Prober) -> Tried:
    report = await prober(options, questions)
    failure = report.failure
    refused = failure.refused if failure is not None else None
    judgement = judge(refused, options) if refused is not None else None
    return Tried(options=options, report=report, judgement=judgement)


def not_tested(questions: Questions, found: Sequence[Tried]) -> tuple[str, ...]:
    """Return what the test does not tell, in plain words."""
    gaps = []
    if questions.parcel is None or any(not each.works for each in found[-1:]):
        gaps.append("whether a message is taken and arrives (--send sends one)")
    else:
        gaps.append("whether the message arrived, and not among spam: look")
    if not questions.senders and not questions.waiting:
        gaps.append("any sender address (--from ADDRESS)")
    else:
        asked = (*questions.senders, *questions.waiting)
        gaps.append("sender addresses other than " + ", ".join(asked))
    if questions.recipient is None:
        gaps.append("any recipient (--to ADDRESS)")
    gaps.append("how much may still be sent today")
    return tuple(gaps)

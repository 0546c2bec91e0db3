"""Equal refusals in a row: one may be its recipient's fault, many are the account's.

A provider that has blocked an account often answers every recipient with the same 5yz, in words
that look like a fault of the recipient. Who reads them one by one fails all mail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from relay.mail.attempt import Attempt, Refused, Sent
from relay.mail.reply import Phase, Reply
from relay.policy.judgement import Category, Judgement, Retry, Scope

ENTRY = "equal-refusals"
MANY = 3  # domains of recipients
_MAX_LIKENESS = 200  # characters that are compared
_MAX_FAILED = 10  # messages that are named; there are more only where most went to one domain
_VARYING = re.compile(
    r"<[^<>]*>"  # an address, mostly
    r"|\S*[@\d]\S*"  # addresses, numbers, ids
    r"|[^\W_][\w-]*(?:\.[\w-]+)+\S*"  # names of hosts
)
_BLANKS = re.compile(r"\W+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Refusals of one likeness since the last success; it is remembered with the channel."""

    likeness: str  # of the replies, see `likeness`
    domains: tuple[str, ...]  # of recipients, different ones: at least one, at most MANY
    failed: tuple[str, ...]  # queue ids of what was failed before there were MANY

    @property
    def is_long(self) -> bool:
        """Return whether it is taken for a fault of the account."""
        return len(self.domains) >= MANY


def likeness(reply: Reply) -> str:
    """Return what equal replies have in common: without addresses, numbers, ids and host names."""
    words = _BLANKS.sub(" ", _VARYING.sub(" ", reply.text.lower())).strip()
    return f"{reply.code} {reply.status or '-'} {words}"[:_MAX_LIKENESS]


def run_after(
    run: Run | None,
    attempt: Attempt,
    judgements: Sequence[Judgement | None],
    forward_paths: Sequence[str],
    queue_id: str,
) -> Run | None:
    """Return the run that an attempt leaves behind.

    A success ends it, and so does a refusal of another likeness or one whose fault is known. What
    passes, and what no server said, counts for nothing.
    """
    if any(isinstance(outcome, Sent) for outcome in attempt.outcomes):
        return None
    is_part = False
    for reply, domains in _answers(attempt, judgements, forward_paths):
        is_part = bool(domains)
        if not is_part:
            run = None
        elif run is None or run.likeness != likeness(reply):
            run = Run(likeness=likeness(reply), domains=domains[:1], failed=())
        elif not run.is_long:
            new = [domain for domain in domains if domain not in run.domains]
            run = replace(run, domains=(*run.domains, *new[:1]))
    if run is None or run.is_long or not is_part or len(run.failed) == _MAX_FAILED:
        return run
    return replace(run, failed=(*run.failed, queue_id))


def blame(
    run: Run | None, attempt: Attempt, judgements: Sequence[Judgement | None]
) -> tuple[Judgement | None, ...]:
    """Return the judgements, with what belongs to a long run as the fault of the account."""
    if run is None or not run.is_long:
        return tuple(judgements)
    return tuple(
        _account(run)
        if isinstance(outcome, Refused)
        and judgement is not None
        and judgement.may_be_the_accounts
        and likeness(outcome.reply) == run.likeness
        else judgement
        for outcome, judgement in zip(attempt.outcomes, judgements, strict=True)
    )


def _answers(
    attempt: Attempt, judgements: Sequence[Judgement | None], forward_paths: Sequence[str]
) -> Iterator[tuple[Reply, tuple[str, ...]]]:
    """Yield each final answer of the server, in its order, with the domains that it may be about.

    None, if it is known whose fault it is. What is answered to the whole message is one answer.
    """
    whole: dict[Reply, tuple[str, ...]] = {}
    for outcome, judgement, path in zip(attempt.outcomes, judgements, forward_paths, strict=True):
        if not isinstance(outcome, Refused) or judgement is None or not judgement.is_final:
            continue
        if outcome.error is not None or not outcome.reply.is_permanent:
            continue
        domain = path.rpartition("@")[2].lower()
        domains = (domain,) if judgement.may_be_the_accounts else ()
        if outcome.phase is Phase.RCPT:
            yield outcome.reply, domains
        else:
            whole[outcome.reply] = whole.get(outcome.reply, ()) + domains
    yield from whole.items()


def _account(run: Run) -> Judgement:
    again = f" Then `relay queue retry {' '.join(run.failed)}` sends what failed before."
    return Judgement(
        entry=ENTRY,
        category=Category.ACCOUNT,
        is_permanent=True,
        retry=Retry.FIX_FIRST,
        pause=Scope.ACCOUNT,
        retry_after=None,
        advice=None,
        window=None,
        cause=(
            f"The server refused recipients in {MANY} domains in a row with the same words: it "
            "seems to refuse this account, not the recipients."
        ),
        fix=(
            "Sign in at the provider's website and look for a notice, or ask its support."
            f"{again if run.failed else ''}"
        ),
    )

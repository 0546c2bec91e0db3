"""The third promise over the whole dictionary: a fault of ours or of the channel fails no mail."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from making import DAY, HOUR, NOON, SCHEDULE, verdict
from test_replies import BY_ID, DATA, DICTIONARY, refused

from relay.mail.attempt import Attempt, Refused
from relay.mail.reply import Phase, make_reply
from relay.policy.judgement import Category, Judgement, Retry, Scope
from relay.policy.kinds import Kind
from relay.policy.route import RouteRules, default_channels
from relay.policy.settle import Circumstances, Copy, settle
from relay.policy.settlement import Dead, Disposition
from relay.providers.entries import BOUNCE, Entry
from relay.providers.rfc3463 import BEFORE_MAIL

_SENDER_DOMAIN = {
    *("gmail-unauthenticated-sender", "ms-dmarc-spf", "yahoo-need-spf-dkim", "dmarc-spf-dkim-fail"),
    "godaddy-blocked",  # the sender or the content
}
_OF_MAIL = {Category.RECIPIENT, Category.CONTENT, Category.POLICY}


def may_fail_mail(entry: Entry) -> bool:
    """Return whether an entry is about the recipient, the sender address or the content."""
    return entry.retry is Retry.NONE and (entry.category in _OF_MAIL or entry.id in _SENDER_DOMAIN)


def test_what_may_fail_mail_is_about_the_recipient_the_sender_address_or_the_content():
    final = {entry.id for entry in DICTIONARY.entries if entry.retry is Retry.NONE}
    assert final == {entry.id for entry in DICTIONARY.entries if may_fail_mail(entry)} | {
        "generic-5xx"  # only the code is known: the step and RFC 3463 decide
    }


def refusals(example: dict[str, Any]) -> Iterator[Refused]:
    """Yield an example as it may be met: at each of its entry's steps, as 4yz and as 5yz."""
    code, error = example.get("code"), example.get("exception")
    spoken = error is None and code not in (None, "-", "-1")
    codes = {int(code), 400 + int(code) % 100, 500 + int(code) % 100} if spoken else {451, 550}
    for stage, number in product(sorted(BY_ID[example["entry"]].stages - {BOUNCE}), codes):
        yield Refused(
            phase=Phase(stage),
            reply=make_reply(number, example["text"]),
            error=None if spoken else error,
            errno=example.get("errno"),
        )


def dispositions(said: Refused, judgement: Judgement) -> Iterator[Disposition]:
    """Yield what becomes of mail of each kind, young and old, tried once and often."""
    both, alone = ("direct", "native"), ("direct",)
    for kind, by_direct, channels in product(Kind, (True, False), (both, alone)):
        rules = RouteRules(only_use_for_direct_emails=by_direct, rules=(), channels=channels)
        plan = default_channels(verdict(kind), rules)
        for attempts, doubts, age, is_closed in product(
            (1, 2, 99), (0, 1), (timedelta(), 5 * DAY - HOUR, 50 * DAY), (True, False)
        ):
            about = Circumstances(
                schedule=SCHEDULE,
                kind=kind,
                received_at=NOON - age,
                closed=dict.fromkeys(channels, NOON + HOUR) if is_closed else {},
                now=NOON,
            )
            attempt = Attempt(
                channel=plan[0],
                upstream="u",
                started_at=NOON,
                ended_at=NOON,
                outcomes=(said,),
                data_sent=said.phase in (Phase.DATA, Phase.AFTER_DATA),
            )
            copy = Copy(attempts=attempts, doubts=doubts, channels=plan)
            yield from settle(attempt, [copy], [judgement], about).dispositions


def judged(example: dict[str, Any], said: Refused) -> Judgement:
    where = {key: example[key] for key in ("host", "port", "security") if key in example}
    return DICTIONARY.judge(said, provider=example.get("provider"), **where)


@pytest.mark.parametrize("example", DATA["examples"], ids=lambda example: example["entry"])
def test_only_what_is_the_fault_of_the_mail_fails_it(example):
    """Each entry by its example, through the dictionary and the settling that mail goes through."""
    for said in refusals(example):
        judgement = judged(example, said)
        found = BY_ID.get(judgement.entry)
        is_failed = any(isinstance(one, Dead) for one in dispositions(said, judgement))
        if said.phase in BEFORE_MAIL or (found is not None and _is_of_the_channel(found)):
            assert not is_failed, (said, judgement)
        if found is BY_ID[example["entry"]] and may_fail_mail(found) and said.reply.is_permanent:
            assert is_failed is (said.phase not in BEFORE_MAIL)


def _is_of_the_channel(entry: Entry) -> bool:
    """Return whether it is neither about the mail, nor so general that the step decides."""
    if entry.catch_all or may_fail_mail(entry):
        return False
    return entry.pause is Scope.ACCOUNT or entry.category not in _OF_MAIL


@pytest.mark.parametrize(
    "row",
    [row for row in DATA["categories"] if row["stage"] != BOUNCE],
    ids=lambda row: row["reply"][:60],
)
def test_a_known_reply_that_is_not_about_the_mail_fails_none(row):
    said = refused(Phase(row["stage"]), row["reply"])
    judgement = DICTIONARY.judge(said, provider=row["provider"])
    assert judgement.category == row["category"]
    is_of_mail = judgement.category in _OF_MAIL and judgement.pause is not Scope.ACCOUNT
    if not is_of_mail and judgement.entry not in _SENDER_DOMAIN:
        assert not any(isinstance(one, Dead) for one in dispositions(said, judgement))

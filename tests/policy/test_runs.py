"""Equal refusals in a row: who is blamed for the third one, and what does not count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from making import CHANNEL_FAULT, GREYLISTED, NOON, RECIPIENT_FAULT, in_doubt, refused, sent

from relay.mail.attempt import Attempt, Refused
from relay.mail.reply import Phase, make_reply
from relay.policy.runs import ENTRY, Run, blame, likeness, run_after
from relay.providers.replies import ReplyDictionary

DICTIONARY = ReplyDictionary.load()
PERHAPS = replace(RECIPIENT_FAULT, is_certain=False)


def attempt(*outcomes) -> Attempt:
    return Attempt(
        channel="direct", upstream="u", started_at=NOON, ended_at=NOON, outcomes=outcomes,
        data_sent=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("<a@x.example>: refused", "<b@y.example>: refused"),
        ("mail to a@x.example refused, id 1f7x", "mail to b@y.example refused, id 9ab3"),
        ("Refused. https://h.example/?p=1 q1-20020a05 - gsmtp", "refused. h.example/x2 z9 - gsmtp"),
        ("mx1.x.example refused it", "mail.y.example refused it"),
        ("refused\nby the provider", "refused by the provider"),
    ],
)
def test_replies_that_say_the_same_are_alike(one, other):
    assert likeness(make_reply(550, f"5.7.1 {one}")) == likeness(make_reply(550, f"5.7.1 {other}"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("550 refused", "554 refused"),
        ("550 5.7.1 refused", "550 5.7.0 refused"),
        ("550 5.7.1 refused", "550 refused"),
        ("550 refused", "550 user is unknown"),
    ],
)
def test_replies_that_say_something_else_are_not(one, other):
    first, second = (make_reply(int(text[:3]), text[4:]) for text in (one, other))
    assert likeness(first) != likeness(second)


def after(*steps, run: Run | None = None) -> Run | None:
    """Return the run after (outcome, judgement, domain), each an attempt of its own."""
    for number, (outcome, judgement, domain) in enumerate(steps, 1):
        judged = (judgement if isinstance(outcome, Refused) else None,)
        run = run_after(run, attempt(outcome), judged, (f"who@{domain}",), f"ID{number}")
    return run


NO = (refused(550), PERHAPS)
ONE, TWO = (*NO, "x.example"), (*NO, "Y.example")


@pytest.mark.parametrize(
    ("steps", "domains"),
    [
        pytest.param([ONE], ("x.example",), id="one"),
        pytest.param([ONE, TWO], ("x.example", "y.example"), id="two"),
        pytest.param([ONE, ONE, ONE], ("x.example",), id="of one domain: that may be the reason"),
        pytest.param(
            [ONE, TWO, (*NO, "z.example")], ("x.example", "y.example", "z.example"), id="three"
        ),
        pytest.param([ONE, TWO, (sent(), None, "z.example")], None, id="a success ends it"),
        pytest.param(
            [ONE, TWO, (refused(550, "gone"), PERHAPS, "z.example")], ("z.example",), id="new words"
        ),
        pytest.param(
            [ONE, TWO, (refused(550), RECIPIENT_FAULT, "z.example")], None, id="a known fault"
        ),
        pytest.param(
            [ONE, (refused(450), GREYLISTED, "z.example"), TWO], ("x.example", "y.example"),
            id="what passes says nothing",
        ),
        pytest.param(
            [ONE, (refused(535, phase=Phase.AUTH), CHANNEL_FAULT, "z.example"), TWO],
            ("x.example", "y.example"), id="nor what is known to be the channel's",
        ),
        pytest.param(
            [ONE, (in_doubt(), None, "z.example"), TWO], ("x.example", "y.example"),
            id="nor what is in doubt",
        ),
        pytest.param(
            [ONE, (replace(refused(550), error="ValueError"), PERHAPS, "z.example")],
            ("x.example",), id="nor what no server said",
        ),
    ],
)  # fmt: skip
def test_what_counts(steps, domains):
    run = after(*steps)
    assert (run.domains if run else None) == domains


def test_the_third_is_the_accounts_and_the_two_before_are_named():
    run = after(ONE, TWO, (*NO, "z.example"), (*NO, "w.example"))
    assert run.failed == ("ID1", "ID2")
    (judged,) = blame(run, attempt(refused(550)), (PERHAPS,))
    assert judged.entry == ENTRY
    assert judged.is_channel_fault
    assert "`relay queue retry ID1 ID2`" in judged.fix
    others = (refused(550, "gone"), refused(550), refused(450), sent())
    known = (PERHAPS, RECIPIENT_FAULT, GREYLISTED, None)
    assert blame(run, attempt(*others), known) == known
    assert blame(after(ONE, TWO), attempt(refused(550)), (PERHAPS,)) == (PERHAPS,)


def test_three_of_one_message_are_a_run_unless_one_answer_was_for_all_of_them():
    paths = ("a@x.example", "b@y.example", "c@z.example")
    each = run_after(None, attempt(*[refused(550)] * 3), (PERHAPS,) * 3, paths, "ID")
    assert each.is_long
    assert each.failed == ()
    assert "relay queue retry" not in blame(each, attempt(refused(550)), (PERHAPS,))[0].fix
    whole = attempt(*[refused(550, phase=Phase.AFTER_DATA)] * 3)
    once = run_after(None, whole, (PERHAPS,) * 3, paths, "ID1")
    assert (once.domains, once.failed) == (("x.example",), ("ID1",))
    twice = run_after(once, whole, (PERHAPS,) * 3, paths, "ID2")
    assert twice.domains == ("x.example", "y.example")
    assert run_after(None, attempt(sent(), refused(550)), (None, PERHAPS), paths[:2], "ID") is None


@pytest.mark.parametrize(
    ("phase", "reply", "expected"),
    [
        (Phase.RCPT, "550 5.1.1 <a@b.example>: Recipient address rejected: User unknown", False),
        (Phase.RCPT, "550 5.1.1 <a@b.example> gibt es hier nicht", False),
        (Phase.RCPT, "550 No such user here", False),
        (Phase.RCPT, "550 5.2.1 mailbox of the user is inactive", False),
        (Phase.RCPT, "550 5.1.10 null MX", False),
        (Phase.AFTER_DATA, "552 5.3.4 too large", False),
        (Phase.AFTER_DATA, "554 5.6.0 malformed", False),
        (Phase.AFTER_DATA, "554 virus found", False),
        (Phase.RCPT, "450 refused", False),
        (Phase.RCPT, "550 Daily sending limit exceeded", False),  # known: the channel's
        (Phase.RCPT, "550 refused", True),
        (Phase.RCPT, "550 Requested action not taken: mailbox unavailable", True),
        (Phase.RCPT, "554 5.7.1 <a@b.example>: Recipient address rejected: Access denied", True),
        (Phase.RCPT, "550 5.7.1 Account suspended", True),
        (Phase.RCPT, "550 5.7.1 not allowed", True),
        (Phase.AFTER_DATA, "554 5.7.1 rejected as spam", True),
        (Phase.AFTER_DATA, "554 Transaction failed", True),
        (Phase.MAIL, "550 no", True),
    ],
)
def test_what_the_dictionary_knows_for_sure_makes_no_run(phase, reply, expected):
    said = Refused(phase=phase, reply=make_reply(int(reply[:3]), reply[4:]))
    judgement = DICTIONARY.judge(said, provider=None)
    final = judgement.may_be_the_accounts and said.reply.is_permanent
    assert final is expected, judgement

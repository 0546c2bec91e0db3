"""Whose fault it was decides what becomes of each recipient."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from making import (
    CHANNEL_FAULT,
    DAY,
    GREYLISTED,
    HOUR,
    MINUTE,
    NOON,
    RECIPIENT_FAULT,
    SCHEDULE,
    SECOND,
    in_doubt,
    judgement,
    refused,
    sent,
)

from relay.mail.attempt import Attempt, Refused
from relay.mail.reply import Phase, make_reply
from relay.policy.judgement import Category, Retry, Scope
from relay.policy.kinds import Kind
from relay.policy.settle import Circumstances, Copy, channel_fault, may_have_arrived, settle
from relay.policy.settlement import Dead, Done, Doubt, Held, Later

BOTH = ("native", "direct")
NO = make_reply(550, "no")
NOT_TRUSTED = judgement(Retry.NONE, permanent=True, category=Category.REPUTATION)


def attempt(*outcomes, data: bool = True) -> Attempt:
    return Attempt(
        channel="native", upstream="u", started_at=NOON, ended_at=NOON, outcomes=outcomes,
        data_sent=data,
    )  # fmt: skip


def cut(phase: Phase) -> Refused:
    reply = make_reply(451, "4.4.2 Connection unexpectedly closed")
    return Refused(phase=phase, reply=reply, error="SMTPServerDisconnected")


def settled(
    *outcomes,
    judged,
    channels=BOTH,
    attempts=1,
    doubts=0,
    closed=None,
    age=timedelta(),
    kind=Kind.INVOICE,
):
    judgements = [judged if isinstance(outcome, Refused) else None for outcome in outcomes]
    copies = [Copy(attempts=attempts, doubts=doubts, channels=channels)] * len(outcomes)
    about = Circumstances(
        schedule=replace(SCHEDULE, held_in_doubt=frozenset({Kind.MARKETING})),
        kind=kind,
        received_at=NOON - age,
        closed=closed or {},
        now=NOON,
    )
    return settle(attempt(*outcomes), copies, judgements, about).dispositions


@pytest.mark.parametrize(
    ("outcome", "judged", "more", "expected"),
    [
        pytest.param(sent(), None, {}, Done(sent().reply), id="sent"),
        pytest.param(refused(550), RECIPIENT_FAULT, {}, Dead(NO), id="the recipient's fault"),
        pytest.param(
            refused(450), GREYLISTED, {}, Later(NOON + MINUTE, "native", refused(450).reply),
            id="later, by the same channel",
        ),
        pytest.param(
            refused(450), GREYLISTED, {"attempts": 2},
            Later(NOON + 5 * MINUTE, "native", refused(450).reply), id="the next wait",
        ),
        pytest.param(
            refused(450), GREYLISTED, {"age": 5 * DAY, "attempts": 2}, Dead(refused(450).reply),
            id="too old to try again",
        ),
        pytest.param(
            refused(450),
            judgement(Retry.BACKOFF, Scope.RECIPIENT, retry_after=HOUR), {},
            Later(NOON + HOUR, "native", refused(450).reply), id="as late as the reply asks for",
        ),
        pytest.param(
            refused(550), CHANNEL_FAULT, {}, Later(NOON, "direct", NO), id="the other channel"
        ),
        pytest.param(
            refused(550, phase=Phase.AUTH), CHANNEL_FAULT, {"channels": ("native",)},
            Later(NOON, "native", NO), id="there is no other channel",
        ),
        pytest.param(
            refused(550), CHANNEL_FAULT, {"channels": ("native",)},
            Later(NOON + MINUTE, "native", NO), id="perhaps its own fault: others first",
        ),
        pytest.param(
            refused(550), CHANNEL_FAULT,
            {"channels": ("native",), "closed": {"native": NOON + 5 * MINUTE}},
            Later(NOON + 6 * MINUTE, "native", NO), id="others first, when the pause is over",
        ),
        pytest.param(
            refused(550), CHANNEL_FAULT,
            {"channels": ("native",), "closed": {"native": NOON + 999 * DAY}},
            Later(NOON + HOUR + MINUTE, "native", NO), id="stopped by a person meanwhile",
        ),
        pytest.param(
            refused(550), CHANNEL_FAULT,
            {"closed": {"direct": NOON + HOUR, "native": NOON + MINUTE}},
            Later(NOON + 2 * MINUTE, "native", NO), id="both closed: the one that opens first",
        ),
        pytest.param(
            refused(550), CHANNEL_FAULT, {"age": 50 * DAY, "attempts": 99},
            Later(NOON, "direct", NO), id="a fault of the channel never fails a message",
        ),
        pytest.param(
            in_doubt(), None, {}, Doubt(NOON + 30 * MINUTE, in_doubt().reply), id="in doubt"
        ),
        pytest.param(
            in_doubt(), None, {"doubts": 1},
            Held(may_have_arrived(f"twice no answer came to the end of it: {in_doubt().reply}")),
            id="in doubt twice",
        ),
        pytest.param(
            in_doubt(), None, {"kind": Kind.MARKETING},
            Held(may_have_arrived(f"no answer came to the end of it: {in_doubt().reply}")),
            id="of a kind that nobody is to get twice",
        ),
        pytest.param(
            refused(450), GREYLISTED, {"kind": Kind.MARKETING, "doubts": 1},
            Later(NOON + MINUTE, "native", refused(450).reply), id="of such a kind, but refused",
        ),
        pytest.param(
            refused(550, phase=Phase.AUTH), CHANNEL_FAULT, {"doubts": 1},
            Later(NOON, "native", NO),
            id="in doubt before: never by another channel",
        ),
        pytest.param(
            refused(550), RECIPIENT_FAULT, {"doubts": 1}, Dead(NO),
            id="in doubt before: it has not arrived",
        ),
        pytest.param(
            refused(421), judgement(Retry.RECONNECT), {},
            Later(NOON + SECOND, "native", refused(421).reply), id="a new connection at once",
        ),
        pytest.param(
            refused(421), judgement(Retry.RECONNECT), {"attempts": 2},
            Later(NOON, "direct", refused(421).reply), id="but only once: then the other channel",
        ),
        pytest.param(
            refused(421), judgement(Retry.RECONNECT), {"attempts": 2, "channels": ("native",)},
            Later(NOON + 5 * MINUTE, "native", refused(421).reply), id="if there is one",
        ),
        pytest.param(
            refused(421), judgement(Retry.RECONNECT), {"attempts": 2, "closed": {"direct": NOON}},
            Later(NOON + 5 * MINUTE, "native", refused(421).reply), id="that is open",
        ),
        pytest.param(
            refused(421), judgement(Retry.RECONNECT), {"attempts": 3},
            Later(NOON + 5 * MINUTE, "native", refused(421).reply),
            id="not to and fro: perhaps it is the message after all",
        ),
        pytest.param(
            cut(Phase.DATA), judgement(category=Category.NETWORK), {},
            Later(NOON, "direct", cut(Phase.DATA).reply), id="cut off before the final dot",
        ),
        pytest.param(
            refused(450), judgement(Retry.NONE, permanent=True), {},
            Later(NOON + MINUTE, "native", refused(450).reply), id="4yz is never final",
        ),
        pytest.param(
            refused(550), judgement(Retry.FIX_FIRST, permanent=True), {"channels": ("native",)},
            Later(NOON + MINUTE, "native", NO), id="what can be mended is not failed",
        ),
        pytest.param(
            refused(550), judgement(Retry.FIX_FIRST, permanent=True), {},
            Later(NOON, "direct", NO), id="nor has it to wait where another channel may take it",
        ),
        pytest.param(
            refused(550), judgement(Retry.FIX_FIRST, permanent=True), {"attempts": 2},
            Later(NOON + 5 * MINUTE, "native", NO), id="once round",
        ),
        pytest.param(
            refused(550), NOT_TRUSTED, {}, Later(NOON, "direct", NO),
            id="another channel may be trusted",
        ),
        pytest.param(
            refused(550), NOT_TRUSTED, {"doubts": 1}, Dead(NO),
            id="but not what may have arrived",
        ),
        pytest.param(refused(550), NOT_TRUSTED, {"attempts": 2}, Dead(NO), id="neither is"),
        pytest.param(
            refused(451), judgement(category=Category.SERVER), {"age": 5 * DAY, "attempts": 2},
            Held(
                f"It was tried for 5 days, and the fault is not its own: {refused(451).reply}. "
                "`relay queue release` tries it again, `relay queue drop` gives it up."
            ),
            id="too old, by a fault of the server",
        ),
    ],
)  # fmt: skip
def test_disposes_of_one_recipient(outcome, judged, more, expected):
    assert settled(outcome, judged=judged, **more) == (expected,)


def test_what_waited_for_its_channel_until_it_was_old_is_not_given_up_at_its_first_try():
    (later,) = settled(refused(451), judged=GREYLISTED, age=6 * DAY)
    assert later == Later(NOON + MINUTE, "native", refused(451).reply)
    (dead,) = settled(refused(451), judged=GREYLISTED, age=6 * DAY, attempts=2)
    assert isinstance(dead, Dead)


def test_too_many_recipients_are_tried_again_at_once_in_a_smaller_transaction():
    split = judgement(Retry.SPLIT)
    done, later = settled(sent(), refused(452), judged=split)
    assert isinstance(done, Done)
    assert later == Later(NOON, "native", refused(452).reply)
    waiting = Later(NOON + MINUTE, "native", refused(452).reply)
    assert settled(refused(452), refused(452), judged=split) == (waiting, waiting)


@pytest.mark.parametrize(
    ("outcomes", "data", "expected"),
    [
        pytest.param([refused(550), refused(550)], False, (1, 2), id="nothing was sent"),
        pytest.param([sent(), refused(550)], True, (0, 0), id="one was sent"),
        pytest.param([refused(550, phase=Phase.AFTER_DATA)], True, (0, 0), id="after the dot"),
        pytest.param([in_doubt()], True, (0, 0), id="in doubt"),
        pytest.param([refused(535, phase=Phase.AUTH)], False, (1, 1), id="not signed in"),
        pytest.param([cut(Phase.RCPT)] * 3, False, (0, 0), id="cut off among the recipients"),
        pytest.param([refused(421), refused(421)], False, (0, 0), id="hung up among them"),
        pytest.param([refused(550), cut(Phase.RCPT)], False, (0, 1), id="one refused before"),
        pytest.param([cut(Phase.STARTTLS)], False, (1, 1), id="cut off before there were any"),
    ],
)
def test_gives_back_what_the_provider_has_not_counted(outcomes, data, expected):
    judged = [RECIPIENT_FAULT if isinstance(outcome, Refused) else None for outcome in outcomes]
    copies = [Copy(attempts=1, doubts=0, channels=BOTH)] * len(outcomes)
    about = Circumstances(
        schedule=SCHEDULE, kind=Kind.INVOICE, received_at=NOON, closed={}, now=NOON
    )
    done = settle(attempt(*outcomes, data=data), copies, judged, about)
    assert (done.refund_messages, done.refund_recipients) == expected


def test_finds_the_fault_of_the_channel():
    one = attempt(sent(), refused(535))
    assert channel_fault(one, [None, CHANNEL_FAULT]) == (
        CHANNEL_FAULT,
        make_reply(535, "no"),
    )
    assert channel_fault(one, [None, RECIPIENT_FAULT]) is None

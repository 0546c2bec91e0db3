"""`relay queue`, `channel` and `reload` against the real control socket of a small house."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from commanding import Terminal
from conftest import Serve
from small_house import FIRST, HOSTILE, NOON, PAUSED, PROPOSED, SECOND, SmallHouse, row

from relay.cli.terminal import clean
from relay.policy.accounting import State
from relay.policy.kinds import Kind
from relay.policy.limits import Limit, Unit, Usage
from relay.queue.rows import AttemptRow, Turn
from relay.queue.store import Selection

VISIBLE = clean(HOSTILE)


def test_the_queue_is_a_table_a_line_for_each_recipient(relay: Terminal, serve: Serve) -> None:
    serve(SmallHouse())
    head, *rows = relay("queue", "list").out.splitlines()
    assert head.split() == ["ID", "STATE", "KIND", "CHANNEL", "RECIPIENT", "WHEN", "SUBJECT"]
    assert [row.split()[:5] for row in rows] == [
        [FIRST, "deferred", "invoice", "direct", "bob@example.net"],
        [SECOND, "held", "marketing", "direct", "bob@example.net"],
    ]


@pytest.mark.parametrize("command", [("queue", "list"), ("queue", "show", FIRST), ("status",)])
def test_hostile_words_reach_no_terminal(
    relay: Terminal, serve: Serve, command: tuple[str, ...]
) -> None:
    serve(SmallHouse(health=PAUSED))
    said = relay(*command)
    assert said.code == 0
    assert r"\x1b[31m<script>" in said.out
    assert all(char.isprintable() or char == "\n" for char in said.out)


def test_the_list_is_filtered_by_relay(relay: Terminal, serve: Serve) -> None:
    serve(SmallHouse())
    assert [
        row["queue_id"] for row in relay("queue", "list", "--json", "--state", "held").json
    ] == [SECOND]
    none = relay("queue", "list", "--kind", "sms")
    assert (none.code, none.out) == (0, "")
    assert none.err == "There is nothing in the queue that fits.\n"
    one = relay("queue", "list", "--limit", "1")
    assert one.err == "These are the newest 1; there may be more (--limit).\n"


def test_a_message_is_shown_with_why(relay: Terminal, serve: Serve) -> None:
    serve(SmallHouse(health=PAUSED))
    out = relay("queue", "show", FIRST).out
    assert "it is     invoice, 98% certain, because of\n          Subject: 'Rechnung'\n" in out
    assert "channel   direct, planned direct (by its kind)\n" in out
    assert "last      451 4.7.1 later\n" in out
    assert "waits     direct is paused, tried again now: The password is wrong.\n" in out
    assert relay("queue", "show", FIRST, "--json").json["subject"] == HOSTILE


def test_an_attempt_says_what_the_reply_means_and_what_can_be_done(
    relay: Terminal, serve: Serve
) -> None:
    attempt = AttemptRow(
        at=NOON,
        channel="direct",
        upstream="mail:25",
        result="failed",
        reply="550 5.1.1 User unknown",
        entry="recipient-unknown",
        seconds=0.25,
    )
    failed = replace(row(FIRST, State.FAILED, Kind.INVOICE), due_at=None, finished_at=NOON)
    house = SmallHouse(rows=[failed], attempts=((1, attempt),))
    serve(house)
    out = relay("queue", "show", FIRST).out
    assert out.endswith(
        " by direct (mail:25): failed after 0.2 s\n"
        "          550 5.1.1 User unknown\n"
        "          The address does not exist or takes no mail. (recipient-unknown)\n"
        "to do     Correct or remove the address.\n"
    )
    later = replace(attempt, entry="greylisting", reply="450 4.2.0 Greylisted")
    house.attempts = ((1, later),)
    assert "to do" not in relay("queue", "show", FIRST).out  # it was tried for long enough
    house.rows = [row(FIRST, State.DEFERRED, Kind.INVOICE)]
    assert "to do     Just wait: it is taken" in relay("queue", "show", FIRST).out


def test_what_waits_for_a_limit_says_when_it_goes(relay: Terminal, serve: Serve) -> None:
    house = SmallHouse()
    now = datetime.now(UTC)
    turn = Turn(
        usage=Usage(Limit(Unit.RECIPIENTS, 500, timedelta(days=1)), 500, now + timedelta(hours=2)),
        ahead=37,
        at=now + timedelta(hours=3, seconds=30),
    )
    house.rows[0] = replace(house.rows[0], turn=turn)
    serve(house)
    out = relay("queue", "show", FIRST).out
    assert "waits     for a limit of direct, 500 recipients per 24h: 500 used, first room " in out
    assert ", 37 recipients before it\n" in out
    assert "in 3 hours" in relay("queue", "list").out
    (row, _) = relay("queue", "list", "--json").json
    assert row["turn"]["ahead"] == 37


def test_an_unknown_message_is_said_to_be(relay: Terminal, serve: Serve) -> None:
    serve(SmallHouse())
    said = relay("queue", "show", "01ABCDEFGHJKX")
    assert said.code == 1
    assert said.err.startswith("No message 01ABCDEFGHJKX is known.\n")


@pytest.mark.parametrize(
    ("words", "selected", "says"),
    [
        pytest.param(
            ("retry", FIRST.lower(), SECOND), [Selection(queue_ids=(FIRST, SECOND))],
            "2 recipients due now", id="by id, in any case",
        ),
        pytest.param(
            ("hold", FIRST, "--recipient", "bob@example.net"),
            [Selection(queue_ids=(FIRST,), forward_path="bob@example.net")],
            "1 recipient held", id="one recipient of one message",
        ),
        pytest.param(
            ("release", "--all"), [Selection(state=State.HELD)],
            "1 recipient released", id="all that is held",
        ),
        pytest.param(
            ("retry", "--channel", "direct"),
            [
                Selection(state=state, channel="direct")
                for state in (State.QUEUED, State.DEFERRED, State.IN_DOUBT)
            ],
            "1 recipient due now", id="all that waits for a channel",
        ),
        pytest.param(
            ("drop", "--state", "held", "--kind", "marketing"),
            [Selection(state=State.HELD, kind=Kind.MARKETING)],
            "1 recipient dropped", id="without a terminal nothing is asked",
        ),
    ],
)  # fmt: skip
def test_an_action_reaches_what_was_named(
    relay: Terminal,
    serve: Serve,
    words: tuple[str, ...],
    selected: list[Selection],
    says: str,
) -> None:
    house = serve(SmallHouse())
    said = relay("queue", *words)
    assert (said.code, said.out) == (0, f"{says}\n")
    assert house.acts == [(words[0], selection) for selection in selected]


def test_a_kind_is_set_by_hand(relay: Terminal, serve: Serve) -> None:
    house = serve(SmallHouse())
    said = relay("queue", "correct", FIRST.lower(), "--kind", "quote")
    assert said.out == "1 message of kind quote now; 1 recipient planned again\n"
    assert house.acts == [("correct", ((FIRST,), Kind.QUOTE))]
    assert relay("queue", "correct", FIRST).code == 2
    unknown = relay("queue", "correct", "0000000000000", "--kind", "sms")
    assert (unknown.code, unknown.out) == (1, "")
    assert unknown.err.startswith("None of these messages is known.\n")


def test_rules_are_proposed_as_they_are_pasted(relay: Terminal, serve: Serve) -> None:
    house = serve(SmallHouse())
    nothing = relay("corrections")
    assert (nothing.code, nothing.out) == (0, "")
    house.proposed = (PROPOSED,)
    assert relay("corrections").out.splitlines() == [
        "classification:",
        "  rules:",
        "    # from 1 correction; of the history it would change 0 other messages",
        f"    #   {FIRST}  direct, corrected: {VISIBLE}",
        '    - when: {sender: "a@b.example"}',
        "      kind: quote",
    ]
    assert relay("corrections", "--json").json[0]["kind"] == "quote"


def test_an_action_that_reaches_nothing_ends_with_1(relay: Terminal, serve: Serve) -> None:
    serve(SmallHouse())
    said = relay("queue", "hold", "--kind", "sms")
    assert said.code == 1
    assert said.err.startswith("Nothing fits")


@pytest.mark.parametrize("words", [(), (FIRST, "--all")])
def test_an_action_on_nothing_or_on_two_things_is_wrong_usage(
    relay: Terminal, serve: Serve, words: tuple[str, ...]
) -> None:
    house = serve(SmallHouse())
    assert relay("queue", "drop", *words).code == 2
    assert house.acts == []


def test_a_channel_is_stopped_and_resumed(relay: Terminal, serve: Serve) -> None:
    serve(SmallHouse())
    assert relay("channel", "stop", "direct").out == "direct is stopped\n"
    assert "direct was stopped by a person" in relay("status").out
    assert relay("channel", "resume", "direct").out == "direct sends again\n"
    said = relay("channel", "resume", "nope")
    assert (said.code, said.err) == (1, "There is no channel 'nope'.\nGive one of: direct.\n")


def test_settings_are_reloaded_or_their_mistakes_told(relay: Terminal, serve: Serve) -> None:
    house = serve(SmallHouse())
    assert relay("reload").out == "nothing changed\n"
    house.not_ready = ("reload",)
    said = relay("reload")
    assert said.code == 1
    assert said.err.splitlines() == [
        "relay.yaml:3: retry.waits: expected a list",
        "Mend the settings.",
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("queue", "list"),
        ("queue", "show", FIRST),
        ("queue", "retry", "--all"),
        ("queue", "drop", FIRST, "--yes"),
        ("channel", "stop", "direct"),
        ("reload",),
        ("queue", "correct", FIRST, "--kind", "sms"),
        ("corrections",),
    ],
    ids=" ".join,
)
def test_commands_say_that_no_relay_is_running(relay: Terminal, words: tuple[str, ...]) -> None:
    said = relay(*words)
    assert (said.code, said.out) == (69, "")
    socket = relay.folder / "state" / "relay" / "control.sock"
    assert said.err.startswith(f"No relay is running: nobody answers on {socket}.\nStart it with ")


def test_mistakes_in_the_settings_do_not_keep_from_asking(relay: Terminal, serve: Serve) -> None:
    serve(SmallHouse())
    relay.write_settings(f"state_dir: {relay.folder}/state/relay\nretry: {{waits: soon}}\n")
    assert relay("status").code == 0

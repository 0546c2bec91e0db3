"""What happens to mail: both ways of the house, with upstreams that do as they are told."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from email import message_from_bytes

from box import INVOICE, NEWSLETTER, box
from making import DAY, HOUR, MINUTE, NOON, SECOND
from upstream import Drop, Upstream

from relay.observe import events
from relay.policy.accounting import State
from relay.policy.health import Open, Paused


def channel(upstream: Upstream | int, more: str = "") -> str:
    """Return the settings of an SMTP channel to a scripted upstream."""
    port = upstream if isinstance(upstream, int) else upstream.port
    return f"{{smtp: {{host: 127.0.0.1, port: {port}, security: none{more}}}}}"


def two(direct: Upstream | int, native: Upstream | int, more: str = "") -> str:
    return f"channels:\n  direct: {channel(direct)}\n  native: {channel(native)}\n{more}"


def test_the_invoice_leaves_by_native_and_the_newsletter_by_direct(tmp_path):
    async def story():
        async with Upstream() as direct, Upstream() as native:
            async with box(tmp_path, two(direct, native)) as house:
                reply = await house.hand_in(INVOICE, "c@example.net")
                assert "(invoice -> native)" in reply.text
                reply = await house.hand_in(NEWSLETTER, "reader@example.net")
                assert "(marketing -> direct)" in reply.text
                await house.until(lambda states: states == {"sent": 2})
            assert [m.forward_paths for m in native.messages] == [("c@example.net",)]
            assert [m.forward_paths for m in direct.messages] == [("reader@example.net",)]
            assert b"RE-2026-118" in native.messages[0].content

    asyncio.run(story())


def test_what_is_queued_is_acknowledged_though_telling_of_it_fails(tmp_path, monkeypatch):
    """Another reply would have the client hand it in again."""

    async def story():
        async with Upstream() as direct, Upstream() as native:
            async with box(tmp_path, two(direct, native)) as house:
                told = house.base.journal.record

                def record(event: events.Event) -> None:
                    if isinstance(event, events.Accepted):
                        raise ValueError("a mistake of ours")
                    told(event)

                monkeypatch.setattr(house.base.journal, "record", record)
                assert (await house.hand_in(INVOICE, "c@example.net")).code == 250
                await house.until(lambda states: states == {"sent": 1})
            (crash,) = house.told(events.Crashed)
            assert "a mistake of ours" in crash.detail

    asyncio.run(story())


def test_with_the_switch_off_everything_takes_the_own_mailbox(tmp_path):
    async def story():
        async with Upstream() as direct, Upstream() as native:
            more = "routing: {only_use_for_direct_emails: false}\n"
            async with box(tmp_path, two(direct, native, more)) as house:
                await house.hand_in(INVOICE)
                await house.hand_in(NEWSLETTER)
                await house.until(lambda states: states == {"sent": 2})
            assert (len(direct.messages), len(native.messages)) == (2, 0)

    asyncio.run(story())


def test_a_channel_is_down_the_invoice_takes_the_other_and_the_newsletter_waits(tmp_path):
    """Connection refused: first at native, whose invoice goes by direct; then at direct too."""

    async def story():
        async with Upstream() as gone:
            port = gone.port  # nobody listens here once the block has ended
        async with Upstream() as direct:
            async with box(tmp_path, two(direct, port)) as house:
                await house.hand_in(INVOICE)
                await house.until(lambda states: states == {"sent": 1})
                assert isinstance(house.base.board.health("native"), Paused)
                # the next one does not even try native
                reply = await house.hand_in(INVOICE)
                assert "(invoice -> direct)" in reply.text
                await house.until(lambda states: states == {"sent": 2})
            assert len(direct.messages) == 2
        async with Upstream() as native:
            async with box(tmp_path / "2", two(port, native)) as house:
                await house.hand_in(NEWSLETTER)
                await house.until(lambda states: states == {"deferred": 1})
                await house.hand_in(INVOICE)
                await house.until(lambda states: states == {"deferred": 1, "sent": 1})
            assert len(native.messages) == 1

    asyncio.run(story())


def test_a_paused_channel_is_probed_with_one_message_and_then_drained(tmp_path):
    async def story():
        async with Upstream({"mail": ["421 4.3.0 going down"] * 2}) as direct:
            async with box(tmp_path, f"channels:\n  direct: {channel(direct)}\n") as house:
                await house.hand_in(NEWSLETTER)
                await house.until(lambda states: states == {"deferred": 1})
                for _ in range(20):
                    await house.hand_in(NEWSLETTER)
                assert isinstance(house.base.board.health("direct"), Paused)
                tried = direct.verbs().count("MAIL")
                await house.turn(15 * SECOND)  # the probe fails as well
                await house.until(lambda _: len(house.told(events.ChannelPaused)) == 2)
                assert direct.verbs().count("MAIL") <= tried + 1
                await house.turn(HOUR)
                await house.until(lambda states: states == {"sent": 21})
                assert house.base.board.health("direct") == Open()

    asyncio.run(story())


def test_the_daily_limit_is_reached_the_rest_waits_with_a_known_time(tmp_path):
    limits = ", limits: [{recipients: 3, per: 24h}, {messages: 2, per: 1h}]"

    async def story():
        async with Upstream() as direct:
            settings = f"channels:\n  direct: {channel(direct)[:-1]}{limits}}}\n"
            async with box(tmp_path, settings) as house:
                for _ in range(5):
                    await house.hand_in(NEWSLETTER)
                await house.until(lambda states: states == {"sent": 2, "queued": 3})
                throttle = house.base.board.throttled("direct", NOON)
                assert throttle.limit.name == "2 messages per 1h"
                assert throttle.until == NOON + HOUR
                await house.turn(HOUR)
                await house.until(lambda states: states == {"sent": 3, "queued": 2})
                throttle = house.base.board.throttled("direct", house.clock())
                assert (throttle.limit.name, throttle.until) == (
                    "3 recipients per 24h",
                    NOON + DAY,
                )
            # and a restart does not forget what was sent
            async with box(tmp_path, settings, house.clock) as house:
                await house.turn(HOUR)
                await house.until(lambda _: bool(house.told(events.ChannelThrottled)))
                assert await house.states() == {"sent": 3, "queued": 2}
                await house.turn(DAY)
                await house.until(lambda states: states == {"sent": 5})
            assert len(direct.messages) == 5

    asyncio.run(story())


def test_what_matters_waits_for_a_limit_two_minutes_and_takes_the_other_channel(tmp_path):
    """Room comes each 100 seconds, for one: that is never far away, and never enough for all."""
    limits = ", limits: [{messages: 1, per: 100s}]"

    async def story():
        async with Upstream() as direct, Upstream() as native:
            more = "routing: {only_use_for_direct_emails: false}\n"
            settings = two(direct, native, more).replace("none}}", f"none}}{limits}}}", 1)
            async with box(tmp_path, settings) as house:
                for _ in range(5):
                    await house.hand_in(INVOICE)
                await house.until(lambda states: states == {"sent": 1, "queued": 4})
                await house.turn(100 * SECOND)
                await house.until(lambda states: states == {"sent": 2, "queued": 3})
                await house.turn(20 * SECOND)
                await house.until(lambda states: states == {"sent": 5})
            assert (len(direct.messages), len(native.messages)) == (2, 3)

    asyncio.run(story())


def test_a_used_up_quota_pauses_the_channel_and_what_matters_takes_the_other(tmp_path):
    """Gmail says 550 for "come back tomorrow": nothing is bounced for it."""
    quota = "550 5.4.5 Daily user sending limit exceeded. For more information see support pages"

    async def story():
        async with Upstream({"dot": [quota] * 99}) as direct, Upstream() as native:
            more = "routing: {only_use_for_direct_emails: false}\n"
            async with box(tmp_path, two(direct, native, more)) as house:
                await house.hand_in(NEWSLETTER)
                await house.until(lambda states: states == {"deferred": 1})
                await house.hand_in(INVOICE)
                await house.until(lambda states: states == {"deferred": 1, "sent": 1})
                (pause,) = house.told(events.ChannelPaused)
                assert pause.category == "over_quota"
            assert len(native.messages) == 1

    asyncio.run(story())


def test_what_a_provider_says_of_its_quota_is_learned(tmp_path):
    quota = "550 5.4.5 Daily user sending limit exceeded. For more information see support pages"
    limits = ", limits: [{messages: 4, per: 24h, reserve: 0%}], provider: gmail"

    async def story():
        async with Upstream({"dot": ["250 2.0.0 ok"] * 2 + [quota]}) as direct:
            settings = f"channels:\n  direct: {channel(direct)[:-1]}{limits}, connections: 1}}\n"
            async with box(tmp_path, settings) as house:
                for _ in range(2):
                    await house.hand_in(NEWSLETTER)
                await house.until(lambda states: states == {"sent": 2})
                for _ in range(2):
                    await house.hand_in(NEWSLETTER)
                await house.until(lambda states: states == {"sent": 2, "deferred": 1, "queued": 1})
                (lesson,) = house.told(events.LimitLearned)
                assert (lesson.limit, lesson.counted) == ("4 messages per 24h", 2)
            async with box(tmp_path, settings, house.clock) as house:
                await house.turn(2 * HOUR)
                await house.until(lambda _: bool(house.told(events.ChannelThrottled)))
                assert len(direct.messages) == 2  # nothing is tried that would be refused
                await house.turn(DAY)
                await house.until(lambda states: states == {"sent": 4})

    asyncio.run(story())


def test_a_changed_password_is_tried_once_and_nothing_is_lost(tmp_path):
    password = tmp_path / "password"
    password.write_text("old")
    password.chmod(0o600)

    async def story():
        async with Upstream(accounts={"me@example.com": "new"}) as direct, Upstream() as native:
            signed_in = f", username: me@example.com, password: {{file: {password}}}"
            settings = (
                f"channels:\n  direct: {channel(direct, signed_in)}\n  native: {channel(native)}\n"
            )
            async with box(tmp_path / "house", settings) as house:
                for _ in range(10):
                    await house.hand_in(NEWSLETTER)
                await house.until(lambda states: states.get("sending") is None)
                assert direct.verbs().count("AUTH") <= 5  # at most one for each connection
                await house.hand_in(INVOICE)
                await house.until(lambda states: states.get("sent") == 1)
                (pause, *_) = house.told(events.ChannelPaused)
                assert pause.category == "auth"
                assert pause.fix
                password.write_text("new")
                await house.turn(HOUR)
                await house.until(lambda states: states == {"sent": 11})
            assert (len(direct.messages), len(native.messages)) == (10, 1)

    asyncio.run(story())


def test_one_bad_recipient_of_three_makes_one_report(tmp_path):
    async def story():
        async with Upstream({"rcpt:bad@example.net": "550 5.1.1 no such user"}) as native:
            async with box(tmp_path, f"channels:\n  native: {channel(native)}\n") as house:
                await house.hand_in(INVOICE, "a@example.net", "bad@example.net", "c@example.net")
                await house.until(lambda states: states == {"sent": 3, "failed": 1})
            invoice, report = native.messages
            assert invoice.forward_paths == ("a@example.net", "c@example.net")
            assert (report.reverse_path, report.forward_paths) == ("", ("shop@example.com",))
            parsed = message_from_bytes(report.content)
            assert parsed.get_content_type() == "multipart/report"
            words, status, header = parsed.get_payload()
            text = words.get_payload(decode=True).decode()
            assert "bad@example.net" in text
            assert "does not exist or takes no mail. Correct or remove the address." in text
            assert "a@example.net" not in status.as_string()
            fields = status.get_payload()[1]
            assert fields["Final-Recipient"] == "rfc822; bad@example.net"
            assert (fields["Action"], fields["Status"]) == ("failed", "5.1.1")
            assert "RE-2026-118" in header.get_payload()

    asyncio.run(story())


def test_there_is_no_report_for_a_report(tmp_path):
    async def story():
        async with Upstream({"rcpt": "550 5.1.1 no such user"}) as native:
            async with box(tmp_path, f"channels:\n  native: {channel(native)}\n") as house:
                await house.hand_in(INVOICE, "a@example.net")
                await house.until(lambda states: states == {"failed": 2})
                assert len(house.told(events.Reported)) == 1

    asyncio.run(story())


def test_greylisting_waits_and_succeeds(tmp_path):
    async def story():
        async with Upstream({"rcpt": ["450 4.2.0 Greylisted, come back later"]}) as native:
            async with box(tmp_path, f"channels:\n  native: {channel(native)}\n") as house:
                await house.hand_in(INVOICE)
                await house.until(lambda states: states == {"deferred": 1})
                assert house.base.board.health("native") == Open()
                (row,) = await house.rows(State.DEFERRED)
                assert row.due_at == NOON + MINUTE
                await house.turn(MINUTE)
                await house.until(lambda states: states == {"sent": 1})

    asyncio.run(story())


def test_a_recipient_that_is_greylisted_for_days_is_given_up_with_a_report(tmp_path):
    async def story():
        script = {"rcpt:slow@example.net": "450 4.2.0 mailbox full"}
        async with Upstream(script) as native:
            more = "retry: {waits: [1h], give_up_after: 5h}\n"
            async with box(tmp_path, f"channels:\n  native: {channel(native)}\n{more}") as house:
                await house.hand_in(INVOICE, "slow@example.net")
                for tries in range(1, 6):
                    await house.until(
                        lambda _, tries=tries: len(house.told(events.Attempted)) >= tries
                    )
                    await house.turn(HOUR)
                await house.until(lambda states: states == {"failed": 1, "sent": 1})
            (report,) = native.messages
            assert b"Status: 5.2.0" in report.content

    asyncio.run(story())


def test_lost_after_the_final_dot_is_in_doubt_and_tried_once_more_by_the_same_channel(tmp_path):
    async def story():
        async with Upstream({"dot": [Drop()]}) as native, Upstream() as direct:
            async with box(tmp_path, two(direct, native)) as house:
                await house.hand_in(INVOICE)
                await house.until(lambda states: states == {"in_doubt": 1})
                assert await house.base.store.possible_duplicates() == 1
                (row,) = await house.rows()
                assert row.due_at == NOON + timedelta(minutes=30)
                await house.turn(30 * MINUTE)
                await house.until(lambda states: states == {"sent": 1})
            assert len(direct.messages) == 0
            first, second = native.transactions
            assert first.content == second.content  # the same Message-ID, whatever arrived

    asyncio.run(story())


def test_in_doubt_twice_is_for_a_person(tmp_path):
    async def story():
        async with Upstream({"dot": [Drop(), Drop()]}) as native:
            async with box(tmp_path, f"channels:\n  native: {channel(native)}\n") as house:
                await house.hand_in(INVOICE)
                await house.until(lambda states: states == {"in_doubt": 1})
                await house.turn(30 * MINUTE)
                await house.until(lambda states: states == {"held": 1})

    asyncio.run(story())


def test_rules_of_the_owner_choose_hold_and_refuse(tmp_path):
    rules = """\
routing:
  rules:
    - when: {sender: "*@billing.example.com"}
      via: [direct, native]
    - when: {recipient: "*@held.example"}
      hold: "look at it first"
    - when: {header: {subject: "*secret*"}}
      refuse: "not by mail, please"
"""

    async def story():
        async with Upstream() as direct, Upstream() as native:
            async with box(tmp_path, two(direct, native, rules)) as house:
                reply = await house.hand_in(INVOICE, sender="x@billing.example.com")
                assert "(invoice -> direct)" in reply.text
                await house.hand_in(INVOICE, "who@held.example")
                reply = await house.hand_in(INVOICE.replace("Rechnung", "secret"))
                assert (reply.code, reply.text) == (550, "not by mail, please")
                await house.until(lambda states: states == {"sent": 1, "held": 1})
                (row,) = await house.rows(State.HELD)
                assert row.why == "look at it first"
            assert len(direct.messages) == 1

    asyncio.run(story())


def test_mended_settings_mend_the_queue(tmp_path):
    """What waits for a channel that is gone takes the one that the new settings have."""

    async def story():
        async with Upstream() as gone:
            port = gone.port
        async with box(tmp_path, f"channels:\n  direct: {channel(port)}\n") as house:
            await house.hand_in(NEWSLETTER)
            await house.until(lambda states: states == {"deferred": 1})
        async with Upstream() as other:
            async with box(tmp_path, f"channels:\n  native: {channel(other)}\n") as house:
                await house.until(lambda states: states == {"sent": 1})
            assert len(other.messages) == 1

    asyncio.run(story())

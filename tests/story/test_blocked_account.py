"""A provider that refuses everybody in the same words, and those that only look like it."""

from __future__ import annotations

import asyncio

from box import INVOICE, NEWSLETTER, box
from making import DAY, HOUR, MINUTE
from upstream import Upstream

from relay.app.house import House
from relay.observe import events
from relay.policy.accounting import State
from relay.policy.health import Open, Paused
from relay.policy.runs import ENTRY
from relay.queue.store import Selection

NO = "550 5.7.1 <{}>: this cannot be sent"


def settings(direct: Upstream, native: Upstream) -> str:
    smtp = "{{smtp: {{host: 127.0.0.1, port: {}, security: none}}}}"
    return f"""\
        channels:
          direct: {smtp.format(direct.port)}
          native: {smtp.format(native.port)}
        routing:
          only_use_for_direct_emails: false
          rules: [{{when: {{kind: report}}, refuse: no reports in these stories}}]
        """


def refusing(*domains: str):
    """Return what an upstream says to RCPT: no to all recipients, or to those of `domains`."""

    def rcpt(argument: str) -> str | None:
        address = argument.partition("<")[2].partition(">")[0]
        is_refused = not domains or address.endswith(domains)
        return NO.format(address) if is_refused else None

    return {"rcpt": rcpt}


async def one_by_one(house, *domains: str) -> None:
    """Hand in a newsletter for each domain, and wait until it has been tried."""
    for domain in domains:
        tried = len(house.told(events.Attempted))
        await house.hand_in(NEWSLETTER, f"reader@{domain}")
        await house.until(lambda _, tried=tried: len(house.told(events.Attempted)) > tried)


def test_after_two_the_account_is_suspected_and_the_rest_is_kept(tmp_path):
    async def story():
        async with Upstream(refusing()) as direct, Upstream() as native:
            async with box(tmp_path, settings(direct, native)) as house:
                await one_by_one(house, "a.example", "b.example")
            # what was refused so far is remembered over a restart
            async with box(tmp_path, settings(direct, native), house.clock) as house:
                await one_by_one(house, "c.example")
                assert await house.states() == {"failed": 2, "deferred": 1}
                (pause,) = house.told(events.ChannelPaused)
                assert pause.category == "account"
                assert "seems to refuse this account" in pause.cause
                (attempt,) = house.told(events.Attempted)
                assert attempt.entry == ENTRY
                # what matters takes its other channel, now and when direct is tried again
                await house.hand_in(INVOICE)
                await house.until(lambda states: states.get("sent") == 1)
                for _ in range(3):
                    await house.hand_in(NEWSLETTER)
                pauses = len(house.told(events.ChannelPaused))
                await house.turn(5 * MINUTE)
                await house.until(lambda _: len(house.told(events.ChannelPaused)) > pauses)
                assert await house.states() == {"failed": 2, "deferred": 2, "queued": 2, "sent": 1}
            # nor does a restart forget that it is the account
            async with box(tmp_path, settings(direct, native), house.clock) as house:
                await house.turn(HOUR)
                await house.until(lambda _: len(house.told(events.ChannelPaused)) == 1)
                states = await house.states()
                assert (states["failed"], states["sent"]) == (2, 1)
                direct.script.clear()  # the provider lets it send again
                await house.turn(2 * HOUR)
                await house.until(lambda states: states.get("sent", 0) >= 4)
                await house.turn(2 * MINUTE)
                await house.until(lambda states: states == {"failed": 2, "sent": 5})
                assert house.base.board.health("direct") == Open()
                words = house.told(events.ChannelPaused)[0].fix
                ids = [row.queue_id for row in await house.rows(State.FAILED)]
                assert f"`relay queue retry {ids[1]} {ids[0]}`" in words
                chosen = Selection(queue_ids=tuple(ids))
                assert await house.base.store.retry(chosen, house.clock()) == 2
                await house.turn(MINUTE)
                await house.until(lambda states: states == {"sent": 7})
            assert len(native.messages) == 1

    asyncio.run(story())


def test_many_recipients_of_one_message_are_enough(tmp_path):
    async def story():
        async with Upstream(refusing()) as direct, Upstream() as native:
            async with box(tmp_path, settings(direct, native)) as house:
                await house.hand_in(INVOICE, "a@a.example", "b@b.example", "c@c.example")
                await house.until(lambda states: states == {"sent": 3})
                assert isinstance(house.base.board.health("direct"), Paused)
            assert len(native.messages) == 1

    asyncio.run(story())


def test_a_newsletter_to_a_dead_list_pauses_nothing(tmp_path):
    async def story():
        dead = {"rcpt": "550 5.1.1 Recipient address rejected: User unknown"}
        async with Upstream(dead) as direct, Upstream() as native:
            async with box(tmp_path, settings(direct, native)) as house:
                await one_by_one(house, *(f"{number}.example" for number in range(20)))
                assert await house.states() == {"failed": 20}
                assert house.told(events.ChannelPaused) == []

    asyncio.run(story())


def test_recipients_who_do_refuse_keep_nobody_waiting_for_long(tmp_path):
    """A false alarm: the channel is tried with other mail, and they fail by themselves."""

    async def story():
        bad = ("a.example", "b.example", "c.example")
        async with Upstream(refusing(*bad)) as direct, Upstream() as native:
            async with box(tmp_path, settings(direct, native)) as house:
                await one_by_one(house, *bad)
                await house.until(lambda states: states == {"failed": 2, "deferred": 1})
                for number in range(3):
                    await house.hand_in(NEWSLETTER, f"{number}@good.example")
                await house.turn(5 * MINUTE)
                await house.until(lambda states: states.get("sent") == 3)
                assert house.base.board.health("direct") == Open()
                await house.turn(MINUTE)
                await house.until(lambda states: states == {"failed": 3, "sent": 3})
                assert len(house.told(events.ChannelPaused)) == 1

    asyncio.run(story())


def test_a_person_who_lets_it_send_again_loses_nothing_more(tmp_path):
    async def story():
        async with Upstream(refusing()) as direct, Upstream() as native:
            async with box(tmp_path, settings(direct, native)) as house:
                owner = House(
                    base=house.base,
                    graph=house.graph,
                    started_at=house.clock(),
                    addresses=tuple,
                    again=house.graph.sweep.once,
                )
                await one_by_one(house, "a.example", "b.example", "c.example")
                for pauses in (1, 2, 3):
                    await house.until(
                        lambda _, pauses=pauses: len(house.told(events.ChannelPaused)) == pauses
                    )
                    await house.until(lambda states: states == {"failed": 2, "deferred": 1})
                    await owner.resume("direct")
                await house.turn(DAY)
                assert (await house.states())["failed"] == 2

    asyncio.run(story())

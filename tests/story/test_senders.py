"""A sign-in was mended, and a second fault hides behind it: some senders are not taken."""

from __future__ import annotations

import asyncio

import pytest
from box import INVOICE, NEWSLETTER, box
from making import HOUR, MINUTE
from upstream import Drop, Upstream

from relay.observe import events
from relay.policy.accounting import State
from relay.policy.health import Open, Paused

ME, NEWS, SHOP = "me@example.com", "news@example.com", "shop@example.com"


def settings(direct: Upstream, native: Upstream, folder) -> str:
    password = folder / "password"
    password.write_text("right")
    smtp = f"host: 127.0.0.1, port: {direct.port}, security: none, username: {ME}"
    return f"""\
        channels:
          direct: {{smtp: {{{smtp}, password: {{file: {password}}}}}}}
          native: {{smtp: {{host: 127.0.0.1, port: {native.port}, security: none}}}}
        routing: {{only_use_for_direct_emails: false}}
        retry: {{waits: [10m]}}
        """


def only_me(argument: str) -> str | None:
    return None if "news@" in argument else "550 5.7.60 not allowed to send as this sender"


async def paused(house) -> None:
    await house.hand_in(NEWSLETTER, sender=NEWS)
    await house.until(lambda _: isinstance(house.base.board.health("direct"), Paused))
    await house.until(lambda states: states == {"deferred": 1})


async def until_paused(house, times: int) -> None:
    await house.until(lambda _: len(house.told(events.ChannelPaused)) == times)


def test_mail_of_who_is_not_taken_is_kept_back_before_the_flood(tmp_path):
    async def story():
        async with Upstream({"mail": only_me}, accounts={ME: "other"}) as direct:
            async with Upstream() as native:
                async with box(tmp_path, settings(direct, native, tmp_path)) as house:
                    await paused(house)
                    for _ in range(3):
                        await house.hand_in(NEWSLETTER, sender=NEWS)
                        await house.hand_in(NEWSLETTER, sender=SHOP)
                    direct.accounts[ME] = "right"
                    await house.turn(11 * MINUTE)
                    await house.until(lambda states: states == {"sent": 4, "held": 3})
                    assert house.base.board.health("direct") == Open()
                    (told,) = house.told(events.SenderRefused)
                    assert (told.reverse_path, told.held, told.moved) == (SHOP, 3, 0)
                    for row in await house.rows(State.HELD):
                        assert row.why.startswith("direct does not take shop@example.com as sender")
                # each address was asked for once, and nobody got a report that it failed
                asked = [line for _, line in direct.commands if "shop@" in line]
                assert asked == [f"MAIL FROM:<{SHOP}>"]
                assert native.messages == []

    asyncio.run(story())


def test_an_invoice_of_such_a_sender_takes_its_other_channel(tmp_path):
    async def story():
        async with Upstream({"mail": only_me}, accounts={ME: "other"}) as direct:
            async with Upstream({"greeting": "421 busy"}) as native:
                async with box(tmp_path, settings(direct, native, tmp_path)) as house:
                    await paused(house)
                    await house.hand_in(INVOICE, sender=SHOP)
                    await until_paused(house, 2)
                    direct.accounts[ME] = "right"
                    native.script.clear()
                    await house.turn(11 * MINUTE)
                    await house.until(lambda states: states == {"sent": 2})
                (bill,) = native.messages
                assert bill.reverse_path == SHOP

    asyncio.run(story())


def test_an_invoice_that_may_have_arrived_is_held_instead(tmp_path):
    async def story():
        script = {"dot": [Drop()]}
        async with Upstream(script, accounts={ME: "right"}) as direct, Upstream() as native:
            async with box(tmp_path, settings(direct, native, tmp_path)) as house:
                await house.hand_in(INVOICE, sender=SHOP)
                await house.until(lambda states: states == {"in_doubt": 1})
                direct.accounts[ME] = "other"
                direct.script["mail"] = only_me
                await house.graph.channels["direct"].close()
                await house.hand_in(NEWSLETTER, sender=NEWS)
                await house.until(lambda states: states == {"in_doubt": 1, "deferred": 1})
                direct.accounts[ME] = "right"
                await house.turn(11 * MINUTE)
                await house.until(lambda states: states == {"held": 1, "sent": 1})
            assert native.messages == []

    asyncio.run(story())


def test_while_the_password_is_still_wrong_the_question_is_the_probe(tmp_path):
    """One failed sign-in at a time, with waits that grow: no account is locked by it."""

    async def story():
        async with Upstream(accounts={ME: "other"}) as direct, Upstream() as native:
            async with box(tmp_path, settings(direct, native, tmp_path)) as house:
                await paused(house)
                assert direct.verbs().count("AUTH") == 1
                for tries in (2, 3):
                    await house.turn(HOUR)
                    await until_paused(house, tries)
                    assert direct.verbs().count("AUTH") == tries
                assert house.base.board.health("direct").failures == 3
                direct.accounts[ME] = "right"
                await house.turn(HOUR)
                await house.until(lambda states: states == {"sent": 1})

    asyncio.run(story())


def test_what_all_senders_meet_pauses_the_channel_again(tmp_path):
    limit = "550 5.4.5 Daily user sending limit exceeded"

    async def story():
        async with Upstream({"mail": limit}, accounts={ME: "other"}) as direct:
            async with Upstream() as native:
                async with box(tmp_path, settings(direct, native, tmp_path)) as house:
                    await paused(house)
                    direct.accounts[ME] = "right"
                    await house.turn(11 * MINUTE)
                    await until_paused(house, 2)
                    health = house.base.board.health("direct")
                    assert health.category == "over_quota"
                    assert await house.states() == {"deferred": 1}

    asyncio.run(story())


def test_a_connection_that_breaks_while_asking_is_a_fault_of_the_channel(tmp_path):
    async def story():
        script = {"mail": [Drop()]}
        async with Upstream(script, accounts={ME: "other"}) as direct, Upstream() as native:
            async with box(tmp_path, settings(direct, native, tmp_path)) as house:
                await paused(house)
                direct.accounts[ME] = "right"
                await house.turn(11 * MINUTE)
                await until_paused(house, 2)
                await house.turn(HOUR)
                await house.until(lambda states: states == {"sent": 1})

    asyncio.run(story())


def at_rcpt(reply: str, *refused: str) -> dict[str, object]:
    """Return the script of a server that takes any sender at MAIL, and minds it at RCPT."""
    sender = ""

    def mail(argument: str) -> None:
        nonlocal sender
        sender = argument

    def rcpt(_: str) -> str | None:
        return reply if not refused or any(each in sender for each in refused) else None

    return {"mail": mail, "rcpt": rcpt}


NOT_YOURS = "553 5.7.1 <shop@example.com>: Sender address rejected: not owned by user"


@pytest.mark.parametrize(
    ("script", "held"),
    [
        pytest.param(at_rcpt(NOT_YOURS, SHOP), 2, id="one of two, with the same recipient"),
        pytest.param(at_rcpt(NOT_YOURS, SHOP, NEWS), 3, id="all, but not the account itself"),
    ],
)
def test_a_sender_that_is_refused_only_at_rcpt_is_kept_back(tmp_path, script, held):
    async def story():
        async with Upstream(script, accounts={ME: "other"}) as direct, Upstream() as native:
            async with box(tmp_path, settings(direct, native, tmp_path)) as house:
                await paused(house)
                await house.hand_in(NEWSLETTER, sender=SHOP)
                await house.hand_in(NEWSLETTER, sender=SHOP)
                direct.accounts[ME] = "right"
                await house.turn(11 * MINUTE)
                await house.until(lambda states: states.get("held") == held)
                await house.until(lambda states: states == all_but(held))
            asked = {line for _, line in direct.commands if line.startswith("RCPT")}
            assert f"RCPT TO:<{ME}>" in asked  # of whom nobody minds it

    def all_but(held: int) -> dict[str, int]:
        return {"held": held} | ({"sent": 3 - held} if held < 3 else {})

    asyncio.run(story())


def test_what_is_said_of_the_recipient_is_no_fault_of_a_sender(tmp_path):
    """The account's own mailbox does not exist there: that tells nothing of who waits."""
    script = {f"rcpt:{ME}": "550 5.1.1 <me@example.com>: no such user"}

    async def story():
        async with Upstream(script, accounts={ME: "other"}) as direct, Upstream() as native:
            async with box(tmp_path, settings(direct, native, tmp_path)) as house:
                await paused(house)
                await house.hand_in(NEWSLETTER, sender=SHOP)
                direct.accounts[ME] = "right"
                await house.turn(11 * MINUTE)
                await house.until(lambda states: states == {"sent": 2})
                assert house.told(events.SenderRefused) == []

    asyncio.run(story())

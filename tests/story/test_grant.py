"""A channel that signs in by tokens, and loses its grant."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from box import INVOICE, NEWSLETTER, box
from making import HOUR, MINUTE, NOON
from upstream import Upstream

from relay.app.clock import utc_now
from relay.connect.oauth import Token
from relay.connect.options import Grant
from relay.connect.tokens import TokenFile
from relay.policy.health import Paused
from tests.connect.authorization import Authorization, authorization

ME = "me@example.com"


class Accounts(dict[str, str]):
    """Accounts whose password is the access token that was given out last."""

    def __init__(self, server: Authorization) -> None:
        super().__init__({ME: ""})
        self._server = server

    def get(self, login: str, default: str | None = None) -> str | None:
        return self._server.memory.access[-1] if login == ME else default


def settings(direct: Upstream, native: Upstream, server: Authorization) -> str:
    smtp = f"host: 127.0.0.1, port: {direct.port}, security: none, username: {ME}"
    oauth2 = (
        f"provider: other, client_id: relay, authorize_url: '{server.url}/authorize',"
        f" token_url: '{server.url}/token', scopes: smtp"
    )
    return f"""\
        channels:
          direct: {{smtp: {{{smtp}, oauth2: {{{oauth2}}}}}}}
          native: {{smtp: {{host: 127.0.0.1, port: {native.port}, security: none}}}}
        routing: {{only_use_for_direct_emails: false}}
        """


def keep(house, refresh_token: str) -> None:
    """Keep a token whose access token has ended: the next mail needs a new one."""
    grant = house.graph.settings.channels["direct"].grant
    assert isinstance(grant, Grant)
    ended = utc_now() - timedelta(hours=1)
    token = Token(
        access_token="ended",
        refresh_token=refresh_token,
        expires_at=ended,
        obtained_at=ended - timedelta(hours=1),
    )
    TokenFile(grant).write(token)


def test_a_lost_grant_pauses_the_channel_and_bounces_nothing(tmp_path):
    async def story():
        with authorization() as server:
            async with Upstream(mechanisms=["XOAUTH2"]) as direct:
                direct.accounts = Accounts(server)
                async with Upstream() as native:
                    async with box(tmp_path, settings(direct, native, server)) as house:
                        keep(house, "revoked")
                        await house.hand_in(NEWSLETTER)
                        await house.until(lambda states: states == {"deferred": 1})
                        health = house.base.board.health("direct")
                        assert isinstance(health, Paused)
                        assert health.category == "auth"
                        assert health.cause == "The permission to send is no longer valid."
                        await house.hand_in(INVOICE)
                        await house.until(lambda states: states == {"deferred": 1, "sent": 1})
                        assert len(native.messages) == 1
                        assert "AUTH" not in direct.verbs()  # nothing was guessed

                        server.memory.refresh.add("granted again")
                        keep(house, "granted again")
                        await house.turn(HOUR)
                        await house.until(lambda states: states == {"sent": 2})
                assert direct.messages[0].mechanism == "XOAUTH2"

    asyncio.run(story())


def test_a_token_service_that_is_down_is_waited_for(tmp_path):
    async def story():
        with authorization() as server:
            async with Upstream(mechanisms=["XOAUTH2"]) as direct:
                direct.accounts = Accounts(server)
                async with Upstream() as native:
                    async with box(tmp_path, settings(direct, native, server)) as house:
                        server.memory.refresh.add("good")
                        keep(house, "good")
                        server.is_down = True
                        await house.hand_in(NEWSLETTER)
                        await house.until(lambda states: states == {"deferred": 1})
                        health = house.base.board.health("direct")
                        assert isinstance(health, Paused)
                        assert health.category == "server"
                        assert health.until - NOON <= 5 * MINUTE
                        server.is_down = False
                        await house.turn(HOUR)
                        await house.until(lambda states: states == {"sent": 1})

    asyncio.run(story())

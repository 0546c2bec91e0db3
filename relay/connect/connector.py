"""The whole of connecting a channel, for the command line and for whoever else asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from relay.channels.options import SmtpOptions
from relay.channels.smtp_probe import Questions
from relay.connect import kept
from relay.connect.account import Account
from relay.connect.search import Found, Tried, search, try_once
from relay.mail.attempt import Refused
from relay.policy.judgement import Judgement
from relay.providers.detect import Providers
from relay.providers.replies import ReplyDictionary


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """Tries and keeps connections of one channel; what runs is not touched by it."""

    channel: str
    state_dir: Path
    providers: Providers
    replies: ReplyDictionary
    provider: str | None = None  # as the owner says; None: told by the host

    async def check(self, options: SmtpOptions, questions: Questions) -> Found:
        """Try one connection and nothing beside it."""
        return Found(first=await try_once(options, questions, self.judge))

    async def find(self, options: SmtpOptions, account: Account, questions: Questions) -> Found:
        """Try a connection, and when it fails what may work instead."""
        return await search(options, account, questions, self.judge)

    def keep(self, tried: Tried, now: datetime) -> Path:
        """Keep a connection that works, for the next time that settings are read.

        Raises kept.KeptError.
        """
        assert tried.works
        options = tried.options
        return kept.write(
            self.state_dir,
            self.channel,
            kept.Kept(
                host=options.host,
                port=options.port,
                security=options.security,
                username=options.username,
                password=options.password() if options.password is not None else None,
                connected_at=now,
            ),
        )

    def judge(self, refused: Refused, options: SmtpOptions) -> Judgement:
        """Return whose fault a failure is, as it is judged when mail is sent."""
        return self.replies.judge(
            refused,
            provider=self.provider or self.providers.by_host(options.host, options.username),
            host=options.host,
            port=options.port,
            security=options.security,
        )

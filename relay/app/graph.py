"""What one reading of the settings amounts to: channels, lanes, the way in."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from relay.channels.channel import Channel
from relay.channels.folder import FolderChannel
from relay.channels.options import (
    FolderOptions,
    SendmailOptions,
    SmtpOptions,
    UnconnectedOptions,
)
from relay.channels.pace import Paces
from relay.channels.sendmail import SendmailChannel
from relay.channels.smtp import SmtpChannel
from relay.channels.unconnected import UnconnectedChannel
from relay.connect.options import Grant
from relay.delivery.board import Board
from relay.delivery.lane import Lane
from relay.delivery.reports import Reporter
from relay.delivery.senders import SenderCheck
from relay.delivery.sweep import Sweep
from relay.delivery.worker import Worker
from relay.inspect.decoding import decode_header
from relay.inspect.inspector import Inspector
from relay.listener.reception import Reception
from relay.mail.attempt import Refused
from relay.mail.header import fields
from relay.observe.journal import Journal
from relay.policy.health import Open, Paused, after_fault
from relay.policy.judgement import Judgement
from relay.policy.kinds import Reason, Verdict
from relay.policy.ledger import HISTORY, reach
from relay.policy.limits import Unit
from relay.policy.plan import Plan, Refusal
from relay.policy.route import RouteRules, route
from relay.policy.rules import MailFacts
from relay.providers.detect import Providers
from relay.providers.replies import ReplyDictionary
from relay.queue.rows import Waiting
from relay.queue.sqlite import SqliteStore
from relay.queue.store import Retention
from relay.settings.values import ChannelSettings, Settings

_HEAD_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What outlives a change of the settings."""

    store: SqliteStore
    board: Board
    journal: Journal
    clock: Callable[[], datetime]
    ids: Callable[[], int]
    inspector: Inspector
    replies: ReplyDictionary
    providers: Providers
    paces: Paces
    in_flight: Counter[int] = field(default_factory=Counter)  # leases, by message id


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Everything that is made from the settings."""

    settings: Settings
    channels: Mapping[str, Channel]
    lanes: Mapping[str, Lane]
    sweep: Sweep
    reception: Reception
    route_rules: RouteRules
    changed: Callable[[str], None]  # wakes a channel's lane, and those whose mail may now take it

    def plan_again(self, item: Waiting, head: Callable[[int], bytes]) -> Plan | None:
        """Return the plan of what waits under these settings, None if a rule refuses it now."""
        plan = route(_remembered(item), _facts(item, head, self.route_rules), self.route_rules)
        return None if isinstance(plan, Refusal) else plan

    @property
    def fingerprint(self) -> str:
        """Return what changes when, and only when, mail may be routed differently."""
        return hashlib.sha256(repr(self.route_rules).encode()).hexdigest()


def build(settings: Settings, base: Foundation) -> Graph:
    """Return the graph for `settings`; nothing of it runs yet. Raises OSError."""
    channels = {name: _channel(channel, base) for name, channel in settings.channels.items()}
    board = base.board
    board.set_channels(channels)
    _look_for_accounts(settings, channels, base)
    lanes: dict[str, Lane] = {}
    wake = partial(_changed, lanes, board)
    rules = RouteRules(
        only_use_for_direct_emails=settings.routing.only_use_for_direct_emails,
        rules=settings.routing.rules,
        channels=tuple(channels),
        max_bytes=tuple(
            (name, channel.max_message_bytes)
            for name, channel in settings.channels.items()
            if channel.max_message_bytes is not None
        ),
    )
    reporter = Reporter(
        hostname=settings.hostname,
        sender=settings.reports.address,
        sender_name=settings.reports.name,
        new_id=base.ids,
        plan=partial(_plan, rules),
        closed=board.closed,
    )
    for name, channel in channels.items():
        lanes[name] = _lane(settings, base, channel, board, reporter, wake)
    return Graph(
        settings=settings,
        channels=channels,
        lanes=lanes,
        sweep=_sweep(settings, base, board, reporter, wake),
        reception=Reception(
            inspector=base.inspector,
            kind_rules=settings.classification.rules,
            route_rules=rules,
            store=base.store,
            journal=base.journal,
            clock=base.clock,
            ids=base.ids,
            closed=board.closed,
            rehearsal=settings.rehearsal,
        ),
        route_rules=rules,
        changed=wake,
    )


def _look_for_accounts(
    settings: Settings, channels: Mapping[str, Channel], base: Foundation
) -> None:
    """Close channels without an account before mail comes; hurry those that have a new one."""
    board, now = base.board, base.clock()
    for name, channel in channels.items():
        mine, health = settings.channels[name], board.health(name)
        refusal = UnconnectedChannel(name, base.clock).refusal
        if isinstance(channel, UnconnectedChannel) and isinstance(health, Open):
            judgement = _judge(mine, base)(refusal)
            board.set_health(name, after_fault(health, judgement, str(refusal.reply), now))
        elif isinstance(health, Paused) and not isinstance(channel, UnconnectedChannel):
            is_new = mine.connected_at is not None and mine.connected_at > health.since
            if is_new or health.reply == str(refusal.reply):
                board.hurry(now, (name,))


def _changed(lanes: Mapping[str, Lane], board: Board, channel: str) -> None:
    """Wake a channel's lane; those that are paused look whether their mail may take it."""
    for name, lane in lanes.items():
        if name == channel or board.is_paused(name):
            lane.wake()


def _channel(settings: ChannelSettings, base: Foundation) -> Channel:
    clock = base.clock
    match settings.options:
        case SmtpOptions() as options:
            if settings.grant is not None:
                options = replace(options, access_token=_tokens(settings.grant))
            now = asyncio.get_running_loop().time()
            pace = base.paces.of(settings.name, options.new_connections, now)
            return SmtpChannel(settings.name, options, now=clock, pace=pace)
        case UnconnectedOptions():
            return UnconnectedChannel(settings.name, clock)
        case SendmailOptions() as options:
            return SendmailChannel(settings.name, options, now=clock)
        case FolderOptions() as options:
            Path(options.path).mkdir(mode=0o700, parents=True, exist_ok=True)
            return FolderChannel(settings.name, options, now=clock)


def _tokens(grant: Grant) -> Callable[[str | None], Awaitable[str]]:
    """Return what gives out tokens; its libraries stay out of a relay that needs none."""
    from relay.connect.tokens import TokenFile, TokenSource

    return TokenSource(TokenFile(grant))


def _lane(
    settings: Settings,
    base: Foundation,
    channel: Channel,
    board: Board,
    reporter: Reporter,
    wake: Callable[[str], None],
) -> Lane:
    mine = settings.channels[channel.name]
    judge = _judge(mine, base)
    return Lane(
        name=channel.name,
        in_flight=base.in_flight,
        worker=Worker(
            channel=channel,
            store=base.store,
            judge=judge,
            board=board,
            schedule=settings.retry,
            reporter=reporter,
            journal=base.journal,
            clock=base.clock,
            changed=wake,
        ),
        store=base.store,
        board=board,
        journal=base.journal,
        clock=base.clock,
        connections=mine.connections,
        max_recipients=mine.max_recipients,
        senders=SenderCheck(
            channel=channel,
            store=base.store,
            judge=judge,
            board=board,
            journal=base.journal,
            clock=base.clock,
            changed=wake,
        ),
        changed=wake,
    )


def _sweep(
    settings: Settings,
    base: Foundation,
    board: Board,
    reporter: Reporter,
    wake: Callable[[str], None],
) -> Sweep:
    limits = [limit for channel in settings.channels.values() for limit in channel.limits]
    distinct = [reach(it) for it in limits if it.unit is Unit.DISTINCT_RECIPIENTS]
    return Sweep(
        store=base.store,
        board=board,
        schedule=settings.retry,
        retention=Retention(
            rows=settings.history.keep,
            content=settings.history.keep_content,
            charges=max([HISTORY, *map(reach, limits)]),
            contacts=max(distinct, default=timedelta()),
        ),
        reporter=reporter,
        journal=base.journal,
        clock=base.clock,
        in_flight=lambda: frozenset(base.in_flight),
        changed=wake,
    )


def _judge(settings: ChannelSettings, base: Foundation) -> Callable[[Refused], Judgement]:
    """Return the dictionary as it applies to one channel, whose provider may be known."""
    options = settings.options
    if not isinstance(options, SmtpOptions):
        return partial(base.replies.judge, provider=settings.provider)
    return partial(
        base.replies.judge,
        provider=settings.provider or base.providers.by_host(options.host, options.username),
        host=options.host,
        port=options.port,
        security=options.security,
    )


def _plan(rules: RouteRules, verdict: Verdict, facts: MailFacts) -> Plan | None:
    plan = route(verdict, facts, rules)
    return None if isinstance(plan, Refusal) else plan


def _remembered(item: Waiting) -> Verdict:
    """Return the verdict of a message in the queue, as far as routing asks for it."""
    return Verdict(
        kind=item.kind,
        certainty=1.0,
        reasons=(Reason("queue", "as it was classified on arrival"),),
        unsure=item.unsure,
    )


def _facts(item: Waiting, head: Callable[[int], bytes], rules: RouteRules) -> MailFacts:
    header: dict[str, list[str]] = {}
    if names := rules.header_names:
        for field in fields(head(_HEAD_BYTES)):
            name = field.name.decode("ascii", "replace").lower()
            if name in names:
                header.setdefault(name, []).append(decode_header(field.value))
    return MailFacts(
        kind=item.kind,
        reverse_path=item.reverse_path,
        forward_path=item.forward_path,
        header=header,
        application=item.application,
        listener=item.listener,
        size_bytes=item.size_bytes,
    )

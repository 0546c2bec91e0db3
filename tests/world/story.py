"""A pattern played through: a relay between applications and two providers, and what came of it."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from world import virtual
from world.certificates import certificates
from world.house import House
from world.patterns import (
    Arrival,
    Break,
    Happening,
    Mend,
    Pattern,
    Restart,
    Step,
    random_pattern,
)
from world.provider import LOGIN, PASSWORD, Delivered, Door, Provider

from relay.observe import events
from relay.policy.accounting import State
from relay.policy.kinds import ESSENTIAL, Kind
from relay.policy.route import PATIENCE

BEGIN = datetime(2026, 10, 20, tzinfo=UTC)  # DST ends on the 25th in Berlin
IN_MEMORY = Path("/dev/shm")  # commits are synced, which is what a disk is slow at
_NOTICED_SECONDS = 31.0  # a clock set forward is only known for one by a relay that runs then
_FINISHED = {"sent", "failed", "held"}
_LOOK_EVERY = timedelta(minutes=15)
_COMMITS_SECONDS = 0.5  # that a disk is given to commit what is decided
_SETTINGS = """\
hostname: relay.example.com
http: null
history: {{keep: 400d}}
routing: {{only_use_for_direct_emails: {only_direct}}}
channels:
  direct:
    smtp: {{host: 127.0.0.1, port: {direct}, {secured}}}
    connections: {connections}
    {account}
  native:
    smtp: {{host: 127.0.0.1, port: {native}, {secured}}}
    connections: 20
"""
_SECURED = (
    "security: starttls, certificate_checks: on, ca_file: {folder}/ca.pem, "
    "username: {login}, password: {{file: {folder}/password}}"
)
_LETTERS = {
    Kind.INVOICE: (
        "Subject: Rechnung RE-2026-{number}",
        (
            "Sehr geehrte Frau Muster,\n\nIhre Rechnung Nr. RE-2026-{number}: 100,00 EUR netto, "
            "19 % USt. 19,00 EUR, Gesamtbetrag 119,00 EUR.\n"
            "Zahlbar bis zum 5.12.2026 auf IBAN DE02120300000000202051.\n"
        ),
    ),
    Kind.MARKETING: (
        (
            "Subject: Unsere Angebote im November: 20 % Rabatt auf alles\n"
            "List-Unsubscribe: <https://example.com/unsubscribe/7>\nPrecedence: bulk"
        ),
        (
            "Nur diese Woche: 20 % Rabatt auf alle Gartenstühle, versandkostenfrei.\n"
            "Newsletter abbestellen: https://example.com/unsubscribe/7\n"
        ),
    ),
    Kind.DIRECT: (
        "Subject: Re: Samstag\nIn-Reply-To: <{number}@example.net>",
        (
            "Hallo Jonas,\n\nam Samstag passt es mir gut, sollen wir uns um zehn treffen?\n\n"
            "Liebe Grüße\nKaren\n"
        ),
    ),
}


@dataclass(slots=True)
class Result:
    """What came of a pattern."""

    seed: int
    days: float = 0.0
    recipients: int = 0  # handed in
    sent: int = 0
    waiting: int = 0  # or held for a person
    refused: int = 0  # transactions, by a provider that others had left little
    broken: int = 0  # faults and restarts
    over: list[str] = field(default_factory=list)  # limits, by the provider's own count
    lost: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # though no fault of the recipient's
    twice: int = 0  # beyond those that relay counts as possible duplicates
    measured: int = 0  # essential recipients whose waits were measured
    latest: float = 0.0  # seconds that one waited, its own tries apart
    longest_try: float = 0.0  # seconds

    @property
    def is_late(self) -> bool:
        """Return whether a wait was longer than the patience and one try."""
        return self.latest > PATIENCE.total_seconds() + self.longest_try + _COMMITS_SECONDS


@dataclass(slots=True)
class _Handed:
    """What was handed in as one message."""

    name: str  # its Message-ID
    arrival: Arrival
    at: float
    accepted: events.Accepted


class _Story:
    def __init__(self, pattern: Pattern, folder: Path) -> None:
        self.pattern = pattern
        self.folder = folder
        account = pattern.account
        self.direct = Door(
            Provider(
                name=account.provider, limits=account.limits, begins=BEGIN, seed=pattern.seed,
                counts_at=pattern.counts_at, share=pattern.share, trembling=pattern.trembling,
                seconds=pattern.dot_seconds,
            ),
            certificates(),
        )  # fmt: skip
        self.native = Door(
            Provider(name="fastmail", limits=(), begins=BEGIN, seed=-pattern.seed), certificates()
        )
        self.handed: list[_Handed] = []
        self.downs: list[tuple[float, float]] = []  # when there was no relay
        self.house: House

    async def play(self) -> Result:
        async with self.direct, self.native:
            look_every = None if self.pattern.is_stepped else _LOOK_EVERY
            self.house = House(
                self.folder, self.settings(), self.limits(), BEGIN, self.pattern.seed, look_every
            )
            await self.house.start()
            for at, happening in self.pattern.happenings:
                await asyncio.sleep(at - asyncio.get_running_loop().time())
                await self.happen(happening)
            for door in (self.direct, self.native):
                door.provider.trembling = 0
                door.mend()
            await self.drain()
            result = await self.measure()
            await self.house.stop()
        return result

    def settings(self) -> str:
        (self.folder / "ca.pem").write_bytes(certificates().authority)
        (self.folder / "password").write_text(PASSWORD)
        (self.folder / "password").chmod(0o600)
        account = self.pattern.account
        known = f"provider: {account.provider}"
        if account.is_published and account.tier:
            known += f"\n    tier: '{account.tier}'"
        return _SETTINGS.format(
            direct=self.direct.port,
            native=self.native.port,
            secured=_SECURED.format(folder=self.folder, login=LOGIN),
            connections=self.pattern.connections,
            account=known,
            only_direct=str(self.pattern.only_direct).lower(),
        )

    def limits(self) -> dict[str, tuple]:
        account = self.pattern.account
        return {} if account.is_published else {"direct": account.limits}

    async def happen(self, happening: Happening) -> None:
        match happening:
            case Arrival():
                await self.hand_in(happening)
            case Break(channel, fault):
                self.door(channel).break_by(fault)
            case Mend(channel):
                self.door(channel).mend()
            case Step(seconds):
                self.house.offset += timedelta(seconds=seconds)
                await asyncio.sleep(_NOTICED_SECONDS)
            case Restart():
                await self.restart(happening)

    def door(self, channel: str) -> Door:
        return self.direct if channel == "direct" else self.native

    async def restart(self, how: Restart) -> None:
        began = asyncio.get_running_loop().time()
        await (self.house.kill() if how.is_kill else self.house.stop())
        await asyncio.sleep(how.down_seconds)
        self.house.offset += timedelta(seconds=how.step_seconds)
        await self.house.start()
        self.downs.append((began, asyncio.get_running_loop().time()))

    async def hand_in(self, arrival: Arrival) -> None:
        number = len(self.handed)
        content = letter(arrival.kind, number, arrival.forward_paths[0], arrival.size_bytes)
        at = asyncio.get_running_loop().time()
        accepted = await self.house.hand_in(content, arrival.forward_paths, arrival.application)
        assert accepted.kind is arrival.kind, (accepted.kind, arrival.kind)
        self.handed.append(_Handed(f"{number}@pattern.example", arrival, at, accepted))

    async def drain(self) -> None:
        """Wait until all is finished, or for the longest window and a day."""
        longest = max(limit.per for limit in self.pattern.account.limits)
        until = asyncio.get_running_loop().time() + longest.total_seconds() * 2 + 86400
        while asyncio.get_running_loop().time() < until:
            if (await self.house.states()).keys() <= _FINISHED:
                return
            await asyncio.sleep(3600)

    # -- what came of it ------------------------------------------------------------------------

    async def measure(self) -> Result:
        result = Result(
            self.pattern.seed,
            days=asyncio.get_running_loop().time() / 86400,
            refused=self.direct.provider.refused,
            broken=sum(
                isinstance(each, Break | Restart | Step) for _, each in self.pattern.happenings
            ),
            over=self.direct.provider.books.over,
        )
        delivered = self.direct.provider.delivered + self.native.provider.delivered
        rows = {(row.queue_id, row.forward_path): row for row in await self.house.rows()}
        for one in self.handed:
            for path in one.arrival.forward_paths:
                result.recipients += 1
                row = rows.get((one.accepted.queue_id, path))
                arrived = delivered[Delivered(one.name, path)]
                name = f"{one.name} to {path}"
                if row is None or (row.state is State.SENT and not arrived):
                    result.lost.append(name)
                elif row.state is State.SENT:
                    result.sent += 1
                elif row.state is not State.FAILED:
                    result.waiting += 1
                elif not path.startswith("nobody"):
                    result.failed.append(f"{name}: {row.why}")
        twice = sum(count - 1 for count in delivered.values())
        result.twice = max(0, twice - await self.house.store.possible_duplicates())
        if self.pattern.is_native_reliable and self.pattern.is_quick:
            self.measure_waits(result)
        return result

    def measure_waits(self, result: Result) -> None:
        """Note how long essential mail waited while native was open, its own tries apart.

        A channel that is slow is not left for it, so it has to be a quick one. What may have
        arrived is for the same channel alone, and what its recipient's server puts off waits
        wherever it is.
        """
        tries: dict[tuple[str, str], list[tuple[float, events.Attempted]]] = {}
        for at, event in self.house.told:
            if isinstance(event, events.Attempted):
                tries.setdefault((event.queue_id, event.forward_path), []).append((at, event))
                if event.channel == "direct":
                    result.longest_try = max(result.longest_try, event.seconds)
        for one in self.handed:
            if one.arrival.kind not in ESSENTIAL:
                continue
            for path in one.arrival.forward_paths:
                mine = tries.get((one.accepted.queue_id, path), [])
                if not path.startswith("customer") or any(
                    event.result is events.Result.IN_DOUBT or event.attempts != number
                    for number, (_, event) in enumerate(mine, 1)
                ):
                    continue
                ended = mine[-1][0] if mine else asyncio.get_running_loop().time()
                waited = ended - one.at - sum(max(0, event.seconds) for _, event in mine)
                waited -= sum(max(0, min(b, ended) - max(a, one.at)) for a, b in self.downs)
                result.measured += 1
                result.latest = max(result.latest, waited)


def letter(kind: Kind, number: int, to: str, more_bytes: int) -> bytes:
    """Return a letter that relay takes for one of its kind."""
    fields, body = _LETTERS[kind]
    text = (
        f"From: Me <me@example.com>\nTo: {to}\n{fields}\nMessage-ID: <{number}@pattern.example>\n"
        f"Date: Tue, 20 Oct 2026 12:00:00 +0000\n\n{body}"
    ).replace("{number}", str(number))
    return (text + "x" * more_bytes + "\n").replace("\n", "\r\n").encode()


def run(seed: int, most: int = 400) -> Result:
    """Play a pattern in a folder of its own."""
    where = IN_MEMORY if IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        return virtual.run(_Story(random_pattern(seed, most), Path(folder)).play())

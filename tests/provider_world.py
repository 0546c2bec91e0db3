"""A provider with true counters, a relay's queue in front of it, and a world that goes wrong.

The relay's side is the real one (put, claim, settle, recover on a real database), the clock is
not. The provider counts each transaction at some moment between its claim and its end, in true
time, by the letter of each limit.
"""

from __future__ import annotations

import heapq
import random
import sqlite3
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import resources
from itertools import count
from typing import Protocol

from relay.mail.attempt import Attempt, Outcome, Refused, Sent
from relay.mail.message import Envelope, Message, Origin, message_id
from relay.mail.reply import Phase, make_reply
from relay.policy.kinds import Kind, Reason, Verdict
from relay.policy.ledger import HISTORY, Ledger, reach
from relay.policy.limits import Limit, Unit, Window, from_ms, to_ms
from relay.policy.periods import period
from relay.policy.plan import Plan
from relay.policy.settlement import Done, Later, Settlement
from relay.queue.rows import Lease
from relay.queue.sqlite import charges, claims, upkeep, verbs
from relay.queue.store import Entry, Retention, Room

_MS = timedelta(milliseconds=1)
_BEGIN = to_ms(datetime.fromisoformat("2026-10-20T00:00Z"))  # DST ends on the 25th in Berlin
_TAKEN, _REFUSED = make_reply(250, "2.0.0 taken"), make_reply(450, "4.2.0 not now")
_LONG_AGO = from_ms(_BEGIN) - timedelta(days=400)  # due whatever the clock says
_PLAN, _NUMBERS = Plan(channels=("direct",)), count(1)


class Counter(Protocol):
    """A provider's own count of one limit."""

    def room(self, at_ms: int, amount: int, addresses: tuple[str, ...]) -> bool:
        """Return whether a transaction is allowed."""

    def count(self, at_ms: int, amount: int, addresses: tuple[str, ...]) -> None:
        """Count it."""

    def next_room(self, at_ms: int) -> int:
        """Return when there may be more, after there was none at `at_ms`."""


@dataclass(slots=True)
class _Rolling:
    maximum: int
    per_ms: int
    sent: deque[tuple[int, int]] = field(default_factory=deque)
    total: int = 0

    def room(self, at_ms: int, amount: int, addresses: tuple[str, ...]) -> bool:
        while self.sent and self.sent[0][0] <= at_ms - self.per_ms:
            self.total -= self.sent.popleft()[1]
        return self.total + amount <= self.maximum

    def count(self, at_ms: int, amount: int, addresses: tuple[str, ...]) -> None:
        self.sent.append((at_ms, amount))
        self.total += amount

    def next_room(self, at_ms: int) -> int:
        return self.sent[0][0] + self.per_ms


@dataclass(slots=True)
class _Distinct:
    maximum: int
    per_ms: int
    sent: dict[str, int] = field(default_factory=dict)

    def room(self, at_ms: int, amount: int, addresses: tuple[str, ...]) -> bool:
        gone = at_ms - self.per_ms
        self.sent = {who: at for who, at in self.sent.items() if at > gone}
        return len(self.sent.keys() | set(addresses)) <= self.maximum

    def count(self, at_ms: int, amount: int, addresses: tuple[str, ...]) -> None:
        self.sent.update(dict.fromkeys(addresses, at_ms))

    def next_room(self, at_ms: int) -> int:
        return min(self.sent.values()) + self.per_ms


@dataclass(slots=True)
class _Calendar:
    limit: Limit
    begin: int = -1
    total: int = 0

    def room(self, at_ms: int, amount: int, addresses: tuple[str, ...]) -> bool:
        begin = period(self.limit, at_ms)[0]
        if begin != self.begin:
            self.begin, self.total = begin, 0
        return self.total + amount <= self.limit.maximum

    def count(self, at_ms: int, amount: int, addresses: tuple[str, ...]) -> None:
        self.total += amount

    def next_room(self, at_ms: int) -> int:
        return period(self.limit, at_ms)[1]


@dataclass(slots=True)
class _Reset:
    maximum: int
    per_ms: int
    began: int = -(10**15)
    total: int = 0

    def room(self, at_ms: int, amount: int, addresses: tuple[str, ...]) -> bool:
        return at_ms >= self.began + self.per_ms or self.total + amount <= self.maximum

    def count(self, at_ms: int, amount: int, addresses: tuple[str, ...]) -> None:
        if at_ms >= self.began + self.per_ms:
            self.began, self.total = at_ms, 0
        self.total += amount

    def next_room(self, at_ms: int) -> int:
        return self.began + self.per_ms


@dataclass(slots=True)
class _Bucket:
    limit: Limit
    level: float
    at_ms: int = _BEGIN

    def room(self, at_ms: int, amount: int, addresses: tuple[str, ...]) -> bool:
        refill = (at_ms - self.at_ms) * self.limit.refill / (self.limit.per / _MS)
        self.level, self.at_ms = min(self.limit.maximum, self.level + refill), at_ms
        return self.level + 1e-6 >= amount

    def count(self, at_ms: int, amount: int, addresses: tuple[str, ...]) -> None:
        self.level -= amount

    def next_room(self, at_ms: int) -> int:
        return at_ms + int(self.limit.per / _MS / self.limit.refill) + 1


def counter(limit: Limit) -> Counter:
    """Return the provider's count of a limit."""
    per_ms = limit.per // _MS
    if limit.unit is Unit.DISTINCT_RECIPIENTS:
        return _Distinct(limit.maximum, per_ms)
    match limit.window:
        case Window.ROLLING:
            return _Rolling(limit.maximum, per_ms)
        case Window.CALENDAR:
            return _Calendar(limit)
        case Window.TOKEN_BUCKET:
            return _Bucket(limit, limit.maximum)
        case Window.RESET_ON_FIRST_SEND_AFTER:
            return _Reset(limit.maximum, per_ms)


@dataclass(slots=True)
class Provider:
    """Takes everything, and notes what was over a limit."""

    limits: tuple[Limit, ...]
    counters: tuple[Counter, ...]
    recipients: int = 0
    over: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, limits: tuple[Limit, ...]) -> Provider:
        """Return one that has counted nothing yet."""
        return cls(limits, tuple(map(counter, limits)))

    def has_room(self, at_ms: int, addresses: tuple[str, ...], size_bytes: int) -> bool:
        """Return whether a transaction is allowed by all limits."""
        return all(
            one.room(at_ms, _amount(limit, addresses, size_bytes), addresses)
            for limit, one in zip(self.limits, self.counters, strict=True)
        )

    def take(self, at_ms: int, addresses: tuple[str, ...], size_bytes: int) -> None:
        """Count a transaction."""
        for limit, one in zip(self.limits, self.counters, strict=True):
            amount = _amount(limit, addresses, size_bytes)
            if not one.room(at_ms, amount, addresses):
                self.over.append(f"{limit.name} at {from_ms(at_ms)}")
            one.count(at_ms, amount, addresses)
        self.recipients += len(addresses)


def _amount(limit: Limit, addresses: tuple[str, ...], size_bytes: int) -> int:
    match limit.unit:
        case Unit.MESSAGES:
            return 1
        case Unit.BYTES:
            return size_bytes
        case _:
            return len(addresses)


@dataclass(slots=True, kw_only=True)
class Trouble:
    """How often, in a thousand steps, what happens."""

    restart: int = 0
    kill: int = 0
    step: int = 0
    refusal: int = 0


Mail = tuple[tuple[str, ...], int]
"""Forward-paths and bytes."""


@dataclass
class World:
    """One channel under limits, its provider, and true time."""

    limits: tuple[Limit, ...]
    seed: int
    trouble: Trouble
    longest_send_ms: int
    now_ms: int = _BEGIN
    offset: timedelta = timedelta()  # of the wall clock
    claimed: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.provider = Provider.of(self.limits)
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        schema = resources.files("relay.queue").joinpath("schema")
        for file in sorted(schema.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".sql"):
                self.db.executescript(file.read_text("utf-8"))
        self.ledger: Ledger | None = None
        self.since = self.wall  # beginning of the boot, as the wall clock has it
        self.turns: claims.Turns = {}
        self.flying: list[tuple[int, int, Lease, int]] = []  # end, number, lease, counted at
        self.taken: set[int] = set()

    @property
    def wall(self) -> datetime:
        """Return what the clock of the relay says."""
        return from_ms(self.now_ms) + self.offset

    def run(self, mail: Iterator[Mail], until_ms: int, most: int) -> None:
        """Keep a backlog of `mail` and send until then, or so much."""
        backlog = 0
        while self.now_ms < until_ms and self.provider.recipients < most:
            while backlog < 40:
                backlog += self._put(*next(mail))
            next_at, recipients = self._claim()
            backlog -= recipients
            backlog += self._go_on(next_at, until_ms)
            self._trouble()
        self._land(self.now_ms + self.longest_send_ms)

    def _put(self, paths: tuple[str, ...], size_bytes: int) -> int:
        number, recipients = next(_NUMBERS), len(paths)
        message = Message(
            id=message_id(from_ms(_BEGIN), number),
            received_at=_LONG_AGO,
            envelope=Envelope(reverse_path="a@example.com", forward_paths=paths),
            origin=Origin(listener="127.0.0.1:2525"),
            content=b"x",
        )
        verdict = Verdict(kind=Kind.DIRECT, certainty=1, reasons=(Reason("test", "test"),))
        entry = Entry(
            message=message, subject="", verdict=verdict, plans=(_PLAN,) * recipients,
            channels=("direct",) * recipients,
        )  # fmt: skip
        verbs.put(self.db, entry)
        self.db.execute("UPDATE message SET size_bytes = ? WHERE id = ?", (size_bytes, message.id))
        return recipients

    def _claim(self) -> tuple[int, int]:
        """Begin what may be begun; return when (true ms) to look again, and how much it was."""
        ledger = self._filled()
        room = Room(leases=3, recipients=20, lease_for=timedelta(hours=2))
        claim = claims.claim(self.db, ledger, "direct", room, self.wall, lambda _: None, self.turns)
        for lease in claim.leases:
            lasts = self.chance.randint(0, self.longest_send_ms)
            counted = self.now_ms + self.chance.randint(0, lasts)
            self.claimed += 1
            heapq.heappush(self.flying, (self.now_ms + lasts, self.claimed, lease, counted))
        recipients = sum(len(lease.targets) for lease in claim.leases)
        if claim.next_at is None or len(claim.leases) == room.leases:
            return self.now_ms, recipients
        return max(to_ms(claim.next_at - self.offset), self.now_ms), recipients

    def _filled(self) -> Ledger:
        if self.ledger is None or self.ledger.is_behind(self.wall):
            self.ledger = charges.load_ledger(self.db, "direct", self.limits, self.wall)
        return self.ledger

    def _go_on(self, next_at: int, until_ms: int) -> int:
        """Let time pass until there is news; return how many recipients came back."""
        news = min([next_at, until_ms, *(end for end, *_ in self.flying[:1])])
        self.now_ms = max(self.now_ms + (news <= self.now_ms), news)
        return self._land(self.now_ms)

    def _land(self, up_to_ms: int) -> int:
        """Let the provider count what it got, in order, and settle what has ended."""
        arrived = sorted(
            (counted, number, lease)
            for _, number, lease, counted in self.flying
            if counted <= up_to_ms and number not in self.taken
        )
        for counted, number, lease in arrived:
            self._count(counted, number, lease)
        back = 0
        while self.flying and self.flying[0][0] <= up_to_ms:
            _, number, lease, _ = heapq.heappop(self.flying)
            back += self._settle(lease, refused=self._is_refused(number))
        return back

    def _is_refused(self, number: int) -> bool:
        return hash((self.seed, number)) % 1000 < self.trouble.refusal

    def _count(self, at_ms: int, number: int, lease: Lease) -> None:
        self.taken.add(number)
        if not self._is_refused(number):
            addresses = tuple(target.forward_path for target in lease.targets)
            self.provider.take(at_ms, addresses, lease.charge.size_bytes)

    def _settle(self, lease: Lease, *, refused: bool) -> int:
        """Write down what came of a lease; return how many recipients wait again."""
        outcome: Outcome = Refused(phase=Phase.MAIL, reply=_REFUSED) if refused else Sent(_TAKEN)
        number = len(lease.targets)
        settlement = Settlement(
            dispositions=(Later(_LONG_AGO, "direct", _REFUSED) if refused else Done(_TAKEN),)
            * number,
            judgements=(None,) * number,
            refund_messages=int(refused),
            refund_recipients=number if refused else 0,
        )
        attempt = Attempt(
            channel="direct", upstream="test", started_at=self.wall, ended_at=self.wall,
            outcomes=(outcome,) * number, data_sent=not refused,
        )  # fmt: skip
        charges.settle(self.db, self.ledger, lease, self.wall, settlement)
        verbs.settle(self.db, lease, attempt, settlement, None, ())
        return number if refused else 0

    def _trouble(self) -> None:
        dice = self.chance.randrange(1000)
        trouble = self.trouble
        if dice < trouble.restart and not self.flying:
            self.ledger = None
            self._purge()
            chance = self.chance.random()
            if trouble.step and chance < 0.3:  # set back at a boot
                self.offset -= timedelta(seconds=self.chance.randrange(86400))
                self.since = self.wall
                charges.forget_first_sends(self.db)
            elif trouble.step and chance < 0.6:  # set while it was down, in the same boot
                self._set_clock()
        elif dice < trouble.restart + trouble.kill:
            for _, number, lease, _ in self.flying:
                if number not in self.taken and self.chance.random() < 0.5:
                    self._count(self.now_ms, number, lease)
            self.flying.clear()
            self.ledger = None
            upkeep.recover(self.db, self.wall, _LONG_AGO)
        elif dice < trouble.restart + trouble.kill + trouble.step:
            self._set_clock()

    def _set_clock(self) -> None:
        by = timedelta(seconds=self.chance.randrange(-3 * 86400, 3 * 86400))
        self.offset += by
        charges.shift(self.db, by, self.since)
        self.since += by
        self.ledger = None

    def _purge(self) -> None:
        keep = max([HISTORY, *map(reach, self.limits)])
        retention = Retention(rows=timedelta(), content=timedelta(), charges=keep, contacts=keep)
        upkeep.purge(self.db, retention, self.wall)


SPANS = (
    timedelta(seconds=1), timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=10),
    timedelta(hours=1), timedelta(hours=6), timedelta(days=1), timedelta(days=7),
)  # fmt: skip


def random_limits(chance: random.Random) -> tuple[Limit, ...]:
    """Return one to four limits of any kind."""
    return tuple(_random_limit(chance) for _ in range(chance.randint(1, 4)))


def _random_limit(chance: random.Random) -> Limit:
    unit, per = chance.choice(list(Unit)), chance.choice(SPANS)
    window = chance.choice(list(Window))
    maximum = chance.choice((1, 2, 5, 20, 50, 100, 300))
    if unit is Unit.DISTINCT_RECIPIENTS:
        window = Window.ROLLING
    if unit is Unit.BYTES:
        maximum = max(2, maximum) * 1000
    match window:
        case Window.CALENDAR:
            per = chance.choice((*SPANS[2:5], SPANS[6], SPANS[7]))
            zone = chance.choice(("Europe/Berlin", "UTC", "Asia/Kolkata"))
            return Limit(unit, maximum, per, window=window, timezone=zone)
        case Window.TOKEN_BUCKET:
            refill = max(1, maximum // chance.choice((1, 3, 10)))
            return Limit(unit, maximum, per, window=window, refill=refill)
        case _:
            return Limit(unit, maximum, per, window=window)


def run(seed: int, *, most: int = 300) -> World:
    """Run one pattern with everything that goes wrong; `over` of its provider should be empty."""
    chance = random.Random(seed)
    limits = random_limits(chance)
    is_calendar = any(limit.window is Window.CALENDAR for limit in limits)
    longest = max(limit.per for limit in limits) // _MS
    trouble = Trouble(
        restart=chance.choice((0, 5, 30)),
        kill=chance.choice((0, 5, 30)),
        step=0 if is_calendar else chance.choice((0, 5, 30)),
        refusal=chance.choice((0, 20, 200)),
    )
    world = World(limits, seed, trouble, chance.choice((0, 50, 2000, 60_000)))
    world.run(_mail(chance), _BEGIN + longest * 6, most)
    return world


def utilisation(seed: int, *, most: int = 300) -> tuple[float, World]:
    """Return what is sent in a time, over what exact books would, without kills."""
    chance = random.Random(seed)
    limits = random_limits(chance)
    sizes = [chance.randrange(100, 2000) for _ in range(most)]
    ideal, now_ms = Provider.of(limits), _BEGIN
    longest = max(limit.per for limit in limits) // _MS
    while ideal.recipients < most:
        who = (f"{ideal.recipients % 400}",)
        size_bytes = sizes[ideal.recipients]
        if ideal.has_room(now_ms, who, size_bytes):
            ideal.take(now_ms, who, size_bytes)
            continue
        if now_ms > _BEGIN + 6 * longest:
            break
        now_ms = max(
            one.next_room(now_ms)
            for limit, one in zip(limits, ideal.counters, strict=True)
            if not one.room(now_ms, _amount(limit, who, size_bytes), who)
        )
    world = World(limits, seed, Trouble(), 0)
    mail = (((f"{number % 400}",), size) for number, size in enumerate(sizes + sizes))
    world.run(mail, now_ms + (now_ms - _BEGIN) // 100 + 60_000, ideal.recipients)
    return world.provider.recipients / ideal.recipients, world


def _mail(chance: random.Random) -> Iterator[Mail]:
    while True:
        recipients = chance.choice((1, 1, 1, 2, 5, 30))
        paths = tuple(f"r{chance.randrange(400)}.{n}@x.example" for n in range(recipients))
        yield paths, chance.randrange(100, 2000)

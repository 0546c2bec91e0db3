"""A relay's queue alone under limits, a provider that counts, and a world that goes wrong.

The relay's side is the real one (put, claim, settle, move, recover on a real database, and how
lanes decide what goes by another channel), without sockets and tasks: so thousands of patterns
take minutes. The provider counts each transaction at some moment between its claim and its end, in
true time, by the letter of each limit.
"""

from __future__ import annotations

import heapq
import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from itertools import count

from world.counters import Books, Mail, exact, usable
from world.patterns import random_limits

from relay.delivery.board import Board, Throttle
from relay.delivery.overflow import Moves, diverted, overflowing
from relay.mail.attempt import Attempt, Outcome, Refused, Sent
from relay.mail.message import Envelope, Message, Origin, message_id
from relay.mail.reply import Phase, make_reply
from relay.policy.kinds import ESSENTIAL, Kind, Reason, Verdict
from relay.policy.ledger import HISTORY, Ledger, reach
from relay.policy.limits import Limit, Window, from_ms, to_ms
from relay.policy.plan import Plan
from relay.policy.route import first_channel
from relay.policy.settlement import Done, Later, Settlement
from relay.queue.rows import Claim, Lease
from relay.queue.sqlite import charges, claims, owner, upkeep, verbs
from relay.queue.store import Entry, Retention, Room

_MS = timedelta(milliseconds=1)
_BEGIN = to_ms(datetime.fromisoformat("2026-10-20T00:00Z"))  # DST ends on the 25th in Berlin
_TAKEN, _REFUSED = make_reply(250, "2.0.0 taken"), make_reply(450, "4.2.0 not now")
_NUMBERS = count(1)
_ALONE, _WITH_NATIVE = Plan(channels=("direct",)), Plan(channels=("direct", "native"))
_ROOM = Room(leases=3, recipients=20, lease_for=timedelta(hours=2))
_LONGEST_WAIT = timedelta(hours=1)
_BACKLOG = 40


@dataclass(slots=True, kw_only=True)
class Trouble:
    """How often, in a thousand steps, what happens."""

    restart: int = 0
    kill: int = 0
    step: int = 0
    refusal: int = 0


@dataclass(frozen=True, slots=True)
class Letter:
    """What an application hands in."""

    kind: Kind
    application: str
    paths: tuple[str, ...]
    size_bytes: int
    plan: Plan


class World:
    """A channel under limits and one that is always open, true time, and a clock on the wall."""

    def __init__(
        self, limits: tuple[Limit, ...], seed: int, trouble: Trouble, longest_send_ms: int
    ) -> None:
        self.limits = limits
        self.seed = seed
        self.trouble = trouble
        self.longest_send_ms = longest_send_ms
        self.now_ms = _BEGIN
        self.offset = timedelta()  # of the wall clock
        self.booted_at = self.wall  # as the wall clock has it
        self.books = Books.of(limits)
        self.measured = 0  # essential recipients that might have gone by native
        self.latest_ms = 0  # that one of them waited until its first try
        self._chance = random.Random(seed)
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        schema = resources.files("relay.queue").joinpath("schema")
        for file in sorted(schema.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".sql"):
                self._db.executescript(file.read_text("utf-8"))
        self._ledger: Ledger | None = None
        self._board = Board({})
        self._board.set_channels(("direct", "native"))
        self._turns: claims.Turns = {}
        self._claimed = 0
        self._flying: list[tuple[int, int, Lease, int]] = []  # end, number, lease, counted at
        self._counted: set[int] = set()
        self._since: dict[tuple[int, str], int] = {}  # essential with an alternative; true ms

    @property
    def latest(self) -> timedelta:
        """Return how long one of the essential waited that might have gone by native."""
        return self.latest_ms * _MS

    @property
    def wall(self) -> datetime:
        """Return what the clock of the relay says."""
        return from_ms(self.now_ms) + self.offset

    def run(
        self, mail: Iterator[Letter], until_ms: int, most: int, gap_ms: int | None = None
    ) -> None:
        """Keep a backlog of `mail` and send until then, or so much.

        A letter more comes in each `gap_ms` or so.
        """
        backlog, arrives_ms = 0, until_ms if gap_ms is None else self.now_ms
        while self.now_ms < until_ms and self.books.recipients < most:
            if gap_ms is not None and self.now_ms >= arrives_ms:
                backlog += self._put(next(mail))
                arrives_ms = self.now_ms + self._chance.randint(0, 2 * gap_ms)
            while backlog < _BACKLOG and (letter := next(mail, None)) is not None:
                backlog += self._put(letter)
            look_ms, gone = self._turn()
            backlog -= gone
            if not gone:  # else there may be more at this very moment
                look_ms = max(look_ms, self.now_ms + 1)
            backlog += self._go_on(min(look_ms, arrives_ms, until_ms))
            self._trouble()
        self._land(self.now_ms + self.longest_send_ms)

    # -- the relay ------------------------------------------------------------------------------

    def _put(self, letter: Letter) -> int:
        """Hand a letter in; return how many recipients it has."""
        number, recipients = next(_NUMBERS), len(letter.paths)
        message = Message(
            id=message_id(from_ms(_BEGIN), number),
            received_at=self.wall,
            envelope=Envelope(reverse_path="a@example.com", forward_paths=letter.paths),
            origin=Origin(listener="127.0.0.1:2525", application=letter.application),
            content=b"x",
        )
        verdict = Verdict(kind=letter.kind, certainty=1, reasons=(Reason("test", "test"),))
        closed = self._board.closed(self.wall, verdict.is_essential)
        channel = first_channel(letter.plan.channels, closed)
        entry = Entry(
            message=message, subject="", verdict=verdict, plans=(letter.plan,) * recipients,
            channels=(channel,) * recipients,
        )  # fmt: skip
        verbs.put(self._db, entry)
        self._db.execute(
            "UPDATE message SET size_bytes = ? WHERE id = ?", (letter.size_bytes, message.id)
        )
        if verdict.is_essential and letter.plan is _WITH_NATIVE:
            for path in letter.paths:
                self._since[message.id, path] = self.now_ms
        return recipients

    def _turn(self) -> tuple[int, int]:
        """Do as the lanes do; return when (true ms) to look again, and how much is gone."""
        wall = self.wall
        if "direct" in self._board.closed(wall, is_essential=False):
            self._divert()
        claim = claims.claim(
            self._db, self._filled(), "direct", _ROOM, wall, lambda _: None, self._turns
        )
        for lease in claim.leases:
            self._fly(lease)
        look_at = self._after(claim)
        gone = self._by_native() + sum(len(lease.targets) for lease in claim.leases)
        if look_at is None or len(claim.leases) == _ROOM.leases:
            return self.now_ms, gone
        return max(to_ms(look_at - self.offset), self.now_ms), gone

    def _filled(self) -> Ledger:
        if self._ledger is None or self._ledger.is_behind(self.wall):
            self._ledger = charges.load_ledger(self._db, "direct", self.limits, self.wall)
        return self._ledger

    def _after(self, claim: Claim) -> datetime | None:
        throttled, wall = claim.throttled, self.wall
        if throttled is None or claim.next_at is None:
            self._board.throttle("direct", None)
            return claim.next_at
        throttle = Throttle(throttled.limit, throttled.until, claim.has_reserve)
        self._board.throttle("direct", throttle)
        if "direct" in self._board.closed(wall, is_essential=False):
            self._divert()
        if claim.has_reserve:
            return claim.next_at
        waiting = owner.waiting(
            self._db, "direct", only_alternatives=True, only_essential=True, limit=1000
        )
        full = {**self._board.closed(wall, True, patience=timedelta()), "direct": wall}
        moves, next_at = overflowing(waiting, full, wall)
        owner.move(self._db, moves)
        return min(claim.next_at, next_at or claim.next_at)

    def _divert(self) -> None:
        waiting = owner.waiting(
            self._db, "direct", only_alternatives=True, only_essential=False, limit=1000
        )
        closed = {which: self._board.closed(self.wall, which) for which in (True, False)}
        moves: Moves = diverted("direct", waiting, closed)
        owner.move(self._db, moves)

    def _by_native(self) -> int:
        """Send all that goes by the channel that is open; return how many recipients."""
        room, gone = Room(leases=100, recipients=100, lease_for=_ROOM.lease_for), 0
        nothing = Ledger((), (), self.wall)
        while True:
            claim = claims.claim(
                self._db, nothing, "native", room, self.wall, lambda _: None, self._turns
            )
            for lease in claim.leases:
                self._note_wait(lease)
                self._settle(lease, refused=False)
                gone += len(lease.targets)
            if len(claim.leases) < room.leases:
                return gone

    def _note_wait(self, lease: Lease) -> None:
        for target in lease.targets:
            since = self._since.pop((lease.message_id, target.forward_path), None)
            if since is not None:
                self.measured += 1
                self.latest_ms = max(self.latest_ms, self.now_ms - since)

    # -- time and the provider ------------------------------------------------------------------

    def _fly(self, lease: Lease) -> None:
        self._note_wait(lease)
        lasts = self._chance.randint(0, self.longest_send_ms)
        counted = self.now_ms + self._chance.randint(0, lasts)
        self._claimed += 1
        heapq.heappush(self._flying, (self.now_ms + lasts, self._claimed, lease, counted))

    def _go_on(self, at_most_ms: int) -> int:
        """Let time pass until there is news; return how many recipients came back."""
        news = min([at_most_ms, *(end for end, *_ in self._flying[:1])])
        self.now_ms = max(self.now_ms, news)
        return self._land(self.now_ms)

    def _land(self, up_to_ms: int) -> int:
        """Let the provider count what it got, in order, and settle what has ended."""
        arrived = sorted(
            (counted, number, lease)
            for _, number, lease, counted in self._flying
            if counted <= up_to_ms and number not in self._counted
        )
        for counted, number, lease in arrived:
            self._count(counted, number, lease)
        back = 0
        while self._flying and self._flying[0][0] <= up_to_ms:
            _, number, lease, _ = heapq.heappop(self._flying)
            back += self._settle(lease, refused=self._is_refused(number))
        return back

    def _is_refused(self, number: int) -> bool:
        return hash((self.seed, number)) % 1000 < self.trouble.refusal

    def _count(self, at_ms: int, number: int, lease: Lease) -> None:
        self._counted.add(number)
        if not self._is_refused(number):
            addresses = tuple(target.forward_path for target in lease.targets)
            self.books.take(at_ms, Mail(addresses, lease.charge.size_bytes))

    def _settle(self, lease: Lease, *, refused: bool) -> int:
        """Write down what came of a lease; return how many recipients wait again."""
        outcome: Outcome = Refused(phase=Phase.MAIL, reply=_REFUSED) if refused else Sent(_TAKEN)
        number = len(lease.targets)
        again = Later(self.wall, lease.channel, _REFUSED)
        settlement = Settlement(
            dispositions=(again if refused else Done(_TAKEN),) * number,
            judgements=(None,) * number,
            refund_messages=int(refused),
            refund_recipients=number if refused else 0,
        )
        attempt = Attempt(
            channel=lease.channel, upstream="test", started_at=self.wall, ended_at=self.wall,
            outcomes=(outcome,) * number, data_sent=not refused,
        )  # fmt: skip
        ledger = self._ledger if lease.channel == "direct" else None
        charges.settle(self._db, ledger, lease, self.wall, settlement)
        verbs.settle(self._db, lease, attempt, settlement, None, ())
        return number if refused else 0

    # -- what goes wrong ------------------------------------------------------------------------

    def _trouble(self) -> None:
        dice = self._chance.randrange(1000)
        trouble = self.trouble
        if dice < trouble.restart and not self._flying:
            self._restart()
        elif dice < trouble.restart + trouble.kill:
            self._kill()
        elif dice < trouble.restart + trouble.kill + trouble.step:
            self._set_clock()

    def _set_clock(self) -> None:
        by = timedelta(seconds=self._chance.randrange(-3 * 86400, 3 * 86400))
        self.offset += by
        upkeep.shift(self._db, by, self.booted_at)
        self.booted_at += by
        self._ledger = None

    def _restart(self) -> None:
        self._ledger = None
        self._purge()
        chance = self._chance.random()
        if self.trouble.step and chance < 0.3:  # set back at a boot
            self.offset -= timedelta(seconds=self._chance.randrange(86400))
            self.booted_at = self.wall
            charges.forget_first_sends(self._db)
            upkeep.clamp(self._db, self.wall, self.wall + _LONGEST_WAIT)
        elif self.trouble.step and chance < 0.6:  # set while it was down, in the same boot
            self._set_clock()

    def _kill(self) -> None:
        for _, number, lease, _ in self._flying:
            if number not in self._counted and self._chance.random() < 0.5:
                self._count(self.now_ms, number, lease)
        self._flying.clear()
        self._ledger = None
        upkeep.recover(self._db, self.wall, self.wall)

    def _purge(self) -> None:
        keep = max([HISTORY, *map(reach, self.limits)])
        retention = Retention(rows=timedelta(), content=timedelta(), charges=keep, contacts=keep)
        upkeep.purge(self._db, retention, self.wall)


def run(seed: int, *, most: int = 300) -> World:
    """Run one pattern with everything that goes wrong; `over` of its books should be empty."""
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
    gap_ms = longest // chance.choice((5, 20))
    world.run(_mail(chance), _BEGIN + longest * 6, most, gap_ms)
    return world


def utilisation(seed: int, *, most: int = 300) -> tuple[float, World]:
    """Return in how much of the time that it takes exact books would send the same."""
    chance = random.Random(seed)
    limits = random_limits(chance)
    kind = chance.choice((Kind.INVOICE, Kind.DIRECT))
    sizes = [chance.randrange(100, 1000) for _ in range(most)]
    longest = max(limit.per for limit in limits) // _MS
    mails = [Mail((f"{number % 400}",), size) for number, size in enumerate(sizes)]
    left = usable(limits, is_essential=kind in ESSENTIAL)
    ideal = exact(left, mails, _BEGIN, _BEGIN + 6 * longest)
    passed = int(ideal.last_at - _BEGIN)
    world = World(limits, seed, Trouble(), 0)
    letters = (
        Letter(kind, "shop", mail.addresses, mail.size_bytes, _ALONE)
        for mail in mails[: ideal.recipients]
    )
    if not passed:
        return 1.0, world  # there was room for all at once
    world.run(letters, _BEGIN + 2 * passed + 1, ideal.recipients)
    assert world.books.recipients == ideal.recipients
    return passed / (world.books.last_at - _BEGIN), world


def _mail(chance: random.Random) -> Iterator[Letter]:
    """Yield mail of three applications and all ranks; most bills may take the other channel."""
    while True:
        recipients = chance.choice((1, 1, 1, 2, 5, 30))
        paths = tuple(f"r{chance.randrange(400)}.{n}@x.example" for n in range(recipients))
        kind = chance.choice((Kind.INVOICE, Kind.DIRECT, Kind.DIRECT, Kind.MARKETING))
        is_free = kind is Kind.INVOICE and chance.random() < 0.7
        yield Letter(
            kind,
            chance.choice(("shop", "crm", "blog")),
            paths,
            chance.randrange(100, 2000),
            _WITH_NATIVE if is_free else _ALONE,
        )

"""A mail provider that is played: its own count of what an account sends, its words, its faults.

Its door is a real SMTP server (`Door`); its time is that of the event loop, a virtual one.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from upstream import Answer, Drop, Session, Stall, Then, Upstream, Wait
from world.certificates import Certificates
from world.counters import Books, Mail
from world.words import Said, words_of

from relay.policy.limits import Limit, to_ms

LOGIN, PASSWORD = "me@example.com", "secret"
_MESSAGE_ID = re.compile(rb"(?im)^message-id: *<([^>\r\n]+)>")
_NOBODY = "550 5.1.1 no such user"
_GREYLISTED = "451 4.7.1 Greylisted, please come back in a few minutes"
_BUSY = Then("421 4.3.2 Service not available, closing transmission channel", Drop())
_CUT = Drop(reset=True)
_GREYLIST_SECONDS = 50.0

STEPS = ("greeting", "ehlo", "mail", "rcpt", "data", "dot")
FAULTS = (
    "sign-in refused", "sending disabled", "certificate expired", "certificate self-signed",
    "handshake cut", "no TLS", *(f"busy at {step}" for step in STEPS),
    *(f"cut at {step}" for step in (*STEPS, "content")), "silent at greeting", "silent at dot",
)  # fmt: skip
"""What may be wrong for a while."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message to one recipient, as it was taken."""

    message: str  # its Message-ID
    forward_path: str


@dataclass(slots=True, kw_only=True)
class Provider:
    """One account with one provider, as it is at its end."""

    name: str
    limits: Sequence[Limit]  # of the account's tier
    begins: datetime  # true time when the loop's was 0
    seed: int
    counts_at: str = "dot"  # or rcpt: what it counts each transaction at
    share: float = 1.0  # of the limits that others leave to us
    trembling: float = 0.0  # how often, in each step, something goes wrong by chance
    seconds: tuple[float, float] = (0.01, 0.2)  # that a final dot takes, at least and at most
    fault: str = ""  # of FAULTS
    books: Books = field(init=False)
    delivered: Counter[Delivered] = field(default_factory=Counter)
    refused: int = 0  # transactions over what the account may send
    _theirs: Books | None = field(init=False)  # what is left to us
    _chance: random.Random = field(init=False)
    _greylisted: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.books = Books.of(self.limits)
        self._chance = random.Random(self.seed)
        self._theirs = None
        if self.share < 1:
            self._theirs = Books.of([_less(limit, self.share) for limit in self.limits])

    @property
    def now(self) -> float:
        """Return the true time, in milliseconds since 1970."""
        return to_ms(self.begins) + asyncio.get_running_loop().time() * 1000

    def answer(self, step: str, argument: str, default: Answer, session: Session) -> Answer:
        """Return what is said at a step; `default` refuses what is out of turn."""
        if isinstance(default, str) and default[0] in "45":
            return default
        if (fault := self._fault_at(step)) is not None:
            if step == "dot" and fault is not _BUSY and self._chance.random() < 0.5:
                self._take(session)  # it arrived, though nobody says so
            return fault
        match step:
            case "mail":
                return self._quota("mail", Mail(("",), 0)) or default
            case "rcpt":
                return self._rcpt(argument, default, session)
            case "dot":
                return self._dot(default, session)
            case _:
                return default

    def _fault_at(self, step: str) -> Answer | None:
        words = words_of(self.name)
        match self.fault.partition(" at "):
            case ("sign-in refused", _, _) if step == "auth":
                return self._say(words.sign_in)
            case ("sending disabled", _, _) if step == "mail":
                return self._say([said for said in words.disabled if said.step == "mail"])
            case ("handshake cut", _, _) if step == "starttls":
                return Then("220 2.0.0 go ahead", _CUT)
            case ("no TLS", _, _) if step == "starttls":
                return "454 4.7.0 TLS not available due to temporary reason"
            case ("busy", _, at) if at == step:
                return _BUSY
            case ("cut", _, at) if at == step:
                return _CUT
            case ("silent", _, at) if at == step:
                return Stall()
        if step in STEPS and self._chance.random() < self.trembling:
            return self._chance.choice((_BUSY, _CUT, Drop()))
        return None

    def _say(self, words: Sequence[Said]) -> Answer:
        reply = self._chance.choice(words).reply
        return Then(reply, Drop()) if reply.startswith("421") else reply

    def _rcpt(self, argument: str, default: Answer, session: Session) -> Answer:
        path = _path(argument)
        if path.startswith("nobody"):
            return _NOBODY
        if path.startswith("grey"):
            now = asyncio.get_running_loop().time()
            if now < self._greylisted.setdefault(path, now) + _GREYLIST_SECONDS:
                return _GREYLISTED
        if self.counts_at == "rcpt":
            mail = Mail((path,), 0, is_new=not session.envelope.forward_paths)
            if refusal := self._quota("rcpt", mail):
                return refusal
            self._count(mail)
        return default

    def _dot(self, default: Answer, session: Session) -> Answer:
        if self.counts_at == "dot":
            envelope = session.envelope
            refusal = self._quota("dot", Mail(tuple(envelope.forward_paths), len(envelope.content)))
            if refusal:
                return refusal
        self._take(session)
        return Wait(self._chance.uniform(*self.seconds), default)

    def _quota(self, step: str, mail: Mail) -> Answer | None:
        """Return a refusal if others have left too little of the limits, in words for this step."""
        if self._theirs is None:
            return None
        limit = self._theirs.full(self.now, mail)
        if limit is None:
            return None
        words = words_of(self.name).of_quota(limit.per)
        here = [said for said in words if said.step == step]
        if not here:
            return None  # it says so at another step
        self.refused += 1
        return self._say(here)

    def _take(self, session: Session) -> None:
        envelope = session.envelope
        found = _MESSAGE_ID.search(envelope.content)
        assert found is not None
        for path in envelope.forward_paths:
            self.delivered[Delivered(found[1].decode(), path)] += 1
        if self.counts_at == "dot":
            self._count(Mail(tuple(envelope.forward_paths), len(envelope.content)))

    def _count(self, mail: Mail) -> None:
        """Count a transaction, or one recipient of it."""
        self.books.take(self.now, mail)
        if self._theirs is not None:
            self._theirs.take(self.now, mail)


class Door(Upstream):
    """Where mail comes in. `mend` ends what is wrong, `break_by` begins it."""

    def __init__(self, provider: Provider, certificates: Certificates) -> None:
        """Offer AUTH and STARTTLS."""
        super().__init__(
            accounts={LOGIN: PASSWORD}, mechanisms=("PLAIN", "LOGIN"), tls=certificates.good
        )
        self.provider = provider
        self._certificates = certificates

    def answer(self, step: str, argument: str, default: Answer, session: Session) -> Answer:
        """Return what the provider says."""
        return self.provider.answer(step, argument, default, session)

    def break_by(self, fault: str) -> None:
        """Let something be wrong from now on; connections that were open before are gone."""
        self.provider.fault = fault
        self.tls = {
            "certificate expired": self._certificates.expired,
            "certificate self-signed": self._certificates.self_signed,
        }.get(fault, self._certificates.good)
        self.hang_up()

    def mend(self) -> None:
        """Let nothing be wrong."""
        self.break_by("")


def _less(limit: Limit, share: float) -> Limit:
    return replace(limit, maximum=max(1, int(limit.maximum * share)))


def _path(argument: str) -> str:
    return argument.partition("<")[2].partition(">")[0]

"""How much of its limits a relay uses that always has something to send."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from world import virtual
from world.certificates import certificates
from world.counters import Books, Mail, exact, usable
from world.house import House
from world.patterns import random_limits
from world.provider import Door, Provider
from world.story import BEGIN, IN_MEMORY, letter

from relay.policy.kinds import Kind
from relay.policy.limits import Limit, to_ms

_SETTINGS = """\
hostname: relay.example.com
http: null
retry: {{delay_notice_after: null}}
channels:
  direct: {{smtp: {{host: 127.0.0.1, port: {port}, security: none}}, max_recipients: 1}}
"""
_SHORTEST = timedelta(minutes=1)  # of windows that some milliseconds a message do not matter to
_LONGEST = timedelta(days=99)
_WINDOWS = 4  # in which not all may be sent


def used(seed: int, most: int = 300) -> float:
    """Return in how much of the time that it takes exact books would send the same.

    A relay has bills, or newsletters that have to leave a reserve, and nothing goes wrong.
    """
    chance = random.Random(seed)
    kind = chance.choice((Kind.INVOICE, Kind.MARKETING))
    limits = tuple(limit for limit in random_limits(chance) if limit.per >= _SHORTEST)
    if not limits:
        return used(seed + 1_000_000, most)
    contents = [letter(kind, number, _to(number), 0) for number in range(most)]
    ideal = _ideal(limits, contents, is_essential=kind is Kind.INVOICE)
    if ideal.last_at - to_ms(BEGIN) < _SHORTEST.total_seconds() * 1000:
        return 1.0  # there was room for all at once
    where = IN_MEMORY if IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        story = _play(seed, limits, contents[: ideal.recipients], Path(folder))
        last_at = virtual.run(story)
    return (ideal.last_at - to_ms(BEGIN)) / (last_at - to_ms(BEGIN))


def _to(number: int) -> str:
    return f"customer{number % 200}@example.net"


def _ideal(limits: Sequence[Limit], contents: Sequence[bytes], *, is_essential: bool) -> Books:
    until = BEGIN + _WINDOWS * max(limit.per for limit in limits)
    mails = [Mail((_to(number),), len(content)) for number, content in enumerate(contents)]
    return exact(usable(limits, is_essential=is_essential), mails, to_ms(BEGIN), to_ms(until))


async def _play(
    seed: int, limits: Sequence[Limit], contents: Sequence[bytes], folder: Path
) -> float:
    """Return when the last one was taken, as the provider counts the milliseconds."""
    provider = Provider(
        name="fastmail", limits=limits, begins=BEGIN, seed=seed, seconds=(0.001, 0.02)
    )
    async with Door(provider, certificates()) as door:
        settings = _SETTINGS.format(port=door.port)
        house = House(folder, settings, {"direct": limits}, BEGIN, seed, timedelta(minutes=15))
        await house.start()
        for number, content in enumerate(contents):
            await house.hand_in(content, (_to(number),), "shop")
        await door.wait_until(
            lambda: provider.books.recipients == len(contents), seconds=_LONGEST.total_seconds()
        )
        await house.stop()
    assert provider.books.over == []
    return provider.books.last_at

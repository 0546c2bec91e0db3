"""The mail exchangers of a domain: the one question that DNS is asked beside addresses."""

from __future__ import annotations

from dns.asyncresolver import Resolver
from dns.exception import DNSException
from dns.rdatatype import MX

_SECONDS = 5.0


async def mail_exchangers(domain: str, resolver: Resolver | None = None) -> tuple[str, ...]:
    """Return the hosts that take mail for `domain`, the preferred one first; () if not to be had.

    It only helps to know the provider, so that nothing goes wrong without an answer.
    """
    try:
        asked = resolver or Resolver()
        answer = await asked.resolve(domain, MX, lifetime=_SECONDS, search=False)
    except (DNSException, OSError, ValueError):
        return ()
    records = sorted(answer, key=lambda record: int(record.preference))
    return tuple(str(record.exchange).rstrip(".").lower() for record in records)

"""The certificate of a server that failed its check: looked at again, to be told to a person."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from relay.channels.smtp_session import Session, tls_context
from relay.mail.reply import make_reply

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, Name

_SECONDS = 15.0
_MOST_NAMES = 6

Dial = Callable[[Session], Awaitable[None]]


async def shown(error: Exception, session: Session, dial: Dial = Session.open) -> str:
    """Return a sentence on the certificate for which `session` was not opened; "" for other faults.

    OpenSSL forgets a certificate that it refuses. So it is asked for once more, by `dial`, on a
    connection that nobody signs in to.
    """
    if not isinstance(error, ssl.SSLCertVerificationError):
        return ""
    options = replace(session.options, verify=False, username=None)
    other = Session(options, lambda: tls_context(options))
    try:
        async with asyncio.timeout(_SECONDS):
            await dial(other)
        transport = other.protocol.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        der = tls.getpeercert(binary_form=True) if tls is not None else None
        return "" if der is None else in_words(der)
    except Exception:  # without it there is a little less to tell
        return ""
    finally:
        other.abort()


def in_words(der: bytes) -> str:
    """Return a sentence on a certificate: whose it is, by whom, for what names, and since when.

    Raises ValueError.
    """
    from cryptography.x509 import load_der_x509_certificate

    certificate = load_der_x509_certificate(der)
    names = list(dict.fromkeys(_names(certificate)))
    listed = ", ".join(names[:_MOST_NAMES]) or "no name"
    more = len(names) - _MOST_NAMES
    is_own = certificate.issuer == certificate.subject
    since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    words = (
        f"It shows a certificate of {_name(certificate.subject)},"
        f" issued by {'itself' if is_own else _name(certificate.issuer)}"
        f" for {listed}{f' and {more} more' if more > 0 else ''},"
        f" valid from {since:%Y-%m-%d} to {until:%Y-%m-%d}."
    )
    return " ".join(make_reply(250, words).text.split())


def _names(certificate: Certificate) -> Iterator[str]:
    """Yield the names that it is good for (RFC 9525 §6: the subject is none of them)."""
    from cryptography.x509 import (
        DNSName,
        ExtensionNotFound,
        IPAddress,
        SubjectAlternativeName,
    )

    try:
        alternative = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return
    yield from alternative.get_values_for_type(DNSName)
    yield from map(str, alternative.get_values_for_type(IPAddress))


def _name(name: Name) -> str:
    """Return the most telling part of a distinguished name."""
    from cryptography.x509.oid import NameOID

    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(oid):
            return str(attribute.value)
    return name.rfc4514_string() or "nobody"

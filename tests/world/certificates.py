"""Certificates of a server that is played: a good one, an expired one, one that nobody signed."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a server shows, and the authority that has signed two of them."""

    authority: bytes  # PEM
    good: ssl.SSLContext
    expired: ssl.SSLContext
    self_signed: ssl.SSLContext


@cache
def certificates() -> Certificates:
    """Return certificates for 127.0.0.1, made once."""
    now = datetime.now(UTC)
    authority_key, authority = ec.generate_private_key(ec.SECP256R1()), _name("authority.test")
    root = _sign(authority_key, authority, authority_key, authority, now + 99 * _DAY, is_ca=True)
    contexts = []
    for until, is_own in ((now + 99 * _DAY, False), (now - _DAY, False), (now + 99 * _DAY, True)):
        key, name = ec.generate_private_key(ec.SECP256R1()), _name("127.0.0.1")
        by, issuer = (key, name) if is_own else (authority_key, authority)
        contexts.append(_context(key, _sign(key, name, by, issuer, until)))
    return Certificates(root.public_bytes(Encoding.PEM), *contexts)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _sign(
    key: ec.EllipticCurvePrivateKey,
    name: x509.Name,
    by: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    until: datetime,
    *,
    is_ca: bool = False,
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - 200 * _DAY)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(by, SHA256())
    )


def _context(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "server.pem")
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
        context.load_cert_chain(file)
    return context

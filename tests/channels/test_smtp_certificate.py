"""What is told of a certificate that failed its check."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from relay.channels.options import Security, SmtpOptions
from relay.channels.smtp import SmtpChannel
from relay.channels.smtp_certificate import in_words
from relay.mail.reply import Phase
from relay.providers.replies import ReplyDictionary
from tests.channels.test_smtp_channel import PARCEL
from tests.upstream import Drop, Upstream

CERTIFICATES = Path(__file__).parent.parent / "certificates"


def certificate(subject: x509.Name, issuer: x509.Name, *names: x509.GeneralName) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2019, 1, 2, tzinfo=UTC))
        .not_valid_after(datetime(2020, 3, 4, tzinfo=UTC))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


def name(**parts: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(getattr(NameOID, part), value) for part, value in parts.items()]
    )


HOST = name(COMMON_NAME="mail.example.com")
CA = name(COUNTRY_NAME="DE", ORGANIZATION_NAME="A Good Authority")
DATES = "valid from 2019-01-02 to 2020-03-04."
MANY = tuple(x509.DNSName(f"{number}.example.com") for number in range(9))


@pytest.mark.parametrize(
    ("der", "words"),
    [
        (
            certificate(HOST, CA, x509.DNSName("*.example.com"), x509.DNSName("*.example.com")),
            "mail.example.com, issued by A Good Authority for *.example.com",
        ),
        (certificate(HOST, HOST), "mail.example.com, issued by itself for no name"),
        (
            certificate(HOST, CA, x509.IPAddress(ip_address("192.0.2.1"))),
            "mail.example.com, issued by A Good Authority for 192.0.2.1",
        ),
        (
            certificate(HOST, CA, *MANY),
            "mail.example.com, issued by A Good Authority for "
            + ", ".join(f"{number}.example.com" for number in range(6))
            + " and 3 more",
        ),
        (
            certificate(x509.Name([]), name(COMMON_NAME="a\r\n\x1b[31mb"), x509.DNSName("a")),
            "nobody, issued by a [31mb for a",
        ),
    ],
)
def test_a_certificate_is_told_in_a_sentence(der: bytes, words: str):
    assert in_words(der) == f"It shows a certificate of {words}, {DATES}"


def test_what_is_no_certificate_is_no_sentence():
    with pytest.raises(ValueError, match="asn1"):
        in_words(b"nonsense")


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("greeting", [None, Drop()])
def test_the_pause_of_a_channel_says_which_certificate_it_was(run, implicit, greeting):
    """Also when the server does not let itself be asked a second time: then without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "elsewhere.example.pem")
    said = ["220 upstream.test ESMTP"] * (not implicit) + [greeting] if greeting else []

    async def story():
        async with Upstream({"greeting": said}, tls=context, implicit=implicit) as upstream:
            options = SmtpOptions(
                host="localhost",
                port=upstream.port,
                security=Security.IMPLICIT if implicit else Security.STARTTLS,
                ca_file=str(CERTIFICATES / "ca.pem"),
            )
            channel = SmtpChannel("direct", options)
            (outcome, *_) = (await channel.send(PARCEL)).outcomes
            await channel.close()
            assert outcome.phase == (Phase.TLS if implicit else Phase.STARTTLS)
            judgement = ReplyDictionary.load().judge(outcome, provider=None)
            assert judgement.entry == "tls-host-mismatch"
            is_told = "for elsewhere.example, valid from " in judgement.cause
            assert is_told == (greeting is None)
            assert "It shows" not in str(outcome.reply)

    run(story())

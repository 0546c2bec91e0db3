"""Mail clients, programs and offices are told apart by their names."""

import pytest

from relay.policy.classify_signals import header_signals, sender_signals
from relay.policy.evidence import Evidence


@pytest.mark.parametrize(
    ("mailer", "signal"),
    [
        ("Microsoft Outlook 16.0", "mailer.client"),
        ("Mozilla/5.0 (X11; Linux) Thunderbird/115.3", "mailer.client"),
        ("iPhone Mail (21F90)", "mailer.client"),
        ("Roundcube Webmail/1.6.6", "mailer.client"),
        ("The Bat! (v10.5) Professional", "mailer.client"),
        ("Zoho Mail", "mailer.client"),
        ("Mail.Ru Mailer 1.0", "mailer.client"),
        ("PHPMailer 6.8.1", "mailer.program"),
        ("PHP/7.4.33", "mailer.program"),
        ("SAP NetWeaver 7.4", "mailer.program"),
        ("Zoho Books", "mailer.program"),
        ("MailChimp Mailer", "mailer.list"),
        ("Something Else 1.0", "mailer.unknown"),
    ],
)
def test_a_mail_program_is_known_by_its_name(mailer, signal):
    names = {found.name for found in header_signals(Evidence(headers={"x-mailer": mailer}))}
    assert signal in names


@pytest.mark.parametrize(
    ("name", "address", "signal"),
    [
        ("", "no-reply@shop.example", "sender.noreply"),
        ("", "keineantwort@shop.example", "sender.noreply"),
        ("", "newsletter@shop.example", "sender.bulk"),
        ("", "billing@shop.example", "sender.role"),
        ("", "facturation@shop.example", "sender.office"),
        ("", "anna.berg@shop.example", "sender.person"),
        ("Anna Berg", "anna.berg@shop.example", "name.person"),
        ("Zoë Müller", "zoe.muller@shop.example", "name.person"),
        ("Berg & Söhne GmbH", "anna.berg@shop.example", "name.company"),
        ("株式会社山田商店", "info@shop.example", "name.company"),
    ],
)
def test_a_sender_is_known_by_name_and_address(name, address, signal):
    found = sender_signals(Evidence(sender=address, sender_name=name))
    assert signal in {one.name for one in found}

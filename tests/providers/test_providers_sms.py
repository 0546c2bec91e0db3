"""Which addresses are telephones."""

import pytest

from relay.providers.sms import load_gateways

GATEWAYS = load_gateways()


@pytest.mark.parametrize(
    ("addresses", "is_sms"),
    [
        (["5551234567@vtext.com"], True),
        (["5551234567@VTEXT.COM."], True),
        (["+491701234567@sms.example.com"], True),
        (["5551234567@vtext.com", "anna@example.com"], False),
        (["anna@example.com"], False),
        (["123456789@qq.com"], False),
        (["anna@docomo.ne.jp"], False),
        (["09012345678@docomo.ne.jp"], True),
        (["1234@example.com"], False),
    ],
)
def test_text_messages_are_known_by_their_address(addresses, is_sms):
    assert (GATEWAYS.of_all(addresses) is not None) is is_sms

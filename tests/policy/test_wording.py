"""Letters are compared in one form, whatever the script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.policy.folding import fold

FOREIGN = "のノ" * 40  # folds to itself; beside so much of it letters are folded all together


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("RECHNUNG", "rechnung"),
        ("Größe für Ännchen", "grosse fur annchen"),
        ("“l’été” – 5 €", "“l'ete” – 5 €"),
        ("İŞLEM ılık", "islem ilik"),
        ("PrestaShop™ Ⅳ Å", "prestashopTM iv a"),
        ("soft\u00adware \u200bx", "software x"),
        ("Счёт № ٣", "счет No 3"),
        ("half \ud800 ü", "half \ud800 u"),
    ],
)
def test_letters_are_compared_in_one_form(text, folded):
    assert fold(text) == folded


@given(st.text(st.characters(max_codepoint=0x2FFF) | st.sampled_from("äöüßéşİ’–€™\u0301")))
def test_a_letter_folds_to_the_same_in_any_script(text):
    assert fold(text) + FOREIGN == fold(text + FOREIGN)

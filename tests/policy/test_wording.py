"""Letters are compared in one form, and text is taken apart into words, whatever its script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.policy.folding import fold
from relay.policy.wording import split_words

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


@pytest.mark.parametrize(
    ("text", "words", "figures"),
    [
        ("", [], []),
        (
            "invoice no. 2026-118/b, 5% off",
            ["invoice", "no", "2026-118/b,", "5", "%", "off"],
            [2, 3, 4],
        ),
        ("#7", ["#", "7"], [0, 1]),
        ("a_b c3d", ["a", "b", "c", "3d"], [3]),
        ("счет №7", ["счет", "№", "7"], [1, 2]),
    ],
)
def test_a_text_is_words_and_figures(text, words, figures):
    assert split_words(text) == (words, figures)


@given(st.text("abz019 .,:/-_#%\n(\x85"))
def test_words_are_the_same_beside_another_script(text):
    words, figures = split_words(text)
    assert split_words(f"{text} ж") == ([*words, "ж"], figures)

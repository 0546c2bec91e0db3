"""The lexicon files are whole, and the words in them are found."""

import pytest

from relay.inspect.lexica import LexiconError, load_lexicon, parse_lexicon, shipped_phrases
from relay.policy.folding import fold
from relay.policy.phrases import Concept

LEXICON = load_lexicon()


def test_every_language_names_its_documents():
    by_language: dict[str, set[Concept]] = {}
    for phrase in shipped_phrases():
        by_language.setdefault(phrase.language, set()).add(phrase.concept)
    for language, concepts in by_language.items():
        assert {Concept.INVOICE, Concept.QUOTE} <= concepts, language


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (["a"], "expected a mapping"),
        ({"language": "xx", "bills": "a"}, "unknown heading 'bills'"),
        ({"language": "xx", "invoice": ["a"]}, "expected phrases separated by commas"),
        ({"language": "xx", "invoice": "a,, b"}, "two commas"),
        ({"language": "xx", "invoice": "a =much"}, "expected a number"),
    ],
)
def test_a_mistake_in_a_file_is_told_in_words(data, message):
    with pytest.raises(LexiconError, match=message):
        list(parse_lexicon(data, "xx.yaml"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ihre Rechnung Nr. 2024-118", [(Concept.INVOICE, "2024-118")]),
        ("SCHLUSSRECHNUNG 118", [(Concept.INVOICE, "118")]),
        ("Rechnungsadresse 118", []),
        ("We received your kind payment", [(Concept.PAID, None)]),
        ("facture d’avoir 1277", [(Concept.CREDIT_NOTE, "1277")]),
        ("Invoice tips for 2025", []),
        ("ihre rechnung über 1.190,00 EUR", [(Concept.INVOICE, None)]),
    ],
)
def test_words_are_found_with_the_numbers_next_to_them(text, found):
    hits = LEXICON.find(fold(text))
    kept = [(hit.concept, hit.number) for hit in hits if hit.concept is not Concept.NUMBER]
    assert kept == found

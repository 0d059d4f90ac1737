"""Which text search configuration the name of a language means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.languages import configuration_of, names_no_language

KNOWN = {"simple", "english", "german", "portuguese", "norwegian", "russian", "serbian"}


@pytest.mark.parametrize(
    ("stated", "configuration"),
    [
        ("de", "german"),
        ("DE", "german"),
        ("de-AT", "german"),
        ("de_DE.UTF-8", "german"),
        ("ger", "german"),
        ("deu", "german"),
        (" German ", "german"),
        ("pt-BR", "portuguese"),
        ("nb", "norwegian"),
        ("nn-NO", "norwegian"),
        ("sr-Latn-RS", "serbian"),
        ("simple", "simple"),
        # Languages without a dictionary: words as they are, and not by the rules of another language.
        ("th", "simple"),
        ("zh-Hant-TW", "simple"),
        ("ja", "simple"),
        ("pl", "simple"),
        ("tha", "simple"),
        ("sw", "simple"),
        # None of these is a language here.
        ("klingon", None),
        ("tlh", None),
        ("xx", None),
        ("de, en", None),
        ("d", None),
        ("-", None),
        ("Deutsch", None),
        ("polish", None),
        ("text/html", None),
    ],
)
def test_a_name_means_a_configuration(stated: str, configuration: str | None) -> None:
    assert configuration_of(stated, KNOWN) == configuration


def test_a_configuration_of_the_operator_is_used() -> None:
    """PostgreSQL ships none for Polish; a database may have one."""
    assert configuration_of("pl-PL", KNOWN | {"polish"}) == "polish"
    assert configuration_of("legal_german", KNOWN | {"legal_german"}) == "legal_german"


@pytest.mark.parametrize("stated", ["und", "UND", "mul", "zxx", "mis"])
def test_tags_for_no_certain_language(stated: str) -> None:
    assert names_no_language(stated)
    assert not names_no_language("de")


@given(st.text(max_size=80))
def test_any_text_is_a_known_configuration_or_none(stated: str) -> None:
    assert configuration_of(stated, KNOWN) in {*KNOWN, None}

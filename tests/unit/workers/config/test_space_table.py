"""[space.NAME] of freshet.toml: what it becomes, and what cannot be meant."""

import pytest

from corpus.embed.spec import SpaceChoice
from tests.support.refusing import refused
from workers.config.file import parse

SOURCES = '[source.a]\n[source.b]\nprefix = "passage: "\ncontext = "headings"\n'


def test_a_table_names_a_space_as_its_sources_do() -> None:
    text = (
        SOURCES + '[space.one]\nvectors = "half"\n'
        '[space.two]\nprefix = "passage: "\ncontext = "headings"\nvectors = "full"\n'
    )
    model = "all-MiniLM-L6-v2"
    assert parse(text).spaces == (
        SpaceChoice(name="one", model=model, prefix="", context="none", vectors="half"),
        SpaceChoice(
            name="two", model=model, prefix="passage: ", context="headings", vectors="full"
        ),
    )
    assert parse(SOURCES).spaces == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[space.one]", "space.one.vectors is missing"),
        (
            '[space.one]\nvectors = "int8"',
            "space.one.vectors = \"int8\": input should be 'full', 'half_index' or 'half'",
        ),
        (
            '[space.one]\nvectors = "half"\nsize = 3',
            "space.one.size is not a setting; known there: model",
        ),
        (
            '[space.one]\nvectors = "half"\nmodel = "other"',
            "space.one is of model 'other', prefix '' and context 'none', which no source of this file has",
        ),
        (
            '[space.one]\nvectors = "half"\n[space.two]\nvectors = "half"',
            "space.one and space.two are one space",
        ),
    ],
)
def test_spaces_that_cannot_be_meant(text: str, said: str) -> None:
    assert said in refused(SOURCES + text)

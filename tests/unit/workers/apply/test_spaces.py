"""Embedding spaces of a plan: which are registered, in which precision, and what is refused."""

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest

from corpus.embed.model_files import read_embedding_spec
from corpus.errors import ConfigurationError
from tests.support.fake_rows import Database
from workers.apply import spaces
from workers.apply.change import Action, Change
from workers.apply.kind import Services, Target
from workers.apply.spaces import Spaces
from workers.config.file import parse


def compared(text: str, *rows: dict[str, Any]) -> list[Change[Any]]:
    connection = Database(registered_spaces=list(rows))
    given: dict[str, Any] = {"connection": connection, "cluster": None, "client": None}
    services = Services(**given)
    target = Target(config=parse(text))
    return asyncio.run(Spaces().compare(services, target))


def test_sources_with_one_model_share_a_space() -> None:
    text = '[source.a]\n[source.b]\n[source.c]\nprefix = "passage: "'
    changes = compared(text)
    assert [change.action for change in changes] == [Action.CREATE] * 2
    again = compared(text, space_row())
    assert [change.action for change in again] == [Action.UNCHANGED, Action.CREATE]


def space_row(**columns: Any) -> dict[str, Any]:
    """The space of the default model."""
    fingerprint = read_embedding_spec("all-MiniLM-L6-v2").fingerprint()
    return {"fingerprint": fingerprint, "vectors": "full", "has_half": False} | columns


@pytest.mark.parametrize("vectors", ["full", "half_index", "half"])
def test_a_space_that_no_table_names_stays_as_it_is(vectors: str) -> None:
    [change] = compared("[source.a]", space_row(vectors=vectors, has_half=vectors == "half"))
    assert change.action is Action.UNCHANGED


@pytest.mark.parametrize("vectors", ["half_index", "half"])
def test_the_precision_of_a_space_is_changed_where_a_table_says_so(vectors: str) -> None:
    text = f'[source.a]\n[space.s]\nvectors = "{vectors}"'
    [change] = compared(text, space_row())
    assert change.action is Action.CHANGE
    assert change.fields == (("vectors", "full", vectors),)
    [again] = compared(text, space_row(vectors=vectors))
    assert again.action is Action.UNCHANGED
    [new] = compared(text)
    assert (new.action, new.desired.vectors) == (Action.CREATE, vectors)


def test_what_was_kept_in_half_precision_does_not_become_full_again() -> None:
    text = '[source.a]\n[space.s]\nvectors = "full"'
    [change] = compared(text, space_row(vectors="half_index"))
    assert change.fields == (("vectors", "half_index", "full"),)
    with pytest.raises(
        ConfigurationError, match=r"^space\.s\.vectors = 'full': .*write half_index"
    ):
        compared(text, space_row(vectors="half_index", has_half=True))


@pytest.mark.parametrize(
    ("dimensions", "table", "wanted"),
    [
        (2_000, "", "full"),
        (2_001, "", "half_index"),
        (4_000, 'vectors = "half"', "half"),
        (
            2_001,
            'vectors = "full"',
            "2,001 dimensions, and an index of full precision holds at most 2,000",
        ),
        (4_001, "", "4,001 dimensions, and a vector index holds at most 4,000"),
        (4_001, 'vectors = "half"', "source.a.model: model 'm' makes vectors of 4,001"),
    ],
)
def test_an_index_holds_so_many_dimensions(
    dimensions: int, table: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(read_embedding_spec("all-MiniLM-L6-v2"), model="m", dimensions=dimensions)
    monkeypatch.setattr(spaces, "read_embedding_spec", lambda *_: spec)
    text = "[source.a]\n" + (f"[space.s]\n{table}" if table else "")
    if " " in wanted:
        with pytest.raises(ConfigurationError, match=re.escape(wanted)):
            compared(text)
        return
    [change] = compared(text)
    assert change.desired.vectors == wanted


def test_a_model_that_is_missing_names_its_source() -> None:
    with pytest.raises(ConfigurationError, match=r"^source\.a\.model = '/no/such/model': "):
        compared('[source.a]\nmodel = "/no/such/model"')

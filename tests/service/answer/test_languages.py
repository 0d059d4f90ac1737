"""Text search: the terms of a question are those of each source's own dictionary."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.pipeline import Pipeline, make_event

QUESTION = "university organisation study"


@pytest.fixture
def german(pipeline: Pipeline, tmp_path: Path, cleaner: Any):
    """A German source, first by name, beside the English one."""
    with Pipeline(
        pipeline.database_url,
        tmp_path / "german",
        source="a-german",
        cleaner=cleaner,
        text_search_language="german",
    ) as made:
        made.ingest(make_event("g", 1, "Die Fischer reparieren ihre Netze."))
        pipeline.ingest(make_event("e", 1, "The universities were organising studies."))
        yield made


@pytest.mark.parametrize("sources", [(), ("s",), ("a-german", "s")], ids=repr)
@pytest.mark.parametrize("mode", ["text", "hybrid"])
def test_each_source_is_searched_with_its_own_dictionary(
    german: Pipeline, pipeline: Pipeline, sources: tuple[str, ...], mode: str
) -> None:
    found = [hit.document_id for hit in pipeline.search(QUESTION, mode=mode, sources=sources)]
    assert found[0] == "e"
    fished = pipeline.search("repariert ein Netz", mode=mode, sources=sources)
    assert ([hit.document_id for hit in fished][:1] == ["g"]) is (sources != ("s",))


def test_the_best_of_both_languages_comes_first(german: Pipeline, pipeline: Pipeline) -> None:
    """One order of hits over both: k is the number of hits of all sources together."""
    german.ingest(*(make_event(f"g{n}", 1, f"Ein Bericht über Berlin, Teil {n}") for n in range(5)))
    pipeline.ingest(*(make_event(f"e{n}", 1, f"A report about Berlin, part {n}") for n in range(5)))
    hits = pipeline.search("Berlin", mode="text", k=4)
    assert len(hits) == 4
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    both = pipeline.search("Berlin", mode="text", k=10)
    assert len({hit.document_id for hit in both}) == 10


def test_as_of_an_instant_too(german: Pipeline, pipeline: Pipeline) -> None:
    report = pipeline.ingest(make_event("later", 1, "Universities organise studies again."))
    pipeline.ingest(make_event("later", 2, op="delete"))
    hits = pipeline.search(QUESTION, mode="text", as_of_batch=report.batch, sources=("s",))
    assert {hit.document_id for hit in hits} == {"e", "later"}


def test_sql_clients_get_the_same(german: Pipeline, pipeline: Pipeline) -> None:
    statement = "SELECT document_id FROM freshet.search(NULL, %s, 5, 'text')"
    assert pipeline.connection.execute(statement, (QUESTION,)).fetchall() == [("e",)]
    forced = f"{statement[:-1]}, p_language => 'german')"
    assert pipeline.connection.execute(forced, (QUESTION,)).fetchall() == []

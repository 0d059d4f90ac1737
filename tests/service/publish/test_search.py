"""Searches of published chunks: k hits where k exist, and vectors of one space only."""

import psycopg
import pytest

from tests.support.pipeline import Pipeline, make_event


def test_k_hits_when_k_exist_under_a_narrow_filter(pipeline: Pipeline) -> None:
    """pgvector's default returned nothing here: the filter is applied after the index scan."""
    pipeline.ingest(
        *(
            make_event(
                f"d{n}",
                1,
                f"document number {n} about weirs",
                metadata={"team": "rare" if n % 100 == 0 else "many"},
            )
            for n in range(1500)
        )
    )
    for mode in ("vector", "text", "hybrid"):
        hits = pipeline.search("weirs", k=10, mode=mode, metadata='{"team": "rare"}')
        assert len(hits) == 10
        assert len({hit.chunk_id for hit in hits}) == 10


def test_k_hits_by_text_though_the_rare_term_has_fewer(pipeline: Pipeline) -> None:
    """Common terms widen the search where the rare ones yield fewer than k hits, alone or under a filter."""
    team = {0: "rare"}
    events = [
        make_event(
            f"d{n}",
            1,
            f"document about {'sluices and ' if n < 3 else ''}weirs",
            metadata={"team": team.get(n % 100, "many")},
        )
        for n in range(6000)
    ]
    for start in range(0, len(events), 2000):
        pipeline.ingest(*events[start : start + 2000])
    hits = pipeline.search("sluices weirs", k=10, mode="text")
    assert [hit.document_id for hit in hits[:3]] == ["d0", "d1", "d2"]
    assert len({hit.chunk_id for hit in hits}) == 10
    narrow = pipeline.search("sluices weirs", k=10, mode="text", metadata='{"team": "rare"}')
    assert len({hit.chunk_id for hit in narrow}) == 10
    assert {hit.metadata for hit in narrow} == {'{"team": "rare"}'}


def test_a_query_of_another_space_is_refused_by_the_database(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    with pytest.raises(psycopg.Error) as caught:
        pipeline.connection.execute(
            "SELECT * FROM freshet.search('[1,2,3]'::vector, NULL, 5, 'vector')"
        )
    assert caught.value.sqlstate == "FR001"
    with pytest.raises(psycopg.errors.CheckViolation):
        pipeline.connection.execute("UPDATE freshet.chunk SET embedding = '[1,2,3]'")

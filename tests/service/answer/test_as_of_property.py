"""As of every instant of a random history, a search by vector returns what was visible then, by index or without.

The oracle is what readers saw right after each batch, and exact distances over all rows of the history.
"""

import random
from datetime import datetime
from typing import Any

import pytest

from corpus.embed.embedder import Vectors
from corpus.embed.space_indexes import build_missing
from tests.support.pipeline import Pipeline, make_event

pytestmark = [pytest.mark.service, pytest.mark.timeout(240)]
STEPS = 28
NAMES = [f"d{n}" for n in range(6)]
WORDS = ("weir", "gauge", "level", "river", "lock", "tide", "flood", "bridge")
# (chunk id, distance rounded)
Found = list[tuple[int, float]]
EXACT = """
SELECT c.chunk_id, round((coalesce(c.embedding, c.embedding_half::vector) <=> %(query)s)::numeric, 5)::float8
  FROM freshet.chunk c
  JOIN freshet.document d ON d.source = c.source AND d.document_id = c.document_id AND c.chunk_id = ANY(d.chunk_ids)
       AND d.visible_from <= %(at)s AND coalesce(d.visible_to > %(at)s, true)
 WHERE c.visible_from <= %(at)s AND coalesce(c.visible_to > %(at)s, true)
   AND (%(metadata)s::jsonb IS NULL OR d.metadata @> %(metadata)s::jsonb)
 ORDER BY 2, 1 LIMIT %(k)s"""
SEARCHED = """
SELECT s.chunk_id, round((1 - s.score)::numeric, 5)::float8
  FROM freshet.search(%(query)s, NULL, %(k)s, 'vector', NULL, %(sources)s::text[], %(metadata)s::jsonb, %(at)s) s"""


def _prefer_indexes(pipeline: Pipeline) -> None:
    """Nothing is so little that a search compares with all of it, and closed chunks have an index at once."""
    for name, before, after in (
        ("freshet.few_of_then(timestamptz, text[])", ":= 3000", ":= 0"),
        (
            "freshet.chunks_with_metadata_then(jsonb, text[], timestamptz)",
            "v_most_versions constant integer := 20000",
            "v_most_versions constant integer := -1",
        ),
        ("freshet.vector_indexes(boolean)", ">= 20000", ">= -1"),
    ):
        row = pipeline.connection.execute(
            "SELECT pg_get_functiondef(%s::regprocedure)", (name,)
        ).fetchone()
        assert row is not None
        assert before in row[0]
        pipeline.connection.execute(row[0].replace(before, after).encode())


def _publish(pipeline: Pipeline, chance: random.Random, names: list[str], version: int) -> None:
    pipeline.ingest(
        *(
            make_event(
                name,
                version,
                "\n\n".join(" ".join(chance.choices(WORDS, k=60)) for _ in range(3)),
                metadata={"kind": chance.choice("ab")},
            )
            for name in names
        )
    )


def _act(pipeline: Pipeline, chance: random.Random, version: int) -> str:
    """One thing that changes the corpus, or what its storers do beside it."""
    match chance.choices(("publish", "delete", "expire", "again", "look"), (10, 3, 1, 2, 3))[0]:
        case "publish":
            _publish(pipeline, chance, chance.sample(NAMES, 3), version)
            return "publish"
        case "delete":
            pipeline.ingest(make_event(chance.choice(NAMES), version, op="delete"))
            return "delete"
        case "expire":
            pipeline.expire(after_seconds=0)
            return "expire"
        case "again":  # what expired comes back, at no cost
            pipeline.ingest(make_event("d0", 1, "weir gauge level", metadata={"kind": "a"}))
            return "again"
        case _:
            pipeline.connection.execute("ANALYZE freshet.chunk")
            build_missing(pipeline.database_url)
            return "look"


def _now(pipeline: Pipeline) -> datetime:
    row = pipeline.connection.execute("SELECT last_published_at FROM freshet.source").fetchone()
    assert row is not None
    instant: datetime = row[0]
    return instant


def _rows(pipeline: Pipeline, statement: str, values: dict[str, Any]) -> Found:
    return [(row[0], row[1]) for row in pipeline.connection.execute(statement.encode(), values)]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("by_index", [True, False])
def test_as_of_is_what_was_visible(pipeline: Pipeline, seed: int, *, by_index: bool) -> None:
    chance = random.Random(seed)
    if by_index:
        _prefer_indexes(pipeline)
    pipeline.ingest(make_event("d0", 1, "weir gauge level", metadata={"kind": "a"}))
    seen: list[tuple[str, datetime, set[int]]] = []
    for step in range(STEPS + 2):
        if step < STEPS:
            did = _act(pipeline, chance, step + 2)
        else:  # so that chunks were closed since a storer's last look
            did = "last"
            _publish(pipeline, chance, NAMES, step + 2)
        visible = pipeline.connection.execute(
            "SELECT chunk_id FROM freshet.chunk WHERE visible_to IS NULL"
        )
        seen.append((did, _now(pipeline), {row[0] for row in visible}))
    query: Vectors = pipeline.embedder.embed_query(" ".join(chance.choices(WORDS, k=20)))
    assert len({did for did, _, _ in seen}) >= 4
    for did, at, chunks in seen:
        all_of_then = {"query": query, "at": at, "metadata": None, "sources": None, "k": 500}
        assert {n for n, _ in _rows(pipeline, SEARCHED, all_of_then)} == chunks, (did, at)
        for other in ({}, {"metadata": '{"kind": "a"}'}, {"sources": ["s"]}):
            values = all_of_then | other | {"k": 5}
            found = [distance for _, distance in _rows(pipeline, SEARCHED, values)]
            exact = [distance for _, distance in _rows(pipeline, EXACT, values)]
            assert found == exact, (did, at, other)
    if by_index:
        _assert_used(pipeline)


def _assert_used(pipeline: Pipeline) -> None:
    row = pipeline.connection.execute(
        "SELECT count(*) FILTER (WHERE in_history), count(*) FILTER (WHERE in_history IS NULL),"
        " (SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('freshet.chunk_closed_space_1'))"
        " FROM freshet.chunk WHERE visible_to IS NOT NULL"
    ).fetchone()
    assert row is not None
    in_history, waiting, is_valid = row
    assert in_history > 0
    assert waiting > 0
    assert is_valid

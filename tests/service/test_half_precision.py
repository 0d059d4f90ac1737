"""Embedding spaces whose index, or whose vectors, are in half precision: chosen, changed, searched, audited."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from psycopg.rows import scalar_row

from corpus.clean.cleaner import Cleaner
from corpus.embed.model_files import read_embedding_spec
from corpus.embed.space_indexes import IndexState, build_missing, space_indexes
from corpus.embed.spaces import register
from corpus.errors import ConfigurationError
from corpus.sql import query
from tests.support.fakes import MODEL
from tests.support.pipeline import LONG_TEXT, Pipeline, make_event
from tests.support.polling import wait_until

pytestmark = pytest.mark.service
SPEC = read_embedding_spec(MODEL, "")
FULL, HALF = "chunk_embedding_space_1", "chunk_embedding_half_1"
DOCUMENTS = 30
EXPLAINED = """EXPLAIN SELECT chunk_id FROM freshet.chunk WHERE visible_to IS NULL AND space_id = {space}
    ORDER BY {indexed} <=> '{vector}'::halfvec LIMIT 5"""


@pytest.fixture
def corpus(pipeline: Pipeline) -> Pipeline:
    """A corpus whose index is built, in full precision."""
    pipeline.ingest(
        *(
            make_event(f"d{n}", 1, f"Gauge {n} of the weir at mile {7 * n}.")
            for n in range(DOCUMENTS)
        )
    )
    build_missing(pipeline.database_url)
    return pipeline


def scalar(pipeline: Pipeline, statement: str, *values: Any) -> Any:
    cursor = pipeline.connection.cursor(row_factory=scalar_row)
    return cursor.execute(statement.encode(), values).fetchone()


def choose(pipeline: Pipeline, vectors: str, fingerprint: str = SPEC.fingerprint()) -> None:
    """As `freshet apply` does."""
    values = {"fingerprint": fingerprint, "vectors": vectors}
    pipeline.connection.execute(query("choose_vectors"), values)


def state(pipeline: Pipeline) -> IndexState:
    return space_indexes(pipeline.connection)[0].state


def indexes(pipeline: Pipeline) -> list[str]:
    rows = pipeline.connection.execute(
        "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'chunk\\_embedding%' ORDER BY 1"
    )
    return [row[0] for row in rows]


def halves(pipeline: Pipeline) -> tuple[int, int]:
    """Chunks with a vector in full, and in half precision."""
    row = pipeline.connection.execute(
        "SELECT count(embedding), count(embedding_half) FROM freshet.chunk"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def nearest(pipeline: Pipeline, text: str, used: str | None = None) -> list[tuple[str, float]]:
    """The five nearest documents with their scores, found by scanning an index, where one is named."""
    vector = pipeline.embedder.embed_query(text)
    before = 0 if used is None else scans_of(pipeline, used)
    with pipeline.connection.transaction():
        pipeline.connection.execute("SET LOCAL enable_seqscan = off")
        pipeline.connection.execute("SET LOCAL enable_sort = off")
        rows = pipeline.connection.execute(
            "SELECT document_id, score FROM freshet.search(%s, NULL, 5, 'vector')", (vector,)
        ).fetchall()
        if used is not None:
            assert scans_of(pipeline, used) == before + 1
    return [(row[0], row[1]) for row in rows]


def scans_of(pipeline: Pipeline, index: str) -> int:
    """How often this session scanned an index; those that the server has counted are left out."""
    return scalar(pipeline, "SELECT pg_stat_get_xact_numscans(%s::regclass)", f"freshet.{index}")


def wrong_hashes(pipeline: Pipeline) -> int:
    return scalar(
        pipeline,
        """SELECT count(*) FROM freshet.chunk c WHERE c.vector_hash IS DISTINCT FROM
           coalesce(freshet.hash_of_vector(c.embedding), freshet.hash_of_vector(c.embedding_half))""",
    )


# ── the index ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_choice_replaces_the_index_and_the_answers_stay(corpus: Pipeline) -> None:
    """Candidates of the index in half precision are ordered by the vectors in full precision: the same scores."""
    before = nearest(corpus, "Gauge 7 of the weir", FULL)
    choose(corpus, "half_index")
    (index,) = space_indexes(corpus.connection)
    assert index.describe().endswith("changing to vectors = half_index")
    assert nearest(corpus, "Gauge 7 of the weir", FULL) == before
    assert build_missing(corpus.database_url) == [1]
    assert indexes(corpus) == [HALF]
    assert state(corpus) == IndexState.BUILT
    assert nearest(corpus, "Gauge 7 of the weir", HALF) == before
    assert halves(corpus) == (DOCUMENTS, 0)
    choose(corpus, "full")
    assert build_missing(corpus.database_url) == [1]
    assert indexes(corpus) == [FULL]
    assert nearest(corpus, "Gauge 7 of the weir", FULL) == before


def test_publishing_and_searching_go_on_while_the_index_is_replaced(corpus: Pipeline) -> None:
    choose(corpus, "half")
    with corpus.pool.connection() as publishing, publishing.transaction():
        publishing.execute("UPDATE freshet.chunk SET end_batch = NULL WHERE source = 's' AND false")
        building = threading.Thread(target=build_missing, args=(corpus.database_url,))
        building.start()
        try:
            wait_until(lambda: state(corpus) == IndexState.BUILDING, 10)
            corpus.ingest(make_event("new", 1, "A note of the miller."))
            assert nearest(corpus, "A note of the miller.", FULL)[0][0] == "new"
            # Searches use the index in full precision, so that the chunk must be in it.
            assert halves(corpus) == (DOCUMENTS + 1, 0)
        finally:
            publishing.execute("SELECT 1")
    building.join()
    assert state(corpus) == IndexState.BUILT
    assert indexes(corpus) == [HALF]
    assert halves(corpus) == (0, DOCUMENTS + 1)
    assert nearest(corpus, "A note of the miller.", HALF)[0][0] == "new"


def test_a_build_that_was_interrupted_is_made_again_and_the_one_before_serves(
    corpus: Pipeline,
) -> None:
    choose(corpus, "half_index")
    statement = query("build_space_index")
    made = corpus.connection.cursor(row_factory=scalar_row).execute(statement, {"space_id": 1})
    corpus.connection.execute(str(made.fetchone()).encode())
    corpus.connection.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass",
        (f"freshet.{HALF}",),
    )
    nearest(corpus, "Gauge 7", FULL)
    assert build_missing(corpus.database_url) == [1]
    assert indexes(corpus) == [HALF]
    nearest(corpus, "Gauge 7", HALF)


@pytest.mark.parametrize("vectors", [None, "half"])
def test_a_space_of_more_than_2000_dimensions_is_searched_by_its_index(
    pipeline: Pipeline, vectors: str | None
) -> None:
    spec = replace(SPEC, dimensions=3_072, prefix="large: ")
    space = register(pipeline.connection, spec)
    if vectors is not None:
        choose(pipeline, vectors, spec.fingerprint())
    made = np.random.default_rng(3).standard_normal((40, spec.dimensions), np.float32)
    half = bool(scalar(pipeline, "SELECT freshet.stores_half(%s::smallint)", space))
    assert half == (vectors == "half")
    pipeline.ingest(make_event("a", 1, "one"))
    for n, vector in enumerate(made):
        pipeline.connection.execute(
            """INSERT INTO freshet.chunk (source, document_id, text_sha256, text, token_count, search_text, space_id,
                   dimensions, embedding, embedding_half, visible_from, batch)
               VALUES ('s', 'a', sha256(%(n)s::text::bytea), 'large', 1, '', %(space)s, 3072,
                   CASE WHEN NOT %(half)s THEN %(vector)s::vector END,
                   CASE WHEN %(half)s THEN %(vector)s::vector::halfvec END, now(), 1)""",
            {"n": n, "space": space, "vector": vector, "half": half},
        )
    assert space in build_missing(pipeline.database_url)
    found = """SELECT array_agg(text_sha256 ORDER BY distance) FROM freshet.vector_candidates(
        %s, 5, %s::smallint, NULL, NULL, NULL) JOIN freshet.chunk USING (chunk_id)"""
    with pipeline.connection.transaction():
        pipeline.connection.execute("SET LOCAL enable_seqscan = off")
        pipeline.connection.execute("SET LOCAL enable_sort = off")
        before = scans_of(pipeline, f"chunk_embedding_half_{space}")
        hashes = scalar(pipeline, found, made[7], space)
        assert scans_of(pipeline, f"chunk_embedding_half_{space}") == before + 1
        indexed = scalar(pipeline, "SELECT freshet.indexed_vector(true, 'public', 3072)")
        shown = [float(value) for value in made[7]]
        explained = EXPLAINED.format(space=space, indexed=indexed, vector=shown)
        plan = "\n".join(row[0] for row in pipeline.connection.execute(explained.encode()))
        assert f"Index Scan using chunk_embedding_half_{space}" in plan
    assert hashes[0] == scalar(pipeline, "SELECT sha256('7'::bytea)")
    similarity = made @ made[7] / np.linalg.norm(made, axis=1)
    exact = [
        scalar(pipeline, "SELECT sha256(%s::text::bytea)", int(n))
        for n in np.argsort(-similarity)[:5]
    ]
    assert hashes == exact


def test_a_space_that_no_index_can_hold_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(
        ConfigurationError, match="4,001 dimensions, and a vector index holds at most 4,000"
    ):
        register(pipeline.connection, replace(SPEC, dimensions=4_001))


# ── the vectors ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_vectors_follow_the_choice_and_are_embedded_never_again(
    corpus: Pipeline, tmp_path: Path, cleaner: Cleaner
) -> None:
    before = nearest(corpus, "Gauge 7 of the weir")
    choose(corpus, "half")
    build_missing(corpus.database_url)
    assert state(corpus) == IndexState.BUILT
    assert halves(corpus) == (0, DOCUMENTS)
    assert wrong_hashes(corpus) == 0
    after = nearest(corpus, "Gauge 7 of the weir", HALF)
    assert [name for name, _ in after] == [name for name, _ in before]
    scores = [score for _, score in before]
    assert [score for _, score in after] == pytest.approx(scores, abs=1e-3)
    # New texts, texts of another source, texts again, in another language, and of a version that was withdrawn.
    corpus.ingest(make_event("long", 1, LONG_TEXT))
    with Pipeline(
        corpus.database_url, tmp_path / "o", source="o", cleaner=cleaner, embedder=corpus.embedder
    ) as other:
        assert other.ingest(make_event("copy", 1, LONG_TEXT)).texts_embedded == 0
    corpus.ingest(make_event("long", 2, LONG_TEXT, language="german"))
    corpus.expire(after_seconds=0)
    corpus.ingest(make_event("long", 3, LONG_TEXT, language="german"))
    assert max(corpus.embedder.embedded.values()) == 1
    assert halves(corpus)[0] == 0
    assert wrong_hashes(corpus) == 0


def test_a_new_space_keeps_its_first_chunks_in_half_precision(pipeline: Pipeline) -> None:
    register(pipeline.connection, SPEC)
    choose(pipeline, "half")
    pipeline.ingest(make_event("a", 1, "one"), make_event("b", 1, "two"))
    assert halves(pipeline) == (0, 2)
    assert nearest(pipeline, "two")[0][0] == "b"
    build_missing(pipeline.database_url)
    assert nearest(pipeline, "two", HALF)[0][0] == "b"


def test_with_the_index_only_new_vectors_are_in_full_precision_again(corpus: Pipeline) -> None:
    choose(corpus, "half")
    build_missing(corpus.database_url)
    choose(corpus, "half_index")
    assert build_missing(corpus.database_url) == []
    corpus.ingest(make_event("new", 1, "A note of the miller."))
    assert halves(corpus) == (1, DOCUMENTS)
    assert nearest(corpus, "A note of the miller.", HALF)[0][0] == "new"
    assert nearest(corpus, "Gauge 7 of the weir at mile 49.", HALF)[0][0] == "d7"


def test_a_vector_that_was_damaged_before_is_still_known_as_damaged(corpus: Pipeline) -> None:
    corpus.connection.execute(
        """UPDATE freshet.chunk SET embedding = (SELECT embedding FROM freshet.chunk WHERE document_id = 'd1')
           WHERE document_id = 'd2'"""
    )
    choose(corpus, "half")
    build_missing(corpus.database_url)
    assert wrong_hashes(corpus) == 1


def test_an_erased_document_is_looked_for_by_its_vector(corpus: Pipeline) -> None:
    choose(corpus, "half")
    build_missing(corpus.database_url)
    corpus.erase("d3")
    assert halves(corpus) == (0, DOCUMENTS - 1)
    assert "d3" not in [
        name for name, _ in nearest(corpus, "Gauge 3 of the weir at mile 21.", HALF)
    ]

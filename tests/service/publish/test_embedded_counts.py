"""The ledger's counts of embedded texts add up to the texts that have a vector, however often a batch was tried."""

from pathlib import Path

import pytest

from corpus.clean.cleaner import Cleaner
from tests.support.pipeline import LONG_TEXT, Pipeline, make_event

pytestmark = pytest.mark.service


def ledger(pipeline: Pipeline) -> int:
    return one(pipeline, "SELECT coalesce(sum(texts_embedded), 0)::bigint FROM freshet.batch")


def vectors(pipeline: Pipeline) -> int:
    """Texts that have one: in the embedding store, or in a chunk."""
    return one(
        pipeline,
        """SELECT count(*) FROM (SELECT space_id, text_sha256 FROM freshet.embedding
                                 UNION SELECT space_id, text_sha256 FROM freshet.chunk) vectors""",
    )


def waiting(pipeline: Pipeline) -> int:
    """Texts that no published batch has counted yet."""
    return one(pipeline, "SELECT coalesce(sum(texts), 0)::bigint FROM freshet.uncounted_texts")


def one(pipeline: Pipeline, statement: str) -> int:
    row = pipeline.connection.execute(statement).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


def test_texts_of_a_batch_that_failed_are_counted_with_the_next(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    ref = pipeline.stage(pipeline.records([make_event("b", 1, "two")]))
    pipeline.embed(pipeline.prepare([ref], pipeline.number()))
    assert (ledger(pipeline), waiting(pipeline), vectors(pipeline)) == (1, 1, 2)
    pipeline.run(ref)
    assert (ledger(pipeline), waiting(pipeline), vectors(pipeline)) == (2, 0, 2)


def test_texts_that_a_rejected_batch_embeds_late_are_counted_once(pipeline: Pipeline) -> None:
    """Its embedder was not reached by the cancellation and writes after a later batch was published."""
    rejected = pipeline.stage(pipeline.records([make_event("long", 1, LONG_TEXT)]))
    late = pipeline.prepare([rejected], pipeline.number())
    texts = pipeline.store.get(late.texts)  # its embedder has read them
    pipeline.run(pipeline.stage(pipeline.records([make_event("a", 1, "one")], partition=1)))
    pipeline.store.put(late.texts.url, texts, rows=late.texts.rows)
    pipeline.embed(late)
    assert ledger(pipeline) + waiting(pipeline) == vectors(pipeline)
    pipeline.run(rejected)
    pipeline.run(pipeline.stage(pipeline.records([make_event("a", 2, "two")], partition=1)))
    assert (ledger(pipeline), waiting(pipeline)) == (vectors(pipeline), 0)


def test_an_attempt_that_is_repeated_counts_nothing_twice(pipeline: Pipeline) -> None:
    ref = pipeline.stage(pipeline.records([make_event("a", 1, LONG_TEXT)]))
    number = pipeline.number()
    prepared = pipeline.prepare([ref], number)
    pipeline.embed(prepared)
    first = pipeline.publish([ref], prepared, number, run_id="run")
    assert pipeline.publish([ref], prepared, number, run_id="run") == first
    assert first.texts_embedded == ledger(pipeline) == vectors(pipeline)


def test_each_source_counts_its_own(pipeline: Pipeline, tmp_path: Path, cleaner: Cleaner) -> None:
    with Pipeline(
        pipeline.database_url, tmp_path / "other", source="other", cleaner=cleaner
    ) as other:
        ref = other.stage(other.records([make_event("b", 1, "two")]))
        other.embed(other.prepare([ref], other.number()))
        assert pipeline.ingest(make_event("a", 1, "one")).texts_embedded == 1
        assert other.run(ref).texts_embedded == 1
    assert (ledger(pipeline), waiting(pipeline)) == (vectors(pipeline), 0)

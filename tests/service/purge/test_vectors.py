"""Each vector is stored once: in the embedding store until a chunk holds it, and then with the chunk alone."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corpus.clean.cleaner import Cleaner
from corpus.errors import MissingVectorError
from corpus.publish import changes
from corpus.publish.transaction import PublishTransaction
from tests.service.publish.test_random_histories import TWICE
from tests.support.pipeline import LONG_TEXT, Pipeline, make_event
from tests.support.purging import Purging

DAY = 86_400


@pytest.fixture
def other(pipeline: Pipeline, tmp_path: Path, cleaner: Cleaner) -> Iterator[Pipeline]:
    with Pipeline(
        pipeline.database_url,
        tmp_path / "other",
        source="other",
        cleaner=cleaner,
        embedder=pipeline.embedder,
    ) as opened:
        yield opened


def stored(pipeline: Pipeline) -> int:
    row = pipeline.connection.execute("SELECT count(*) FROM freshet.embedding").fetchone()
    assert row is not None
    return int(row[0])


def twice(pipeline: Pipeline) -> int:
    row = pipeline.connection.execute(TWICE.encode()).fetchone()
    assert row is not None
    return int(row[0])


def store_again(pipeline: Pipeline) -> None:
    """As a version before did it: the embedding store has what the chunks have."""
    pipeline.connection.execute(
        """INSERT INTO freshet.embedding (space_id, text_sha256, dimensions, embedding, source, batch)
           SELECT DISTINCT ON (space_id, text_sha256) space_id, text_sha256, dimensions, embedding, source, batch
           FROM freshet.chunk ON CONFLICT DO NOTHING"""
    )


def test_a_text_whose_chunk_has_the_vector_is_not_embedded_again(
    pipeline: Pipeline, other: Pipeline
) -> None:
    """Also of another source, and where the chunk is closed, or its document deleted."""
    report = pipeline.ingest(make_event("a", 1, LONG_TEXT), make_event("b", 1, "one"))
    assert report.texts_embedded == report.chunks_opened > 2
    assert stored(pipeline) == 0
    assert other.ingest(make_event("copy", 1, LONG_TEXT)).texts_embedded == 0
    pipeline.ingest(make_event("a", 2, op="delete"), make_event("b", 2, "two"))
    assert (
        pipeline.ingest(make_event("b", 3, "one"), make_event("c", 1, LONG_TEXT)).texts_embedded
        == 0
    )
    assert max(pipeline.embedder.embedded.values()) == 1
    assert stored(pipeline) == 0


def test_a_batch_that_fails_leaves_its_vectors_in_the_store(pipeline: Pipeline) -> None:
    ref = pipeline.stage(pipeline.records([make_event("a", 1, "one")]))
    number = pipeline.number()
    pipeline.embed(pipeline.prepare([ref], number))
    assert stored(pipeline) == 1
    assert pipeline.run(ref).applied == 1
    assert stored(pipeline) == 0
    assert max(pipeline.embedder.embedded.values()) == 1


def test_two_sources_publish_one_text_at_the_same_moment(
    pipeline: Pipeline, other: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has removed the vector from the store and not committed when the other looks for it."""
    refs = {
        each: each.stage(each.records([make_event("a", 1, LONG_TEXT)]))
        for each in (pipeline, other)
    }
    prepared = {each: each.prepare([ref], 1) for each, ref in refs.items()}
    pipeline.embed(prepared[pipeline])
    assert other.embed(prepared[other]) == 0
    both = threading.Barrier(2)
    write: Callable[[PublishTransaction], int] = changes._open_chunks

    def open_together(transaction: PublishTransaction) -> int:
        opened = write(transaction)
        both.wait(timeout=20)
        return opened

    monkeypatch.setattr(changes, "_open_chunks", open_together)
    threads = [
        threading.Thread(target=each.publish, args=([refs[each]], prepared[each], 1))
        for each in (pipeline, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pipeline.visible() and other.visible()
    assert (stored(pipeline), twice(pipeline)) == (0, 0)
    assert max(pipeline.embedder.embedded.values()) == 1


def test_a_vector_that_goes_before_the_publish_is_made_again(pipeline: Pipeline) -> None:
    """A batch counted on the vector of a chunk that a purge removes: nothing is half there."""
    purging = Purging(pipeline)
    pipeline.ingest(make_event("a", 1, "one weir"))
    pipeline.ingest(make_event("a", 2, "two weirs"))
    ref = pipeline.stage(pipeline.records([make_event("b", 1, "one weir")]))
    number = pipeline.number()
    prepared = pipeline.prepare([ref], number)
    assert prepared.texts.rows == 0
    purging.age(3)
    purging.keep(history_seconds=DAY)
    assert purging.run().removed == {"chunks": 1, "versions": 1}
    with pytest.raises(MissingVectorError):
        pipeline.publish([ref], prepared, number)
    assert set(pipeline.visible()) == {"a"}
    assert pipeline.run(ref).texts_embedded == 1
    assert set(pipeline.visible()) == {"a", "b"}


def test_a_purge_removes_what_was_stored_twice_and_what_nothing_needs(
    pipeline: Pipeline,
) -> None:
    purging = Purging(pipeline)
    pipeline.ingest(make_event("a", 1, LONG_TEXT))
    store_again(pipeline)
    held = stored(pipeline)
    ref = pipeline.stage(pipeline.records([make_event("b", 1, "not published")]))
    pipeline.embed(pipeline.prepare([ref], pipeline.number()))
    assert stored(pipeline) == held + 1
    assert purging.plan().removed["vectors"] == held
    assert purging.run().removed == {"vectors_stored_twice": held}
    assert (stored(pipeline), twice(pipeline)) == (1, 0)
    purging.age(8)
    assert purging.run().removed == {}
    purging.keep(embeddings_seconds=7 * DAY)
    assert purging.run().removed == {"vectors": 1}
    again = make_event("c", 1, LONG_TEXT)
    pipeline.ingest(again, partition=1)
    assert max(pipeline.embedder.embedded.values()) == 1


def test_while_the_index_is_built_nothing_is_removed(pipeline: Pipeline) -> None:
    """A database with many chunks at the upgrade: a storer builds the index, and until then all is as it was."""
    pipeline.connection.execute("DROP INDEX freshet.chunk_vector")
    report = pipeline.ingest(make_event("a", 1, LONG_TEXT))
    assert stored(pipeline) == report.texts_embedded
    assert pipeline.ingest(make_event("b", 1, LONG_TEXT)).texts_embedded == 0

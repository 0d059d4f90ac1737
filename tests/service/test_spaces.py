"""Embedding spaces: known by fingerprint, registered without a lock, indexed beside publishing."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.rows import scalar_row

from corpus.database import connect
from corpus.embed.model_files import read_embedding_spec
from corpus.embed.space_indexes import IndexState, build_missing, space_indexes
from corpus.embed.spaces import SpaceRegistry, register
from corpus.errors import StalePreparationError
from tests.support.fakes import MODEL
from tests.support.pipeline import Pipeline, make_event
from tests.support.polling import wait_until

pytestmark = pytest.mark.service
SPEC = read_embedding_spec(MODEL, "")
OTHER = replace(SPEC, prefix="passage: ")


def scalar(pipeline: Pipeline, query: str) -> Any:
    cursor = pipeline.connection.cursor(row_factory=scalar_row)
    return cursor.execute(query.encode()).fetchone()


@contextmanager
def in_thread(work: Callable[[], Any]) -> Iterator[threading.Event]:
    """Work beside the test; the event is set when it has ended."""
    done = threading.Event()

    def run() -> None:
        try:
            work()
        finally:
            done.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        thread.join()


@contextmanager
def long_publish(url: str) -> Iterator[psycopg.Connection]:
    """A transaction that has written to the chunks, as a publish does."""
    with psycopg.connect(url) as publishing:
        publishing.execute("UPDATE freshet.chunk SET end_batch = NULL WHERE source = 's' AND false")
        yield publishing
        publishing.rollback()


# ── registering ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("spec", [SPEC, OTHER], ids=["known", "new"])
def test_registering_a_space_waits_for_no_publish_and_none_waits_for_it(
    pipeline: Pipeline, spec: Any
) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    with (
        long_publish(pipeline.database_url),
        connect(pipeline.database_url, autocommit=False) as starting,
        connect(pipeline.database_url) as other,
    ):
        starting.execute("SET LOCAL lock_timeout = '1s'")
        other.execute("SET lock_timeout = '1s'")
        register(starting, spec)
        other.execute("UPDATE freshet.chunk SET end_batch = NULL WHERE source = 'other'")
        locks = starting.execute(
            "SELECT mode FROM pg_locks WHERE pid = pg_backend_pid()"
            " AND relation = 'freshet.chunk'::regclass"
        ).fetchall()
        assert locks == []
        starting.rollback()


def test_two_that_register_one_space_get_one_id(pipeline: Pipeline) -> None:
    ids: list[int] = []

    def registers() -> None:
        with connect(pipeline.database_url) as connection:
            ids.append(register(connection, OTHER))

    threads = [threading.Thread(target=registers) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 6
    assert len(set(ids)) == 1


def test_a_known_space_is_found_behind_the_registration_of_another(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    with connect(pipeline.database_url, autocommit=False) as registering:
        register(registering, OTHER)
        with connect(pipeline.database_url) as other:
            other.execute("SET lock_timeout = '1s'")
            assert register(other, SPEC) == 1
        registering.rollback()


# ── the index ───────────────────────────────────────────────────────────────────────────────────────────────────────


def states(pipeline: Pipeline) -> list[IndexState]:
    return [index.state for index in space_indexes(pipeline.connection)]


def test_a_search_is_exact_before_the_index_exists_and_uses_it_afterwards(
    pipeline: Pipeline,
) -> None:
    pipeline.ingest(*(make_event(f"d{n}", 1, f"text number {n}") for n in range(20)))
    assert states(pipeline) == [IndexState.MISSING]
    before = pipeline.search("text number 7", mode="vector", k=5)
    assert len(before) == 5
    assert build_missing(pipeline.database_url) == [1]
    assert states(pipeline) == [IndexState.BUILT]
    assert build_missing(pipeline.database_url) == []
    assert pipeline.search("text number 7", mode="vector", k=5) == before


def test_every_source_publishes_while_an_index_is_built(pipeline: Pipeline) -> None:
    """The build waits for a publish under way, and no publish waits for the build."""
    pipeline.ingest(make_event("a", 1, "one"))
    with (
        long_publish(pipeline.database_url) as publishing,
        in_thread(lambda: build_missing(pipeline.database_url)) as built,
    ):
        wait_until(lambda: states(pipeline) == [IndexState.BUILDING], 10)
        (index,) = space_indexes(pipeline.connection)
        assert "building, waiting for" in index.describe()
        assert f"by server process {index.builder}" in index.describe()
        pipeline.ingest(make_event("b", 1, "two"))
        assert pipeline.search("two", mode="vector", k=1)[0].document_id == "b"
        assert build_missing(pipeline.database_url) == []  # one builder at a time
        assert not built.is_set()
        publishing.rollback()
        wait_until(built.is_set, 20)
    assert states(pipeline) == [IndexState.BUILT]


def test_an_interrupted_build_is_dropped_and_built_again(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"))

    def fails() -> None:
        with pytest.raises(Exception, match="terminat"):
            build_missing(pipeline.database_url)

    with long_publish(pipeline.database_url), in_thread(fails):
        wait_until(lambda: states(pipeline) == [IndexState.BUILDING], 10)
        (index,) = space_indexes(pipeline.connection)
        pipeline.connection.execute("SELECT pg_terminate_backend(%s)", (index.builder,))
        wait_until(lambda: states(pipeline) == [IndexState.INTERRUPTED], 10)
    assert pipeline.search("one", mode="vector", k=1)[0].document_id == "a"
    assert build_missing(pipeline.database_url) == [1]
    assert states(pipeline) == [IndexState.BUILT]


def test_a_space_of_too_many_dimensions_is_searched_without_an_index(pipeline: Pipeline) -> None:
    """One that a version before has registered; a new one is refused."""
    register(pipeline.connection, OTHER)
    pipeline.connection.execute("UPDATE freshet.embedding_space SET dimensions = 4001")
    assert states(pipeline) == [IndexState.IMPOSSIBLE]
    assert build_missing(pipeline.database_url) == []


# ── a database that was restored ────────────────────────────────────────────────────────────────────────────────────


def restore_with_another_space_first(pipeline: Pipeline) -> None:
    """An older database: nothing of this corpus is in it, and the id of its space belongs to another."""
    pipeline.connection.execute(
        "TRUNCATE freshet.embedding_space, freshet.refused_event RESTART IDENTITY CASCADE"
    )
    pipeline.connection.execute("UPDATE freshet.source SET last_batch = 0")
    pipeline.connection.execute("UPDATE freshet.source_position SET next_offset = 0")
    pipeline.next_offset.clear()
    assert register(pipeline.connection, OTHER) == 1


def spaces_of_vectors(pipeline: Pipeline) -> set[str]:
    rows = pipeline.connection.execute(
        "SELECT fingerprint FROM freshet.embedding JOIN freshet.embedding_space USING (space_id)"
        " UNION SELECT fingerprint FROM freshet.chunk JOIN freshet.embedding_space USING (space_id)"
        " UNION SELECT fingerprint FROM freshet.document JOIN freshet.embedding_space USING (space_id)"
        " UNION SELECT fingerprint FROM freshet.batch JOIN freshet.embedding_space USING (space_id)"
    )
    return {row[0] for row in rows.fetchall()}


def test_after_a_restore_no_process_uses_an_id_that_it_knew(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    restore_with_another_space_first(pipeline)
    pipeline.ingest(make_event("a", 1, "one"), make_event("b", 1, "two"))
    assert pipeline.visible() == {"a": (1, "one"), "b": (1, "two")}
    assert spaces_of_vectors(pipeline) == {SPEC.fingerprint()}
    assert pipeline.search("two", mode="vector", k=1)[0].document_id == "b"


@pytest.mark.parametrize("restored_after", ["prepare", "embed"])
def test_a_batch_that_met_a_restore_is_prepared_again(
    pipeline: Pipeline, restored_after: str
) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    ref = pipeline.stage(pipeline.records([make_event("b", 1, "two")], first_offset=0))
    pipeline.connection.execute("UPDATE freshet.source_position SET next_offset = 0")
    prepared = pipeline.prepare([ref], 2)
    if restored_after == "embed":
        pipeline.embed(prepared)
    restore_with_another_space_first(pipeline)
    if restored_after == "prepare":
        pipeline.embed(prepared)
        assert spaces_of_vectors(pipeline) == {SPEC.fingerprint()}
    with pytest.raises(StalePreparationError, match=f"embedding space {SPEC.fingerprint()} has id"):
        pipeline.publish([ref], prepared, 2)
    pipeline.run(ref)
    assert pipeline.visible() == {"b": (1, "two")}
    assert spaces_of_vectors(pipeline) == {SPEC.fingerprint()}


def test_chunks_are_reused_from_the_row_that_was_compared_only(pipeline: Pipeline) -> None:
    """After a restore, the key of the version whose chunks stay may be that of another document."""
    pipeline.ingest(make_event("a", 1, "one"), make_event("b", 1, "two"))
    ref = pipeline.stage(pipeline.records([make_event("a", 2, "one", title="Other")]))
    prepared = pipeline.prepare([ref], 2)
    pipeline.connection.execute(
        "UPDATE freshet.document SET document_id = CASE document_id WHEN 'a' THEN 'c' ELSE 'a' END"
    )
    with pytest.raises(StalePreparationError, match="changed after they were prepared"):
        pipeline.publish([ref], prepared, 2)


def test_a_registry_keeps_files_and_no_ids(pipeline: Pipeline) -> None:
    registry = SpaceRegistry()
    first = registry.of(pipeline.connection, MODEL, "")
    restore_with_another_space_first(pipeline)
    second = registry.of(pipeline.connection, MODEL, "")
    assert (first.space_id, second.space_id) == (1, 2)
    assert first.tokenizer is second.tokenizer

"""As of an instant, a notice or a batch: the answer shows what was visible then, and never changes."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import psycopg
import pytest

from corpus.access.reader import Reader
from corpus.answer import search as search_module
from corpus.answer.query_vectors import QueryVectors
from corpus.answer.search import search
from corpus.database import Connection, connect, open_pool
from corpus.deliver.notices import next_notice
from corpus.deliver.subscription import DeliveryInput
from corpus.errors import ConfigurationError, DependencyError
from corpus.service import SearchRequest
from corpus.sql import query
from tests.support.pipeline import Pipeline, make_event
from tests.support.polling import wait_until
from workers.roles.gateway import answering


def now_us(connection: Connection) -> int:
    """The database's clock."""
    row = connection.execute(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    ).fetchone()
    assert row is not None
    return int(row[0])


def versions(pipeline: Pipeline, text: str, **as_of: Any) -> list[int]:
    return [hit.version for hit in pipeline.search(text, mode="text", k=50, **as_of)]


@contextmanager
def publishing(database_url: str, source: str) -> Iterator[None]:
    """A publisher of the source that stands still inside its transaction, as a frozen storer does."""
    with psycopg.connect(database_url) as publisher:
        publisher.execute(query("lock_publishing"), {"source": source})
        yield
        publisher.rollback()


# ── the instant of a batch ──────────────────────────────────────────────────────────────────────────────────────────


def test_as_of_a_notices_own_instant_shows_the_batch_of_the_notice(pipeline: Pipeline) -> None:
    """A team takes the time of its notice and searches as of then, in either unit."""
    missing: list[tuple[int, str]] = []
    too_early: list[int] = []
    subscription = DeliveryInput(subscriber="t", source="s")
    pipeline.connection.execute(
        "INSERT INTO freshet.subscription (subscriber, source, endpoint) VALUES ('t', 's', 'e')"
    )
    for n in range(1, 21):
        pipeline.ingest(make_event(f"d{n}", 1, f"lighthouse number {n}"))
        next_notice(pipeline.connection, subscription)  # the row of the cursor
        pipeline.connection.execute("UPDATE freshet.delivery SET cursor_batch = %s", (n - 1,))
        notice = next_notice(pipeline.connection, subscription).notice
        assert notice is not None and notice.published_at_us is not None
        pipeline.ingest(make_event(f"after-{n}", 1, f"lighthouse after {n}"))
        pipeline.connection.execute("UPDATE freshet.delivery SET cursor_batch = %s", (2 * n,))
        for unit in ("ms", "us"):
            moment = {f"as_of_{unit}": getattr(notice, f"published_at_{unit}")}
            hits = pipeline.search("lighthouse", k=50, mode="text", **moment)
            found = {hit.document_id for hit in hits}
            if not {change.document_id for change in notice.changes} <= found:
                missing.append((notice.batch, unit))
            if unit == "us" and max(hit.batch for hit in hits) > notice.batch:
                too_early.append(notice.batch)
        pipeline.connection.execute("DELETE FROM freshet.delivered_notice")
    assert (missing, too_early) == ([], [])


def test_as_of_each_batch_after_the_databases_clock_went_back(pipeline: Pipeline) -> None:
    """After a failover to a server 3 s behind, instants rise by a microsecond, so that batches share a millisecond."""
    pipeline.ingest(make_event("a", 1, "harbour one"))
    pipeline.connection.execute(
        "UPDATE freshet.source SET last_published_at = clock_timestamp() + interval '3 seconds'"
    )
    for version in (2, 3, 4):
        pipeline.ingest(make_event("a", version, f"harbour {version}"))
    for source in ((), ("s",)):
        seen = {
            batch: versions(pipeline, "harbour", as_of_batch=batch, sources=source)
            for batch in range(1, 5)
        }
        assert seen == {1: [1], 2: [2], 3: [3], 4: [4]}
    with pytest.raises(ConfigurationError, match="no published batch 5"):
        versions(pipeline, "harbour", as_of_batch=5)


def test_an_instant_that_was_answered_stays_before_every_later_batch(pipeline: Pipeline) -> None:
    """The clock goes back behind an instant that a search was answered as of: the next batch must not precede it."""
    pipeline.ingest(make_event("a", 1, "harbour one"))
    answered = now_us(pipeline.connection) + 1_000_000
    assert versions(pipeline, "harbour", as_of_us=answered) == [1]  # waits for the instant
    # What the clock shows now lies before the instant, as after a failover.
    ahead = "UPDATE freshet.as_of_answered SET instant = instant + interval '1 hour'"
    pipeline.connection.execute(ahead)
    row = pipeline.connection.execute("SELECT instant FROM freshet.as_of_answered").fetchone()
    assert row is not None
    answered_at: datetime = row[0]
    report = pipeline.ingest(make_event("a", 2, "harbour two"))
    published = pipeline.connection.execute(
        "SELECT published_at FROM freshet.batch WHERE batch = %s", (report.batch,)
    ).fetchone()
    assert published is not None
    assert published[0] > answered_at


# ── a batch that is being published ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short wait for a batch that is being published."""
    monkeypatch.setattr(search_module, "SETTLE_SECONDS", 2.0)


def test_an_instant_that_a_publish_may_still_change_is_answered_later(
    pipeline: Pipeline, database_url: str
) -> None:
    """The instant may be as old as the publish: however long that takes, the answer is not given before its end."""
    pipeline.ingest(make_event("a", 1, "sluice one"))
    pipeline.connection.execute(
        "UPDATE freshet.source SET last_published_at = now() - interval '3 hours'"
    )
    hours_ago = now_us(pipeline.connection) - 2 * 3_600_000_000
    with publishing(database_url, "s"):
        for moment in (hours_ago, now_us(pipeline.connection)):
            with pytest.raises(DependencyError, match="source s is publishing a batch whose"):
                versions(pipeline, "sluice", as_of_us=moment)
    assert versions(pipeline, "sluice", as_of_us=now_us(pipeline.connection)) == [1]


def test_what_is_final_is_answered_beside_a_publish(pipeline: Pipeline, database_url: str) -> None:
    """Up to the newest published batch nothing can change; nor does another source's publish matter."""
    first = pipeline.ingest(make_event("a", 1, "sluice one"))
    between = now_us(pipeline.connection)
    pipeline.ingest(make_event("a", 2, "sluice two"))
    with publishing(database_url, "s"):
        assert versions(pipeline, "sluice", as_of_batch=first.batch) == [1]
        assert versions(pipeline, "sluice", as_of_us=between) == [1]
    with publishing(database_url, "another"):
        moment = now_us(pipeline.connection)
        assert versions(pipeline, "sluice", as_of_us=moment, sources=("s",)) == [2]


def test_a_wait_that_is_cancelled_leaves_no_lock_behind(
    pipeline: Pipeline, database_url: str
) -> None:
    """Cancelled at any moment: a lock that stayed in a pooled session would stop publishing for ever."""
    pipeline.ingest(make_event("a", 1, "sluice one"))
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with connect(database_url) as reader, ThreadPoolExecutor(1) as threads:
        for held in (True, False) * 10:
            with publishing(database_url, "s"):
                settling = threads.submit(
                    reader.execute, "SELECT freshet.settle(clock_timestamp())"
                )
                wait_until(lambda: pipeline.connection.execute(waits).fetchone() == (1,))
                if held:
                    reader.cancel_safe()
            if not held:  # the lock is granted at this moment
                reader.cancel_safe()
            _ignore_cancellation(settling)
            left = pipeline.connection.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            ).fetchone()
            assert left == (0,)
        assert reader.execute("SELECT 1").fetchone() == (1,)
    assert pipeline.ingest(make_event("a", 2, "sluice two")).applied == 1


def _ignore_cancellation(settling: "Future[Any]") -> None:
    with suppress(psycopg.errors.QueryCanceled):
        settling.result(10)


def test_a_search_holds_up_no_publisher_while_it_waits_for_another_source(
    pipeline: Pipeline, database_url: str, tmp_path: Any, cleaner: Any
) -> None:
    pipeline.ingest(make_event("a", 1, "harbour"))
    with (
        Pipeline(database_url, tmp_path / "z", source="z-slow", cleaner=cleaner),
        publishing(database_url, "z-slow"),
        ThreadPoolExecutor(1) as threads,
    ):
        looking = threads.submit(
            versions, pipeline, "harbour", as_of_us=now_us(pipeline.connection)
        )
        pipeline_of_others = connect(database_url)
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        wait_until(lambda: pipeline_of_others.execute(waits).fetchone() == (1,))
        pipeline_of_others.close()
        with psycopg.connect(database_url) as publisher:
            publisher.execute("SET lock_timeout = '1s'")
            publisher.execute(query("lock_publishing"), {"source": "s"})
        with pytest.raises(DependencyError, match="source z-slow is publishing"):
            looking.result(20)


# ── the readers' connections ────────────────────────────────────────────────────────────────────────────────────────


def test_searches_of_now_are_answered_while_one_source_publishes_long(
    pipeline: Pipeline, database_url: str
) -> None:
    """As in the gateway: searches as of an instant wait on connections of their own, for a bounded time."""
    pipeline.ingest(make_event("a", 1, "harbour"))
    with (
        open_pool(database_url, size=4) as pool,
        open_pool(database_url, size=4) as pool_for_the_past,
        ThreadPoolExecutor(8) as threads,
        publishing(database_url, "s"),
    ):
        answer = answering(pool, pool_for_the_past, pipeline.embedder.of, QueryVectors())
        past = SearchRequest(
            query="harbour", mode="text", as_of_ms=now_us(pipeline.connection) // 1000
        )
        everyone = Reader(name="team:search", sources=frozenset({"s"}))
        waiting = [threads.submit(answer, everyone, past) for _ in range(8)]
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        wait_until(lambda: pipeline.connection.execute(waits).fetchone() == (4,))
        began = time.monotonic()
        with ThreadPoolExecutor(1) as other:
            now = SearchRequest(query="harbour", mode="text")
            assert other.submit(answer, everyone, now).result(5).hits
        assert time.monotonic() - began < 2
        for call in waiting:
            with pytest.raises(DependencyError):
                call.result(15)


def test_one_pool_for_all_is_free_again_within_its_patience(
    pipeline: Pipeline, database_url: str
) -> None:
    """A client of `search` with a pool of its own: its searches of the past end before a connection is missed."""
    pipeline.ingest(make_event("a", 1, "harbour"))
    moment = now_us(pipeline.connection)
    begun = threading.Barrier(5)

    def answer(request: SearchRequest) -> Any:
        with pool.connection() as connection:
            if request.as_of_us is not None:
                begun.wait(10)
            return search(connection, request, pipeline.embedder.of).hits

    with (
        open_pool(database_url, size=4) as pool,
        ThreadPoolExecutor(4) as threads,
        publishing(database_url, "s"),
    ):
        past = SearchRequest(query="harbour", mode="text", as_of_us=moment)
        waiting = [threads.submit(answer, past) for _ in range(4)]
        begun.wait(10)
        assert answer(SearchRequest(query="harbour", mode="text"))
        for call in waiting:
            with pytest.raises(DependencyError):
                call.result(15)

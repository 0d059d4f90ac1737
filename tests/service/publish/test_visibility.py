"""What readers see while a batch is published, and as of an instant."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from corpus.errors import (
    ConfigurationError,
)
from corpus.publish.publisher import Publisher
from tests.support.pipeline import LONG_TEXT, Pipeline, make_event
from tests.support.polling import wait_until


def test_a_reader_never_sees_half_a_change(pipeline: Pipeline, database_url: str) -> None:
    """Promise 2, with a reader that looks all the time while a large document is rewritten."""
    pipeline.ingest(make_event("a", 1, LONG_TEXT.replace("level", "v1")))
    stop = threading.Event()
    seen: list[tuple[int, bool, bool]] = []

    def read() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            while not stop.is_set():
                rows = connection.execute(
                    """SELECT d.version, c.text FROM freshet.document d
                       LEFT JOIN freshet.chunk c
                         ON c.source = d.source AND c.document_id = d.document_id AND c.visible_to IS NULL
                       WHERE d.visible_to IS NULL"""
                ).fetchall()
                version = rows[0][0]
                complete = len(rows) == chunks and all(row[1] for row in rows)
                mixed = any(f"v{version}" not in row[1] for row in rows if row[1])
                seen.append((version, complete, mixed))

    chunks = pipeline.connection.execute(
        "SELECT count(*) FROM freshet.chunk WHERE visible_to IS NULL"
    ).fetchone()[0]  # type: ignore[index]
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for version in range(2, 8):
            pipeline.ingest(make_event("a", version, LONG_TEXT.replace("level", f"v{version}")))
    finally:
        stop.set()
        reader.join()
    assert len(seen) > 20
    assert all(complete and not mixed for _, complete, mixed in seen)
    assert len({version for version, _, _ in seen}) > 3


def test_as_of_a_batch_gives_what_was_visible_then(pipeline: Pipeline) -> None:
    first = pipeline.ingest(make_event("a", 1, "sluice one"))
    second = pipeline.ingest(make_event("a", 2, "sluice two"))
    pipeline.ingest(make_event("a", 3, op="delete"))
    for report, version in ((first, 1), (second, 2)):
        row = pipeline.connection.execute(
            "SELECT published_at FROM freshet.batch WHERE batch = %s", (report.batch,)
        ).fetchone()
        assert row is not None
        hits = pipeline.connection.execute(
            "SELECT version, text FROM freshet.search(NULL, 'sluice', 5, 'text', NULL, NULL, NULL, %s)",
            (row[0],),
        ).fetchall()
        assert [hit[0] for hit in hits] == [version]
    assert pipeline.search("sluice") == ()


class SlowStore:
    """A staging store that waits for `go_on` before it answers.

    It holds a publisher in the middle of its transaction.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self.reached, self.go_on = threading.Event(), threading.Event()

    def get(self, file: Any) -> bytes:
        self.reached.set()
        assert self.go_on.wait(60)
        return self._store.get(file)

    def delete(self, names: Any) -> None:
        self._store.delete(names)


def test_as_of_an_instant_waits_for_the_batch_that_is_being_committed(
    pipeline: Pipeline, database_url: str
) -> None:
    """The batch's instant has passed, its commit has not come: an answer without it would change."""
    pipeline.ingest(make_event("a", 1, "sluice one"))
    refs = [pipeline.stage(pipeline.records([make_event("a", 2, "sluice two")]))]
    number = pipeline.number()
    prepared = pipeline.prepare(refs, number)
    pipeline.embed(prepared)
    store = SlowStore(pipeline.store)
    pipeline.publisher = Publisher(store=store, pool=pipeline.pool)  # type: ignore[arg-type]
    with ThreadPoolExecutor(2) as threads:
        publishing = threads.submit(pipeline.publish, refs, prepared, number)
        try:
            assert store.reached.wait(60)
            now = math.ceil(time.time() * 1000)
            looking = threads.submit(pipeline.search, "sluice", as_of_ms=now)
            with psycopg.connect(database_url, autocommit=True) as other:
                waits = b"""SELECT count(*) FROM pg_locks
                            WHERE locktype = 'advisory' AND mode = 'ShareLock' AND NOT granted"""
                wait_until(lambda: other.execute(waits).fetchone() == (1,))
            assert not looking.done()
        finally:
            store.go_on.set()
        publishing.result()
        assert [hit.version for hit in looking.result()] == [2]
    assert [hit.version for hit in pipeline.search("sluice", as_of_ms=now)] == [2]
    assert [
        hit.version for hit in pipeline.search("sluice", as_of_ms=math.ceil(time.time() * 1000))
    ] == [2]


def test_as_of_the_future_is_refused(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "sluice one"))
    with pytest.raises(ConfigurationError, match="lies in the future"):
        pipeline.search("sluice", as_of_ms=round(time.time() * 1000) + 60_000)

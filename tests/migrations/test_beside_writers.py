"""A migration comes while batches are published: the running version goes on, and starts no older one afterwards."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from corpus import database
from corpus.clean.cleaner import Cleaner
from corpus.errors import ConfigurationError
from tests.support.pipeline import Pipeline, make_event
from tests.support.polling import wait_until

LATER = """-- 9998 later: what an additive migration may do.
-- Why: to see that the running version survives it.
ALTER TABLE freshet.document ADD COLUMN later text;
ALTER TABLE freshet.chunk ADD COLUMN later_count integer NOT NULL DEFAULT 0;
ALTER TABLE freshet.batch ADD COLUMN later_sum bigint NOT NULL DEFAULT 0;
CREATE TABLE freshet.later (document_key bigint PRIMARY KEY, note text NOT NULL);
CREATE INDEX document_later ON freshet.document (later) WHERE later IS NOT NULL;
"""


def test_an_additive_migration_stops_no_publishing(
    database_url: str, tmp_path: Path, cleaner: Cleaner, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = database.migrations()
    newer = [*known, ("9998_later.sql", LATER)]
    published: list[int] = []
    ended = threading.Event()

    with (
        Pipeline(database_url, tmp_path, cleaner=cleaner) as pipeline,
        ThreadPoolExecutor(1) as threads,
    ):

        def publish() -> None:
            while not ended.is_set():
                version = len(published) + 1
                pipeline.ingest(*(make_event(f"d{n}", version, f"{version}.{n}") for n in range(3)))
                published.append(version)

        publishing = threads.submit(publish)
        try:
            wait_until(lambda: len(published) >= 8)  # its statements are prepared by now
            with monkeypatch.context() as patched:
                patched.setattr(database, "migrations", lambda: newer)
                assert database.migrate(database_url) == ["9998_later.sql"]
            migrated_at = len(published)
            wait_until(lambda: len(published) >= migrated_at + 3)
        finally:
            ended.set()
        publishing.result(30)
        newest = len(published)
        assert pipeline.visible() == {f"d{n}": (newest, f"{newest}.{n}") for n in range(3)}
        found = pipeline.search(f"{newest}.1", mode="text", k=1)
        assert [hit.document_id for hit in found] == ["d1"]
    with pytest.raises(ConfigurationError, match="9998_later"):
        database.migrate(database_url)

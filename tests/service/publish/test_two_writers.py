"""Writers that meet: a deadlock, two sources with the same ids and texts, and a vacuum beside them."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from corpus.clean.cleaner import Cleaner
from corpus.errors import DependencyError
from tests.support.fakes import HashEmbedder
from tests.support.pipeline import Pipeline, make_event
from tests.support.polling import wait_until

pytestmark = pytest.mark.timeout(120)
SEED = 12
SOURCES = ("one", "two", "three")


@pytest.fixture
def pipeline(database_url: str, tmp_path: Path, cleaner: Cleaner) -> Iterator[Pipeline]:
    """Its sessions look for a deadlock late enough to find one that another session closes meanwhile."""
    with psycopg.connect(database_url, autocommit=True) as server:
        name = sql.Identifier(server.info.dbname)
        server.execute(sql.SQL("ALTER DATABASE {} SET deadlock_timeout = '3s'").format(name))
    with Pipeline(database_url, tmp_path, cleaner=cleaner) as made:
        yield made


def test_the_loser_of_a_deadlock_publishes_at_the_next_attempt(
    pipeline: Pipeline, database_url: str
) -> None:
    """Another session, as of an operator, takes the locks of publishing in the other order."""
    pipeline.ingest(make_event("a", 1, "one"))
    ref = pipeline.stage(pipeline.records([make_event("a", 2, "two")]))
    with (
        psycopg.connect(database_url) as other,
        ThreadPoolExecutor(1) as threads,
    ):
        other.execute("SET deadlock_timeout = '60s'")  # so that the publisher finds it, and loses
        other.execute("SELECT FROM freshet.source_position FOR UPDATE")
        attempt = threads.submit(pipeline.run, ref)
        wait_until(lambda: _waits_for_a_lock(pipeline), 20, "the publisher waits")
        other.execute("SELECT FROM freshet.source FOR UPDATE")
        with pytest.raises(DependencyError, match="deadlock detected"):
            attempt.result(20)
        other.rollback()
    assert pipeline.visible() == {"a": (1, "one")}
    assert pipeline.run(ref).applied == 1
    assert pipeline.visible() == {"a": (2, "two")}


def _waits_for_a_lock(pipeline: Pipeline) -> bool:
    [row] = pipeline.connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    ).fetchall()
    return bool(row[0])


def test_sources_with_the_same_ids_and_texts_are_published_side_by_side_and_beside_a_vacuum(
    database_url: str, tmp_path: Path, cleaner: Cleaner
) -> None:
    print("seed", SEED)
    embedder = HashEmbedder()
    with ExitStack() as stack:
        pipelines = [
            stack.enter_context(
                Pipeline(database_url, tmp_path, source=name, cleaner=cleaner, embedder=embedder)
            )
            for name in SOURCES
        ]
        ended = threading.Event()
        vacuum = stack.enter_context(psycopg.connect(database_url, autocommit=True))
        with ThreadPoolExecutor(len(SOURCES) + 1) as threads:
            vacuuming = threads.submit(_vacuum, vacuum, ended)
            writing = [
                threads.submit(_write, pipeline, random.Random(SEED + n))
                for n, pipeline in enumerate(pipelines)
            ]
            try:
                wanted = [write.result(100) for write in writing]
            finally:
                ended.set()
            assert vacuuming.result(30) > 1
        assert [pipeline.visible() for pipeline in pipelines] == wanted
        assert max(embedder.embedded.values()) == 1


def _write(pipeline: Pipeline, rng: random.Random) -> dict[str, tuple[int, str]]:
    """Batches of documents in random order; returns what must be visible."""
    wanted: dict[str, tuple[int, str]] = {}
    for version in range(1, 13):
        documents = rng.sample(range(12), 8)
        for document in documents:
            text = f"Weir {rng.randrange(40)} of the river."
            wanted[f"d{document}"] = (version, text)
        pipeline.ingest(
            *(
                make_event(f"d{document}", version, wanted[f"d{document}"][1])
                for document in documents
            )
        )
    return wanted


def _vacuum(connection: psycopg.Connection, ended: threading.Event) -> int:
    rounds = 0
    while not ended.is_set():
        connection.execute("VACUUM (ANALYZE) freshet.document, freshet.chunk, freshet.embedding")
        rounds += 1
    return rounds

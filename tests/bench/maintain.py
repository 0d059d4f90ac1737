"""After much changed: recall and search times with 60 % withdrawn, by VACUUM and by `freshet maintain`, beside ingest.

The real publisher and PostgreSQL in one process; documents of one chunk each, whose vectors lie around common centres,
are copied in. Two copies of the database go two ways: one is vacuumed, as the server does it by itself, one is
maintained. A batch is published every second meanwhile. FRESHET_BENCH_CHUNKS says how many chunks (50,000).
"""

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from psycopg.rows import scalar_row

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running
from corpus.clean.cleaner import Cleaner
from corpus.database import connect, execute_made, migrate
from corpus.embed.space_indexes import build_missing
from corpus.upkeep.maintainer import Done, Wish, maintain
from tests.bench import access
from tests.bench.access import Vectors
from tests.bench.purge import fill
from tests.support.pipeline import Pipeline, make_event

CHUNKS = int(os.environ.get("FRESHET_BENCH_CHUNKS", "50000"))
WITHDRAWN = 0.6
QUERIES = 200
TEXTS = 50  # queries by text; each has a word that all chunks have, and one of a single chunk
K = 10
MIN_RECALL = 0.95
MAX_SECONDS = 5.0  # of a publish, beside upkeep: it waits for no lock
_BATCH = 20  # documents of one published batch
_EVERY_SECONDS = 1.0
_ALONE = 15  # batches
_WARM_UP = 20
_SEARCH = b"""
SELECT d.document_id FROM unnest(ARRAY(
    SELECT chunk_id FROM freshet.vector_candidates(%s::vector, 10, 1::smallint, NULL, NULL, NULL)
)) AS near (chunk_id) JOIN freshet.chunk d USING (chunk_id)"""
_TEXT = b"SELECT chunk_id FROM freshet.search(NULL, %s, 10, 'text')"
_WITHDRAW = b"""
UPDATE freshet.chunk SET visible_to = now() WHERE source = 's' AND document_id = ANY(%s)"""
_SIZES = b"""
SELECT pg_relation_size('freshet.chunk_embedding_space_1') / 1e6, pg_relation_size('freshet.chunk_search_text') / 1e6"""


def run() -> dict[str, Any]:
    """Fill, withdraw, and go both ways."""
    chance = np.random.default_rng(7)
    vectors = access.clustered(chance, CHUNKS)
    queries = access.clustered(chance, QUERIES)
    live = chance.random(CHUNKS) >= WITHDRAWN
    with tempfile.TemporaryDirectory() as folder, Cleaner(processes=1) as cleaner:
        home = Path(folder)
        server = Postgres(home=home, port=free_port(), fsync=False)
        with running(server):
            bench = _Bench(server, home, cleaner, vectors, queries)
            return bench.measure(live)


class _Bench:
    """A server with one corpus, of which copies are made."""

    def __init__(
        self, server: Postgres, home: Path, cleaner: Cleaner, vectors: Vectors, queries: Vectors
    ) -> None:
        self.server, self.home, self.cleaner = server, home, cleaner
        self.vectors, self.queries = vectors, queries

    def measure(self, live: Any) -> dict[str, Any]:
        built = self._fill()
        base = self.server.url_of("base")
        before = self._searched(base, np.ones(CHUNKS, bool))
        gone = [f"old{n}" for n in np.flatnonzero(~live)]
        with connect(base) as connection:
            connection.execute(_WITHDRAW, (gone,))
        withdrawn = self._searched(base, live)
        vacuumed = self._way("vacuumed", live, _vacuum)
        maintained = self._way("maintained", live, _maintain)
        figures = (before, withdrawn, vacuumed, maintained)
        holds = (
            min(one["recall@10"] for one in figures) >= MIN_RECALL
            and maintained["longest publish beside, s"] <= MAX_SECONDS
        )
        return {
            "chunks": CHUNKS,
            "withdrawn share": WITHDRAWN,
            "index built in seconds": built,
            "before": before,
            "withdrawn": withdrawn,
            "vacuumed": vacuumed,
            "maintained": maintained,
            "seconds of VACUUM over those of maintain": round(
                vacuumed["seconds"] / maintained["seconds"], 1
            ),
            "holds": holds,
        }

    def _fill(self) -> float:
        """Seconds that the index took. Nothing is vacuumed unasked: copies are made while no session is open."""
        self.server.create_database("base")
        url = self.server.url_of("base")
        migrate(url)
        with self._pipeline(url, "s") as pipeline:
            pipeline.ingest(make_event("first", 1, "The first document registers the space."))
        with connect(url) as connection:
            connection.execute("ALTER TABLE freshet.chunk SET (autovacuum_enabled = off)")
            execute_made(connection, "drop_space_index", {"space_id": 1})
            for first in range(0, CHUNKS, 5_000):
                fill(connection, self.vectors[first : first + 5_000], first)
            connection.execute("VACUUM ANALYZE freshet.chunk, freshet.document")
        began = time.monotonic()
        build_missing(url)
        return round(time.monotonic() - began, 1)

    def _pipeline(self, url: str, source: str) -> Pipeline:
        folder = self.home / f"staging-{source}"
        return Pipeline(url, folder, source=source, cleaner=self.cleaner)

    def _way(self, name: str, live: Any, upkeep: Callable[[str], None]) -> dict[str, Any]:
        """A copy of the corpus, upkeep of it beside publishing, and what searches find afterwards."""
        self.server.create_database(name, template="base")
        url = self.server.url_of(name)
        with self._pipeline(url, name) as pipeline:
            publish = _Publisher(pipeline)
            publish()  # what is planned and prepared for the first time
            alone = [publish() for _ in range(_ALONE)]
            seconds: list[float] = []
            working = threading.Thread(target=lambda: seconds.append(_seconds(upkeep, url)))
            working.start()
            beside: list[float] = []
            while working.is_alive():
                beside.append(publish())
            working.join()
        figures = self._searched(url, live)
        self.server.drop_database(name)
        return {
            "seconds": round(seconds[0], 1),
            **figures,
            "publish alone, p50 ms": round(statistics.median(alone) * 1000),
            "publish beside, p50 ms": round(statistics.median(beside) * 1000),
            "longest publish alone, s": round(max(alone), 2),
            "longest publish beside, s": round(max(beside), 2),
            "batches beside": len(beside),
            "load": round(os.getloadavg()[0], 1),
        }

    def _searched(self, url: str, live: Any) -> dict[str, Any]:
        """Recall of what is visible, and milliseconds."""
        visible = np.flatnonzero(live)
        times: list[float] = []
        texts: list[float] = []
        found = 0
        with connect(url) as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            for asked in self.queries[:_WARM_UP]:
                cursor.execute(_SEARCH, (asked,)).fetchall()
            for number, asked in enumerate(self.queries):
                near = np.argsort(-(self.vectors[visible] @ asked))[:K]
                wanted = {f"old{visible[place]}" for place in near}
                began = time.perf_counter()
                names = cursor.execute(_SEARCH, (asked,)).fetchall()
                times.append((time.perf_counter() - began) * 1000)
                found += len(wanted.intersection(names))
                if number < TEXTS:
                    began = time.perf_counter()
                    cursor.execute(_TEXT, (f"station {number}",)).fetchall()
                    texts.append((time.perf_counter() - began) * 1000)
            sizes = connection.execute(_SIZES).fetchone()
        assert sizes is not None
        return {
            "recall@10": round(found / (K * len(self.queries)), 4),
            **_percentiles("vector", times),
            **_percentiles("text", texts),
            "vector index MB": round(float(sizes[0]), 1),
            "text index MB": round(float(sizes[1]), 1),
        }


def _percentiles(what: str, times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    p99 = ordered[int(len(ordered) * 0.99) - 1]
    return {
        f"{what} p50 ms": round(statistics.median(ordered), 2),
        f"{what} p99 ms": round(p99, 2),
    }


class _Publisher:
    """Publishes a batch when it is its time, and says how many seconds the publishing step took."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.written = 0

    def __call__(self) -> float:
        pipeline = self.pipeline
        names = range(self.written, self.written + _BATCH)
        self.written += _BATCH
        due = time.monotonic() + _EVERY_SECONDS
        events = [make_event(f"new{n}", 1, f"Gauge {n} of the weir, {n}.") for n in names]
        ref = pipeline.stage(pipeline.records(events))
        number = pipeline.number()
        prepared = pipeline.prepare([ref], number)
        pipeline.embed(prepared)
        began = time.perf_counter()
        pipeline.publish([ref], prepared, number)
        seconds = time.perf_counter() - began
        time.sleep(max(0.0, due - time.monotonic()))
        return seconds


def _seconds(work: Callable[[str], None], url: str) -> float:
    began = time.monotonic()
    work(url)
    return time.monotonic() - began


def _vacuum(url: str) -> None:
    """As the server does it by itself, but without its pauses."""
    with connect(url) as connection:
        connection.execute("SET statement_timeout = 0")
        connection.execute("VACUUM (ANALYZE) freshet.chunk")


def _maintain(url: str) -> None:
    done: list[Done] = []
    only = frozenset({"chunk"})
    maintain(url, Wish(only=only), notify=print, report=done.append)
    names = [one.decision.name for one in done if one.problem is None]
    # Counts are not copied with a database, so an ANALYZE may come first.
    assert names[-2:] == ["chunk_embedding_space_1", "chunk"], done

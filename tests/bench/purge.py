"""Half of the corpus is withdrawn and purged beside ingest: publishing, recall, sizes, and the bytes of one chunk.

The real publisher, purger and PostgreSQL in one process; the rows that are purged are copied in with made vectors, and
their index is built afterwards: a million of them would take hours through the pipeline. A batch is published every two
seconds, before the purge, beside it and after it. FRESHET_BENCH_CHUNKS makes it smaller, FRESHET_BENCH_RATE sets the
rows per second of the purge (0: no limit), FRESHET_BENCH_VACUUM=no leaves out the VACUUM, which repairs the graph of
the index node by node and takes longer than all the rest.
"""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running
from corpus.clean.cleaner import Cleaner
from corpus.database import Connection, execute_made, migrate
from corpus.embed.space_indexes import build_missing
from corpus.purge.purge import Phase, PurgeCursor, PurgeOrder
from corpus.purge.purger import Purger
from tests.support.pipeline import Pipeline, make_event
from tests.support.purging import KEEP_ALL

CHUNKS = int(os.environ.get("FRESHET_BENCH_CHUNKS", "1000000"))
VACUUMS = os.environ.get("FRESHET_BENCH_VACUUM", "yes") == "yes"
RATE = int(os.environ.get("FRESHET_BENCH_RATE", "1000"))
_COPIED = 5_000  # rows of one COPY
_BATCH = 100  # documents of one published batch
_EVERY_SECONDS = 2.0  # a batch begins
_ALONE = 10  # batches before the purge, and as many after it
_BYTES_OF_VECTOR = 4_000  # that building the index takes in memory, generously
_QUERIES = 200  # the same ones each time: a query mostly finds all or none of its ten, as they lie around one centre
_MEASURED = 2_000  # chunks whose bytes are measured
_CENTRES = max(10, CHUNKS // 100)  # vectors lie around so many
_SPREAD = 0.5  # of the vectors around a centre, whose parts have a spread of 1
_MAX_SLOWER = 1.1
_MIN_RECALL = 0.95
_DAY = 86_400


def run() -> dict[str, Any]:
    """Fill, withdraw half, purge beside ingest; and how many bytes a chunk takes."""
    with Cleaner(processes=1) as cleaner:
        with _pipeline(cleaner) as pipeline:
            measured = _Corpus(pipeline).measure()
        bytes_before = _bytes_per_chunk(cleaner, stored_once=False)
        bytes_after = _bytes_per_chunk(cleaner, stored_once=True)
    return measured | {
        "bytes per chunk, stored twice": bytes_before,
        "bytes per chunk, stored once": bytes_after,
    }


@contextmanager
def _pipeline(cleaner: Cleaner) -> Iterator[Pipeline]:
    """A corpus in a database of its own."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        server = Postgres(home=home, port=free_port(), fsync=False)
        with running(server):
            migrate(server.url)
            with Pipeline(server.url, home / "staging", cleaner=cleaner) as pipeline:
                yield pipeline


class _Corpus:
    """A corpus of copied chunks, beside which a source ingests."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.connection = pipeline.connection
        self.random = np.random.default_rng(1)
        self.centres = self.random.standard_normal((_CENTRES, 384), np.float32)
        self.queries = self._vectors(_QUERIES)
        self.written = 0

    def measure(self) -> dict[str, Any]:
        self._publish()  # registers the space
        began = time.monotonic()
        self._fill()
        filled = time.monotonic()
        self._build_index()
        built = time.monotonic()
        alone = self._publish_alone()
        recall_before = self._recall()
        self._withdraw_half()
        sizes_before = self._sizes()
        beside, removed, seconds = self._purge_beside_ingest()
        alone += self._publish_alone()
        recall_purged = self._recall()
        vacuumed = self._vacuum() if VACUUMS else 0.0
        recall_after = self._recall()
        slower = median(beside) / median(alone)
        return {
            "chunks": CHUNKS,
            "rate of the purge": RATE,
            "seconds to fill": round(filled - began),
            "seconds to build the vector index": round(built - filled),
            "removed": removed,
            "seconds of the purge": round(seconds, 1),
            "publishing alone, ms per batch": round(median(alone) * 1000, 1),
            "publishing beside, ms per batch": round(median(beside) * 1000, 1),
            "batches beside": len(beside),
            "recall@10 before": recall_before,
            "recall@10 purged": recall_purged,
            "recall@10 at the end": recall_after,
            "seconds of the vacuum": round(vacuumed, 1),
            "MB before": sizes_before,
            "MB after": self._sizes(),
            "holds": (slower <= _MAX_SLOWER and min(recall_purged, recall_after) >= _MIN_RECALL),
        }

    def _vectors(self, count: int) -> Any:
        near = self.centres[self.random.integers(0, _CENTRES, count)]
        noise = self.random.standard_normal((count, 384), np.float32)
        vectors = near + _SPREAD * noise
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _fill(self) -> None:
        """Documents of one chunk each, as they would be if they had been published long ago."""
        execute_made(self.connection, "drop_space_index", {"space_id": 1})
        for first in range(0, CHUNKS, _COPIED):
            fill(self.connection, self._vectors(min(_COPIED, CHUNKS - first)), first)
        self.connection.execute("ANALYZE freshet.chunk, freshet.document")

    def _build_index(self) -> None:
        """In memory: it takes many times as long where the graph does not fit."""
        megabytes = 64 + CHUNKS * _BYTES_OF_VECTOR // 1_000_000
        self.connection.execute(f"SET maintenance_work_mem = '{megabytes}MB'".encode())
        execute_made(self.connection, "build_space_index", {"space_id": 1})
        build_missing(self.pipeline.database_url)

    def _vacuum(self) -> float:
        """Seconds that it takes to free the rows, and their places in the index."""
        began = time.monotonic()
        self.connection.execute("VACUUM freshet.chunk")
        return time.monotonic() - began

    def _publish(self) -> float:
        """Seconds that the publishing step of a batch takes."""
        pipeline = self.pipeline
        names = range(self.written, self.written + _BATCH)
        self.written += _BATCH
        events = [make_event(f"new{n}", 1, f"Gauge {n} of the weir at reach {n}.") for n in names]
        ref = pipeline.stage(pipeline.records(events))
        number = pipeline.number()
        prepared = pipeline.prepare([ref], number)
        pipeline.embed(prepared)
        began = time.perf_counter()
        pipeline.publish([ref], prepared, number)
        return time.perf_counter() - began

    def _publish_in_time(self) -> float:
        """A batch that begins when it is its time, if the one before has let it."""
        began = time.monotonic()
        seconds = self._publish()
        time.sleep(max(0.0, began + _EVERY_SECONDS - time.monotonic()))
        return seconds

    def _publish_alone(self) -> list[float]:
        return [self._publish_in_time() for _ in range(_ALONE)]

    def _withdraw_half(self) -> None:
        """As a deletion of half of the documents a month ago left it."""
        for table in ("chunk", "document"):
            reason = "" if table == "chunk" else ", end_reason = 'deleted', is_head = false"
            statement = f"""UPDATE freshet.{table} SET visible_to = now() - interval '30 days'{reason}
                            WHERE source = 's' AND document_id LIKE 'old%' AND right(document_id, 1) < '5'"""
            self.connection.execute(statement.encode())

    def _purge_beside_ingest(self) -> tuple[list[float], dict[str, int], float]:
        """Seconds per batch while it is purged, what went, and how long that took."""
        spec = self.pipeline.spec
        self.pipeline.spec = replace(spec, retention=replace(KEEP_ALL, history_seconds=_DAY))
        self.pipeline.configure()
        done: list[tuple[dict[str, int], float]] = []
        purging = threading.Thread(target=lambda: done.append(_purge(self.pipeline)))
        purging.start()
        beside: list[float] = []
        while purging.is_alive():
            beside.append(self._publish_in_time())
        purging.join()
        [(removed, seconds)] = done
        return beside, removed, seconds

    def _recall(self) -> float:
        """Share of the ten nearest that a search by vector finds."""
        found = 0
        for query in self.queries:
            values = {"query": query}
            near = self.connection.execute(_NEAR, values).fetchall()
            with self.connection.transaction():
                self.connection.execute("SET LOCAL enable_indexscan = off")
                exact = self.connection.execute(_EXACT, values).fetchall()
            found += len(set(near) & set(exact))
        return round(found / (10 * _QUERIES), 3)

    def _sizes(self) -> dict[str, int]:
        rows = self.connection.execute(_SIZES).fetchall()
        return {name: round(size / 1_000_000) for name, size in rows}


def fill(connection: Connection, vectors: Any, first: int) -> None:
    """Write documents of one chunk each; they are named `oldN`, from `first` on."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE filled (n integer, embedding vector) ON COMMIT DROP")
        with cursor.copy("COPY filled FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(("int4", "vector"))
            for number, vector in enumerate(vectors, first):
                copy.write_row((number, vector))
        cursor.execute(_FILL)


def _purge(pipeline: Pipeline) -> tuple[dict[str, int], float]:
    """A purge with the pauses of its workflow."""
    purger = Purger(pipeline.pool)
    order = PurgeOrder(source="s", rate=RATE)
    cursor = PurgeCursor(order=order, run_id="bench", workflow_id="purge:s")
    began = time.monotonic()
    while cursor.phase is not Phase.DONE:
        step = time.monotonic()
        cursor = purger.step(cursor)
        if RATE:
            time.sleep(max(0.0, cursor.cost / RATE - (time.monotonic() - step)))
    return purger.finish(cursor).removed, time.monotonic() - began


def _bytes_per_chunk(cleaner: Cleaner, *, stored_once: bool) -> int:
    """Of the whole database, with documents of one chunk."""
    chunks = min(CHUNKS, _MEASURED)
    with _pipeline(cleaner) as pipeline:
        if not stored_once:
            pipeline.connection.execute("DROP INDEX freshet.chunk_vector")
        pipeline.ingest(make_event("first", 1, "The first document registers the space."))
        before = _database_bytes(pipeline)
        for first in range(0, chunks, _BATCH):
            names = range(first, first + _BATCH)
            pipeline.ingest(
                *(make_event(f"d{n}", 1, f"Gauge {n} of the weir, {n}.") for n in names)
            )
        if stored_once:
            build_missing(pipeline.database_url)
        else:
            # Not the one by which vectors are found in chunks, which was not there.
            execute_made(pipeline.connection, "build_space_index", {"space_id": 1})
        pipeline.connection.execute("VACUUM")
        return round((_database_bytes(pipeline) - before) / chunks)


def _database_bytes(pipeline: Pipeline) -> int:
    row = pipeline.connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


_FILL = b"""
WITH opened AS (
    INSERT INTO freshet.chunk (source, document_id, text_sha256, text, token_count, search_text, space_id, dimensions,
        embedding, visible_from, batch)
    SELECT 's', 'old' || n, sha256(convert_to('old ' || n, 'UTF8')), 'Old station ' || n, 4,
           to_tsvector('english', 'Old station ' || n), 1, 384, embedding, now() - interval '60 days', 1
    FROM filled RETURNING chunk_id, document_id, visible_from
)
INSERT INTO freshet.document (source, document_id, version, kind, is_head, visible_from, metadata, space_id, chunk_ids,
    chunk_starts, chunk_headings, observed_at, batch)
SELECT 's', document_id, 1, 'document', true, visible_from, '{}', 1, ARRAY[chunk_id], '{0}', '{""}', visible_from, 1
FROM opened"""
_NEAR = (
    b"SELECT chunk_id FROM freshet.vector_candidates(%(query)s, 10, 1::smallint, NULL, NULL, NULL)"
)
_EXACT = b"""
SELECT chunk_id FROM freshet.chunk WHERE visible_to IS NULL AND space_id = 1
 ORDER BY embedding <=> %(query)s LIMIT 10"""
_SIZES = b"""
SELECT 'chunks', pg_table_size('freshet.chunk')
UNION ALL SELECT 'vector index', pg_relation_size('freshet.chunk_embedding_space_1')
UNION ALL SELECT 'index of closed chunks', pg_relation_size('freshet.chunk_ended')
UNION ALL SELECT 'index of vectors of texts', pg_relation_size('freshet.chunk_vector')
UNION ALL SELECT 'versions', pg_table_size('freshet.document')
UNION ALL SELECT 'embedding store', pg_total_relation_size('freshet.embedding')"""

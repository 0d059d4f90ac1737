"""Bytes of a chunk, build of the index, recall and time of a search, for each precision of an embedding space.

`FRESHET_BENCH_CHUNKS` says how many chunks (100,000). One database per precision, with the same rows; at last the one
in full precision is brought into half precision, as an operator does it.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from psycopg.rows import scalar_row

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running
from corpus.database import Connection, connect, migrate
from corpus.embed.space_indexes import build_missing
from corpus.sql import query
from tests.bench import access
from tests.bench.access import Vectors

CHUNKS = int(os.environ.get("FRESHET_BENCH_CHUNKS", "100000"))
QUERIES = 200
K = 10
MIN_RECALL = 0.95
# The column that new chunks have their vectors in.
COLUMNS = {"full": "embedding", "half_index": "embedding", "half": "embedding_half"}
_SEARCH = b"""
SELECT chunk_id FROM freshet.vector_candidates(%s::vector, 10, 1::smallint, NULL, NULL, NULL)"""
_CHOOSE = {"fingerprint": "f"}
_SIZES = b"""
SELECT 'table' AS what, pg_relation_size('freshet.chunk') AS bytes
UNION ALL SELECT 'TOAST', pg_table_size(c.reltoastrelid) FROM pg_class c WHERE c.oid = 'freshet.chunk'::regclass
UNION ALL SELECT CASE WHEN i.relname LIKE 'chunk_embedding%' THEN 'vector index' WHEN i.relname = 'chunk_search_text'
                      THEN 'text index' ELSE 'other indexes' END, sum(pg_relation_size(i.oid))
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = 'freshet.chunk'::regclass GROUP BY 1"""


def run() -> dict[str, Any]:
    """Fill a database for each precision, measure; then change one."""
    chance = np.random.default_rng(7)
    vectors = access.clustered(chance, CHUNKS)
    queries = access.clustered(chance, QUERIES)
    nearest = [set(np.argsort(-(vectors @ asked))[:K].tolist()) for asked in queries]
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(home=Path(folder), port=free_port(), fsync=False)
        with running(server):
            results = {
                precision: _measure(server, precision, vectors, queries, nearest)
                for precision in COLUMNS
            }
            url = server.url_of("full")
            changed = _change(url) | _searched(url, queries, nearest)
    recalls = [result["recall@10"] for result in (*results.values(), changed)]
    return {
        "chunks": CHUNKS,
        "dimensions": access.DIMENSIONS,
        **results,
        "full, changed to half": changed,
        "holds": min(recalls) >= MIN_RECALL,
    }


def _measure(
    server: Postgres, precision: str, vectors: Vectors, queries: Vectors, nearest: list[set[int]]
) -> dict[str, Any]:
    server.create_database(precision)
    url = server.url_of(precision)
    migrate(url)
    groups = np.full(len(vectors), "all")
    with connect(url) as connection:
        access.fill(connection, vectors, groups, COLUMNS[precision])
        connection.execute(query("choose_vectors"), _CHOOSE | {"vectors": precision})
        # Nothing is there to be narrowed.
        connection.execute("UPDATE freshet.embedding_space SET next_to_narrow = NULL")
    started = time.monotonic()
    build_missing(url)
    seconds = time.monotonic() - started
    return (
        {"index built in seconds": round(seconds, 1)}
        | _sizes(url)
        | _searched(url, queries, nearest)
    )


def _change(url: str) -> dict[str, Any]:
    """What an operator sees of `vectors = "half"` for a space that has its chunks."""
    with connect(url) as connection:
        connection.execute(query("choose_vectors"), _CHOOSE | {"vectors": "half"})
    started = time.monotonic()
    build_missing(url)
    seconds = time.monotonic() - started
    return {"changed in seconds": round(seconds, 1)} | _sizes(url)


def _sizes(url: str) -> dict[str, Any]:
    """Bytes per chunk; a table does not shrink when its rows do."""
    with connect(url) as connection:
        connection.execute("VACUUM ANALYZE freshet.chunk")
        rows = sorted(connection.execute(_SIZES).fetchall())
    per_chunk = {what: round(int(size) / CHUNKS) for what, size in rows}
    return {"bytes per chunk": per_chunk | {"all": sum(per_chunk.values())}}


def _searched(url: str, queries: Vectors, nearest: list[set[int]]) -> dict[str, Any]:
    """Recall against exact search in full precision, and milliseconds."""
    times: list[float] = []
    found = 0
    with connect(url) as connection:
        for asked in queries[:20]:  # what is read for the first time
            _search(connection, asked)
        for asked, wanted in zip(queries, nearest, strict=True):
            started = time.perf_counter()
            chunks = _search(connection, asked)
            times.append((time.perf_counter() - started) * 1000)
            found += len(wanted.intersection(chunk - 1 for chunk in chunks))
    return {
        "recall@10": round(found / (K * len(queries)), 4),
        "p50 ms": round(statistics.median(times), 2),
        "p99 ms": round(sorted(times)[int(len(times) * 0.99) - 1], 2),
    }


def _search(connection: Connection, asked: Vectors) -> list[int]:
    """Numbers of the chunks; those of the bench count from 1."""
    cursor = connection.cursor(row_factory=scalar_row)
    return cursor.execute(_SEARCH, (asked,)).fetchall()

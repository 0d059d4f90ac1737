"""Search under access lists: recall against exact search, and what row-level security costs.

`FRESHET_BENCH_CHUNKS` says how many chunks (100,000). Each document has one access list: groups see 1 %, 10 % and 50 %
of the chunks.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg.types.json import Jsonb

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running
from corpus.access.reader import Reader, reading_as
from corpus.database import Connection, connect, migrate
from corpus.embed.space_indexes import build_missing
from corpus.sessions.roles import GATEWAY
from corpus.source import SourceSpec
from tests.support.logins import login

CHUNKS = int(os.environ.get("FRESHET_BENCH_CHUNKS", "100000"))
DIMENSIONS = 384
CLUSTERS = 200
QUERIES = 200
K = 10
# Share of the chunks that a group sees; the rest belongs to a group of nobody here.
SHARES = {"one": 0.01, "ten": 0.10, "half": 0.50}
MIN_RECALL = 0.95
MAX_RATIO = 1.5
_WORDS = [f"word{n}" for n in range(2_000)]
_SEARCH = "SELECT chunk_id FROM freshet.search(%s::vector, %s, 10, %s)"

Vectors = npt.NDArray[np.float32]


def run() -> dict[str, Any]:
    """Fill a database, then search as who sees all, and as each group."""
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(home=Path(folder), port=free_port(), fsync=False)
        with running(server):
            migrate(server.url)
            return _measure(server.url)


def _measure(url: str) -> dict[str, Any]:
    chance = np.random.default_rng(7)
    vectors = _clustered(chance, CHUNKS)
    queries = _clustered(chance, QUERIES)
    groups = chance.choice(
        [*SHARES, "others"], CHUNKS, p=[*SHARES.values(), 1 - sum(SHARES.values())]
    )
    with connect(url) as connection:
        _fill(connection, vectors, groups)
    started = time.monotonic()
    build_missing(url)
    indexed = time.monotonic() - started
    with connect(url) as connection:
        connection.execute("VACUUM ANALYZE freshet.chunk")
        plain = _latencies(connection, queries, None)
    results: dict[str, Any] = {}
    holds = True
    with login(url, GATEWAY) as gateway_url, connect(gateway_url) as gateway:
        for group in SHARES:
            who = Reader(name="bench", sources=frozenset({"s"}), groups=(group,))
            seen = np.flatnonzero(groups == group)
            recall = _recall(gateway, who, queries, vectors, seen)
            timed = _latencies(gateway, queries, who)
            ratios = {mode: timed[mode]["p99 ms"] / plain[mode]["p99 ms"] for mode in timed}
            holds = holds and recall >= MIN_RECALL and max(ratios.values()) <= MAX_RATIO
            results[f"{SHARES[group]:.0%} of the chunks"] = {
                "recall@10": round(recall, 4),
                **timed,
                "p99 over p99 without": {mode: round(ratio, 2) for mode, ratio in ratios.items()},
            }
    return {
        "chunks": CHUNKS,
        "index built in seconds": round(indexed, 1),
        "who sees all": plain,
        **results,
        "holds": holds,
    }


def _clustered(chance: np.random.Generator, count: int) -> Vectors:
    """Unit vectors around common centres, as embeddings of one subject are."""
    centres = np.random.default_rng(3).normal(size=(CLUSTERS, DIMENSIONS))
    places = chance.integers(0, CLUSTERS, count)
    made = centres[places] + 0.6 * chance.normal(size=(count, DIMENSIONS))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made.astype(np.float32)


def _fill(connection: Connection, vectors: Vectors, groups: npt.NDArray[np.str_]) -> None:
    """One document per chunk, written as rows: what is measured is reading."""
    spec = SourceSpec(source="s", topics=("s",))
    connection.execute(
        "INSERT INTO freshet.source (source, spec, last_batch, last_published_at) VALUES ('s', %s, 1, now())",
        (Jsonb(spec.to_json()),),
    )
    connection.execute(
        "SELECT freshet.register_space('f', 'm', 'w', 'mean', '', %s, true, 256)", (DIMENSIONS,)
    )
    connection.execute(
        """INSERT INTO freshet.batch (source, batch, kind, state, workflow_id, run_id, staged_at, published_at)
           VALUES ('s', 1, 'ingest', 'published', 'w', 'r', now(), now())"""
    )
    ids: dict[str, int] = {}
    for group in {*groups.tolist()}:
        row = connection.execute("SELECT freshet.access_of('s', %s)", ([group],)).fetchone()
        assert row is not None
        ids[group] = row[0]
    chance = np.random.default_rng(11)
    copying = """COPY freshet.chunk (source, document_id, text_sha256, text, token_count, search_text, space_id,
                     dimensions, embedding, visible_from, batch, access_id, language, headings) FROM STDIN"""
    with (
        connection.transaction(),
        connection.cursor() as cursor,
        cursor.copy(copying.encode()) as copy,
    ):
        for n, vector in enumerate(vectors):
            words = [_WORDS[at] for at in chance.integers(0, len(_WORDS), 20)]
            text = " ".join(words)
            terms = " ".join(f"'{word}':{at}" for at, word in enumerate(sorted(set(words)), 1))
            digest = n.to_bytes(32, "big")
            shown = "[" + ",".join(f"{value:.5f}" for value in vector) + "]"
            row = ("s", f"d{n}", digest, text, 20, terms, 1, DIMENSIONS, shown, "2026-01-01Z", 1)
            copy.write_row((*row, ids[str(groups[n])], "english", ""))
    connection.execute(
        """INSERT INTO freshet.document (source, document_id, version, kind, is_head, visible_from, acl, observed_at,
               batch, chunk_ids, chunk_starts, chunk_headings, space_id)
           SELECT 's', c.document_id, 1, 'document', true, c.visible_from, a.acl, c.visible_from, 1, ARRAY[c.chunk_id],
                  '{0}', '{""}', 1
           FROM freshet.chunk c JOIN freshet.access_list a USING (access_id)"""
    )
    connection.execute("ANALYZE freshet.document")


def _search(
    connection: Connection, who: Reader | None, vector: Vectors, text: str, mode: str
) -> list[int]:
    def found() -> list[int]:
        shown = "[" + ",".join(f"{value:.5f}" for value in vector) + "]"
        return [row[0] for row in connection.execute(_SEARCH.encode(), (shown, text, mode))]

    if who is None:
        with connection.transaction():
            return found()
    with reading_as(connection, who):
        return found()


def _recall(
    connection: Connection,
    who: Reader,
    queries: Vectors,
    vectors: Vectors,
    seen: npt.NDArray[np.intp],
) -> float:
    """Share of the nearest that a search returns, of those that the group sees."""
    returned = 0
    wanted = 0
    for query in queries:
        similarity = vectors[seen] @ query
        nearest = {int(seen[n]) + 1 for n in np.argsort(-similarity)[:K]}
        returned += len(nearest & set(_search(connection, who, query, "", "vector")))
        wanted += len(nearest)
    return returned / wanted


def _latencies(
    connection: Connection, queries: Vectors, who: Reader | None
) -> dict[str, dict[str, float]]:
    chance = np.random.default_rng(5)
    places = chance.integers(0, len(_WORDS), (len(queries), 3))
    texts = [" ".join(_WORDS[place] for place in three) for three in places]

    def timed(mode: str) -> Callable[[int], float]:
        def one(n: int) -> float:
            started = time.perf_counter()
            _search(connection, who, queries[n], texts[n], mode)
            return (time.perf_counter() - started) * 1000

        return one

    measured: dict[str, dict[str, float]] = {}
    for mode in ("vector", "text", "hybrid"):
        one = timed(mode)
        for n in range(20):  # what is read for the first time
            one(n)
        times = sorted(one(n) for n in range(len(queries)))
        measured[mode] = {
            "p50 ms": round(statistics.median(times), 2),
            "p99 ms": round(times[int(len(times) * 0.99) - 1], 2),
        }
    return measured

"""Search under access lists: recall against exact search, and what row-level security costs.

`FRESHET_BENCH_CHUNKS` says how many chunks (100,000). Each document has one access list: groups see 1 %, 10 % and 50 %
of the chunks.
"""

import os
import statistics
import tempfile
import time
from dataclasses import dataclass
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
MODES = ("vector", "text", "hybrid")
ROUNDS = 2  # of all queries
WARM_UP = 20
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
    vectors = clustered(chance, CHUNKS)
    queries = clustered(chance, QUERIES)
    groups = chance.choice(
        [*SHARES, "others"], CHUNKS, p=[*SHARES.values(), 1 - sum(SHARES.values())]
    )
    with connect(url) as connection:
        fill(connection, vectors, groups)
    started = time.monotonic()
    build_missing(url)
    indexed = time.monotonic() - started
    with (
        connect(url) as plain,
        login(url, GATEWAY) as gateway_url,
        connect(gateway_url) as gateway,
    ):
        plain.execute("VACUUM ANALYZE freshet.chunk")
        searchers = [_Searcher("who sees all", plain, None)]
        for group in SHARES:
            reader = Reader(name="bench", sources=frozenset({"s"}), groups=(group,))
            searchers.append(_Searcher(group, gateway, reader))
        times = _times(searchers, queries)
        results = {
            f"{SHARES[searcher.name]:.0%} of the chunks": _result(
                searcher, queries, vectors, groups
            )
            | _beside(times["who sees all"], times[searcher.name])
            for searcher in searchers[1:]
        }
    holds = all(
        result["recall@10"] >= MIN_RECALL
        and max(result["p99 over p99 without"].values()) <= MAX_RATIO
        for result in results.values()
    )
    return {
        "chunks": CHUNKS,
        "index built in seconds": round(indexed, 1),
        "who sees all": {mode: _figures(times["who sees all"][mode]) for mode in MODES},
        **results,
        "holds": holds,
    }


@dataclass(frozen=True, slots=True)
class _Searcher:
    """Who searches; without a reader, row-level security is passed over."""

    name: str
    connection: Connection
    reader: Reader | None


# Searcher -> mode -> milliseconds, sorted.
Times = dict[str, dict[str, list[float]]]


def _times(searchers: list[_Searcher], queries: Vectors) -> Times:
    """Everyone asks each question, one after the other, so that all meet the same machine."""
    chance = np.random.default_rng(5)
    places = chance.integers(0, len(_WORDS), (len(queries), 3))
    texts = [" ".join(_WORDS[place] for place in three) for three in places]
    times: Times = {searcher.name: {mode: [] for mode in MODES} for searcher in searchers}
    for mode in MODES:
        for asked in range(-WARM_UP, ROUNDS * len(queries)):
            n = asked % len(queries)
            for searcher in searchers:
                started = time.perf_counter()
                _search(searcher.connection, searcher.reader, queries[n], texts[n], mode)
                milliseconds = (time.perf_counter() - started) * 1000
                if asked >= 0:  # before that, what is read for the first time
                    times[searcher.name][mode].append(milliseconds)
    return {
        name: {mode: sorted(by_mode[mode]) for mode in MODES} for name, by_mode in times.items()
    }


def _p99(times: list[float]) -> float:
    return times[int(len(times) * 0.99) - 1]


def _figures(times: list[float]) -> dict[str, float]:
    return {"p50 ms": round(statistics.median(times), 2), "p99 ms": round(_p99(times), 2)}


def _beside(without: dict[str, list[float]], times: dict[str, list[float]]) -> dict[str, Any]:
    medians = {
        mode: round(statistics.median(times[mode]) / statistics.median(without[mode]), 2)
        for mode in MODES
    }
    ratios = {mode: round(_p99(times[mode]) / _p99(without[mode]), 2) for mode in MODES}
    figures = {mode: _figures(times[mode]) for mode in MODES}
    return {**figures, "p50 over p50 without": medians, "p99 over p99 without": ratios}


def _result(
    searcher: _Searcher, queries: Vectors, vectors: Vectors, groups: npt.NDArray[np.str_]
) -> dict[str, Any]:
    assert searcher.reader is not None
    seen = np.flatnonzero(groups == searcher.name)
    recall = _recall(searcher.connection, searcher.reader, queries, vectors, seen)
    return {"recall@10": round(recall, 4)}


def clustered(chance: np.random.Generator, count: int) -> Vectors:
    """Unit vectors around common centres, as embeddings of one subject are."""
    centres = np.random.default_rng(3).normal(size=(CLUSTERS, DIMENSIONS))
    places = chance.integers(0, CLUSTERS, count)
    made = centres[places] + 0.6 * chance.normal(size=(count, DIMENSIONS))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made.astype(np.float32)


def fill(
    connection: Connection,
    vectors: Vectors,
    groups: npt.NDArray[np.str_],
    column: str = "embedding",
) -> None:
    """One document per chunk, written as rows: what is measured is reading.

    Args:
        connection: to a database without a source.
        vectors: of the chunks.
        groups: of the documents.
        column: that holds the vectors.
    """
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
    copying = f"""COPY freshet.chunk (source, document_id, text_sha256, text, token_count, search_text, space_id,
                     dimensions, {column}, visible_from, batch, access_id, language, headings) FROM STDIN"""
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

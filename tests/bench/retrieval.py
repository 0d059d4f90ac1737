"""SciFact (BEIR), train queries, whole abstracts, through the real stack and the HNSW index: nDCG@10.

With FRESHET_RERANK_MODEL, also of hybrid search in the order of that cross-encoder.
"""

import csv
import json
import math
import os
import statistics
import time
from typing import Any

from corpus.answer.rerank import CANDIDATES
from corpus.database import Connection
from corpus.embed.cross_encoder import CrossEncoderReranker
from corpus.embed.embedder import SentenceTransformerEmbedder
from ingest.event_file import zstd
from tests.bench import data
from tests.bench.stack import Stack
from tests.support.inputs import DATA

TOML = """
[source.scifact]
topics = ["scifact"]
partitions = 2
model = "all-MiniLM-L6-v2"

[source.scifact.pipeline]
chunker = "whole"
"""


def run() -> dict[str, Any]:
    """Measure all three modes, and vector search without the index."""
    folder = DATA / "retrieval" / "scifact"
    with Stack() as stack:
        stack.apply(TOML)
        with zstd.open(folder / "corpus.jsonl.zst") as lines:
            documents = [json.loads(line) for line in lines]
        events = [
            {
                "id": str(document["_id"]),
                "version": 1,
                "content_type": "text/plain",
                "content": f"{document['title']} {document['text']}",
            }
            for document in documents
        ]
        stack.produce("scifact", data.write_events(stack.home / "scifact.jsonl", events))
        drained = stack.drain(900)
        assert drained["drained"], drained
        relevant: dict[str, dict[str, int]] = {}
        with (folder / "qrels" / "train.tsv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                relevant.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
        queries = {
            str(query["_id"]): query["text"]
            for query in map(
                json.loads, (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
            )
        }
        return {
            "documents": len(events),
            "queries": len(relevant),
            **_score(stack, queries, relevant),
        }


def _score(
    stack: Stack, queries: dict[str, str], relevant: dict[str, dict[str, int]]
) -> dict[str, Any]:
    embedder = SentenceTransformerEmbedder("all-MiniLM-L6-v2", precision="fp32")
    vectors = {query: embedder.embed_query(queries[query]) for query in relevant}
    result: dict[str, Any] = {}
    with stack.connect() as connection:
        for mode in ("vector", "text", "hybrid"):
            started = time.perf_counter()
            gains = []
            for query, wanted in relevant.items():
                vector = None if mode == "text" else vectors[query]
                rows = connection.execute(
                    "SELECT document_id FROM freshet.search(%s::vector, %s, 10, %s, NULL, ARRAY['scifact'])",
                    (vector, queries[query], mode),
                ).fetchall()
                gains.append(_ndcg([row[0] for row in rows], wanted))
            result[f"nDCG@10 {mode}"] = round(statistics.mean(gains), 5)
            result[f"{mode} ms per query"] = round(
                (time.perf_counter() - started) / len(relevant) * 1000, 1
            )
        gains = []
        for query, wanted in relevant.items():
            rows = connection.execute(
                "SELECT document_id FROM freshet.chunk WHERE visible_to IS NULL "
                "ORDER BY embedding <=> %s::vector LIMIT 10",
                (vectors[query],),
            ).fetchall()
            gains.append(_ndcg([row[0] for row in rows], wanted))
        result["nDCG@10 exact scan"] = round(statistics.mean(gains), 5)
        model = os.environ.get("FRESHET_RERANK_MODEL", "")
        if model:
            result |= _reranked(connection, CrossEncoderReranker(model), queries, vectors, relevant)
    return result


def _reranked(
    connection: Connection,
    reranker: CrossEncoderReranker,
    queries: dict[str, str],
    vectors: dict[str, Any],
    relevant: dict[str, dict[str, int]],
) -> dict[str, Any]:
    """The candidates of a hybrid search in the order of a cross-encoder; its time alone."""
    seconds, gains = 0.0, []
    for query, wanted in relevant.items():
        rows = connection.execute(
            "SELECT document_id, text FROM freshet.search(%s::vector, %s, %s, 'hybrid', NULL, ARRAY['scifact'])",
            (vectors[query], queries[query], CANDIDATES),
        ).fetchall()
        started = time.perf_counter()
        scores = reranker.scores(queries[query], [row[1] for row in rows])
        seconds += time.perf_counter() - started
        best_first = sorted(range(len(rows)), key=lambda place: -scores[place])
        gains.append(_ndcg([rows[place][0] for place in best_first], wanted))
    return {
        "nDCG@10 hybrid, reranked": round(statistics.mean(gains), 5),
        "reranking ms per query": round(seconds / len(relevant) * 1000, 1),
    }


def _ndcg(found: list[str], wanted: dict[str, int]) -> float:
    """nDCG@10 with linear gain, as BEIR's evaluation."""
    gain = sum(
        wanted.get(document, 0) / math.log2(place + 2) for place, document in enumerate(found[:10])
    )
    ideal = sum(
        score / math.log2(place + 2)
        for place, score in enumerate(sorted(wanted.values(), reverse=True)[:10])
    )
    return gain / ideal if ideal else 0.0

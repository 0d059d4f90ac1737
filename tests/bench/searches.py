"""Searches through the gateway's search function, offered at a fixed rate beside an ingest: how long each took.

Real PostgreSQL, the real model for the queries; the ingest is a process of its own with the embedder without a model.
What is not measured is the way through Temporal. The time of a search begins when it was due, so one that waits behind
others counts its waiting. Half of the questions were asked before. FRESHET_BENCH_RATE (50 per second),
FRESHET_BENCH_SECONDS (30) and FRESHET_BENCH_CHUNKS (5,000) change it.
"""

import multiprocessing
import os
import random
import statistics
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running
from corpus.access.reader import Reader
from corpus.answer.query_vectors import QueryVectors
from corpus.answer.service_handler import THREADS
from corpus.database import connect, migrate, open_pool
from corpus.embed.embedder import SentenceTransformerEmbedder
from corpus.embed.space_indexes import build_missing
from corpus.service import SearchRequest
from tests.support.fakes import MODEL
from tests.support.pipeline import Pipeline, make_event
from workers.roles.gateway import Search, answering

RATE = int(os.environ.get("FRESHET_BENCH_RATE", "50"))
SECONDS = int(os.environ.get("FRESHET_BENCH_SECONDS", "30"))
CHUNKS = int(os.environ.get("FRESHET_BENCH_CHUNKS", "5000"))
WARM_UP = 50  # searches
QUESTIONS = 40  # that are asked again and again
_BATCH = 200  # documents
_EMBEDDED = 60  # queries whose time in the model is measured
_SECONDS_PER_TICK = 1 / os.sysconf("SC_CLK_TCK")
_WORDS = [f"{kind}{n}" for kind in ("weir", "gauge", "river", "level") for n in range(500)]
_READER = Reader(name="team:bench", sources=frozenset({"s"}))


def run() -> dict[str, Any]:
    """Fill, ingest beside, search."""
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(home=Path(folder), port=free_port(), fsync=False)
        with running(server):
            migrate(server.url)
            with Pipeline(server.url, Path(folder) / "staging") as pipeline:
                for first in range(0, CHUNKS, _BATCH):
                    pipeline.ingest(*_documents(first))
            build_missing(server.url)
            return _measure(server.url, folder)


def _documents(first: int) -> list[dict[str, Any]]:
    """Documents of one chunk."""
    chance = random.Random(first)
    return [
        make_event(f"d{n}", 1, " ".join(chance.choices(_WORDS, k=60)))
        for n in range(first, first + _BATCH)
    ]


def _measure(url: str, folder: str) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    ended = context.Event()
    written = context.Value("q", 0)
    ingest = context.Process(target=_ingest, args=(url, folder, ended, written), daemon=True)
    model = SentenceTransformerEmbedder(MODEL, threads=1)
    vectors = QueryVectors()

    def embedder_of(_model: str, _prefix: str) -> SentenceTransformerEmbedder:
        return model

    with (
        open_pool(url, size=THREADS, application="bench-search") as pool,
        open_pool(url, size=THREADS, application="bench-past") as past,
    ):
        answer = answering(pool, past, embedder_of, vectors)
        for request in _requests(WARM_UP, seed=1):
            answer(_READER, request)
        ingest.start()
        _wait(written)
        before = (vectors.hits, written.value)
        began = time.perf_counter()
        cpu = (time.process_time(), _server_cpu(url))
        took = _offer(answer)
        seconds = time.perf_counter() - began
        cpu = (time.process_time() - cpu[0], _server_cpu(url) - cpu[1])
        ingested = written.value - before[1]
        ended.set()
        ingest.join(60)
    took.sort()
    return {
        "searches": len(took),
        "offered per second": RATE,
        "achieved per second": round(len(took) / seconds, 1),
        "p50 ms": round(1000 * statistics.median(took), 1),
        "p99 ms": round(1000 * took[int(len(took) * 0.99) - 1], 1),
        "greatest ms": round(1000 * took[-1], 1),
        "share of queries with a vector at hand": round((vectors.hits - before[0]) / len(took), 2),
        "CPU ms per search, in the gateway": round(1000 * cpu[0] / len(took), 1),
        "CPU ms per search, in PostgreSQL": round(1000 * cpu[1] / len(took), 1),
        "documents ingested beside, per second": round(ingested / seconds, 1),
        "p50 ms of the model, per query": _model_ms(model),
        "load": round(os.getloadavg()[0], 1),
    }


def _ingest(url: str, folder: str, ended: Any, written: Any) -> None:
    with Pipeline(url, Path(folder) / "staging", source="beside") as pipeline:
        first = 1_000_000
        while not ended.is_set():
            pipeline.ingest(*_documents(first))
            first += _BATCH
            written.value += _BATCH


def _wait(written: Any) -> None:
    deadline = time.monotonic() + 120
    while not written.value and time.monotonic() < deadline:
        time.sleep(0.1)
    if not written.value:
        raise RuntimeError("the ingest beside did not begin")


def _requests(count: int, *, seed: int) -> list[SearchRequest]:
    """Every other one is among the questions that are asked again."""
    chance = random.Random(seed)
    known = [
        " ".join(_WORDS[(7 * n + m) % len(_WORDS)] for m in range(6)) for n in range(QUESTIONS)
    ]
    return [
        SearchRequest(
            query=chance.choice(known) if n % 2 else " ".join(chance.choices(_WORDS, k=6)),
            mode="hybrid",
        )
        for n in range(count)
    ]


def _offer(answer: Search) -> list[float]:
    """Seconds from the moment that each search was due until its answer."""
    requests = _requests(RATE * SECONDS, seed=2)
    begin = time.perf_counter()

    def ask(due: float, request: SearchRequest) -> float:
        answer(_READER, request)
        return time.perf_counter() - due

    # As many at once as the gateway has threads.
    with ThreadPoolExecutor(THREADS) as threads:
        asked: list[Future[float]] = []
        for n, request in enumerate(requests):
            due = begin + n / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            asked.append(threads.submit(ask, due, request))
        return [one.result() for one in asked]


def _server_cpu(url: str) -> float:
    """CPU seconds of the server processes that search so far."""
    with connect(url) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'bench-search%'"
        ).fetchall()
    seconds = 0.0
    for (pid,) in rows:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        seconds += (int(fields[11]) + int(fields[12])) * _SECONDS_PER_TICK
    return seconds


def _model_ms(model: SentenceTransformerEmbedder) -> float:
    took: list[float] = []
    for request in _requests(_EMBEDDED, seed=3):
        began = time.perf_counter()
        model.embed_query(request.query)
        took.append(time.perf_counter() - began)
    return round(1000 * statistics.median(took), 1)

"""Metrics: counters equal the ledger whatever was restarted, gauges show what is so now, one address per role."""

import asyncio
import base64
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg.rows import namedtuple_row
from psycopg_pool import ConnectionPool
from temporalio import workflow
from temporalio.client import Client

from corpus.database import Connection, open_pool
from corpus.embed.step import EmbedStep
from corpus.errors import DependencyError
from ingest.kafka import Cluster
from ingest.overview import Progress
from tests.support.fake_meter import FakeMeter
from tests.support.files import pdfs
from tests.support.pipeline import Pipeline, make_event
from tests.support.polling import until, wait_until
from workers.roles import corpus_metrics
from workers.roles import metrics as role_metrics
from workers.roles.corpus_metrics import CorpusMetrics
from workers.roles.figures import BatchesInFlight, ModelFigures, PoolFigures
from workers.roles.table import ROLES

pytestmark = pytest.mark.service


@pytest.fixture
def pool(pipeline: Pipeline) -> Iterator[ConnectionPool[Connection]]:
    with open_pool(pipeline.database_url, size=1) as pool:
        yield pool


@pytest.fixture
def lags(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What Kafka would say."""
    answer: dict[str, int] = {"s": 7}
    lost = {"s": ["deletes may be lost since a while"]}
    waits = dict.fromkeys(answer, 2.6)
    read = Progress(lags=answer, waiting_seconds=waits, deletes_lost=lost)
    monkeypatch.setattr(corpus_metrics, "progress", lambda *_: read)
    return answer


def made(pool: ConnectionPool[Connection]) -> tuple[CorpusMetrics, FakeMeter]:
    meter: Any = FakeMeter()
    return CorpusMetrics(pool, Cluster("127.0.0.1:1", {}), meter), meter


def test_counters_equal_the_ledger_in_every_round_and_after_a_restart(
    pipeline: Pipeline, pool: ConnectionPool[Connection], lags: dict[str, int]
) -> None:
    metrics, meter = made(pool)
    metrics.update()
    assert meter.value("freshet_batches", source="s") == 0
    page = "<html><body><nav>Home About Contact</nav><main><p>One fact.</p></main></body></html>"
    pipeline.ingest(
        make_event("a", 1, page, content_type="text/html"), make_event("b", 1, "Two facts.")
    )
    pipeline.ingest(make_event("b", 1, "Two facts."), b"not JSON")
    for _ in range(3):
        metrics.update()
    pipeline.ingest(make_event("a", 2, "Three facts.", language="tlh"))
    encoded = base64.b64encode(pdfs.pages(1)).decode()
    pipeline.ingest(make_event("f", 1, content_type="text/html", content_base64=encoded))
    metrics.update()
    restarted, again = made(pool)
    restarted.update()
    assert again.values == meter.values
    with pipeline.connection.cursor(row_factory=namedtuple_row) as cursor:
        ledger = cursor.execute(
            """SELECT count(*) AS batches, sum(applied) AS applied, sum(unchanged) AS unchanged,
                  sum(dead_lettered) AS dead_lettered, sum(received_characters) AS received,
                  sum(kept_characters) AS kept, sum(tokens) AS tokens
             FROM freshet.batch WHERE source = 's'"""
        ).fetchone()
    assert meter.value("freshet_batches", source="s") == ledger.batches == 4
    assert meter.value("freshet_text_notes", source="s", note="read_as") == 1
    assert meter.value("freshet_languages_not_known", source="s", reason="unknown") == 1
    assert meter.value("freshet_languages_not_known", source="s", reason="unsure") == 0
    for outcome, count in (
        ("applied", ledger.applied),
        ("unchanged", ledger.unchanged),
        ("dead_lettered", ledger.dead_lettered),
    ):
        assert meter.value("freshet_records", source="s", outcome=outcome) == count > 0
    assert meter.value("freshet_characters_received", source="s") == ledger.received
    assert meter.value("freshet_characters_kept", source="s") == ledger.kept
    assert meter.value("freshet_tokens", source="s") == ledger.tokens
    dropped = {
        attributes: count
        for (name, attributes), count in meter.values.items()
        if name == "freshet_characters_dropped"
    }
    assert sum(dropped.values()) == ledger.received - ledger.kept > 0


def test_gauges_show_what_is_so_now(
    pipeline: Pipeline, pool: ConnectionPool[Connection], lags: dict[str, int]
) -> None:
    metrics, meter = made(pool)
    pipeline.ingest(b"not JSON")
    metrics.update()
    assert meter.value("freshet_dead_letters_open", source="s") == 1
    assert meter.value("freshet_lag_records", source="s") == 7
    assert meter.value("freshet_lag_seconds", source="s") == 3
    assert meter.value("freshet_deletes_may_be_lost", source="s") == 1
    assert meter.value("freshet_source_state", source="s", state="active") == 1
    pipeline.connection.execute("UPDATE freshet.source SET state = 'halted', state_reason = 'gap'")
    pipeline.connection.execute("UPDATE freshet.dead_letter SET state = 'discarded'")
    lags["s"] = 0
    metrics.update()
    assert meter.value("freshet_dead_letters_open", source="s") == 0
    assert meter.value("freshet_lag_records", source="s") == 0
    assert meter.value("freshet_source_state", source="s", state="active") == 0
    assert meter.value("freshet_source_state", source="s", state="halted") == 1


def test_documents_that_wait_for_their_origin_are_shown(
    pipeline: Pipeline, pool: ConnectionPool[Connection], lags: dict[str, int]
) -> None:
    metrics, meter = made(pool)
    pipeline.ingest(b"not JSON", b"nor this")
    rows = "dead_letter, source, 'h', now() - interval '2 hours', now() FROM freshet.dead_letter"
    pipeline.connection.execute(f"INSERT INTO freshet.waiting_fetch SELECT {rows}")
    metrics.update()
    assert meter.value("freshet_documents_waiting", source="s") == 2
    assert meter.value("freshet_documents_waiting_seconds", source="s") // 3_600 == 2


def test_what_is_gone_is_shown_as_nothing(
    pipeline: Pipeline, pool: ConnectionPool[Connection], lags: dict[str, int]
) -> None:
    """An exporter goes on with the last value of a label."""
    metrics, meter = made(pool)
    pipeline.ingest(make_event("a", 1, "One fact."))
    pipeline.connection.execute("INSERT INTO freshet.subscription VALUES ('team', 's', 'endpoint')")
    pipeline.connection.execute(
        "INSERT INTO freshet.delivery (subscriber, source, state) VALUES ('team', 's', 'parked')"
    )
    metrics.update()
    assert meter.value("freshet_delivery_parked", source="s", subscriber="team") == 1
    assert meter.value("freshet_delivery_behind", source="s", subscriber="team") == 1
    pipeline.connection.execute("UPDATE freshet.subscription SET state = 'ended'")
    lags.clear()
    metrics.update()
    assert meter.value("freshet_delivery_parked", source="s", subscriber="team") == 0
    assert meter.value("freshet_delivery_behind", source="s", subscriber="team") == 0
    assert meter.value("freshet_lag_records", source="s") == 0


def test_a_ledger_that_went_back_adds_nothing_twice(
    pipeline: Pipeline, pool: ConnectionPool[Connection], lags: dict[str, int]
) -> None:
    """After a restore, batch numbers are given again; what is counted stays, and newer batches are added."""
    metrics, meter = made(pool)
    for version in (1, 2):
        pipeline.ingest(make_event("a", version, f"Fact {version}."))
    metrics.update()
    pipeline.connection.execute("DELETE FROM freshet.record_outcome")
    pipeline.connection.execute("UPDATE freshet.batch SET state = 'withdrawn' WHERE batch = 2")
    pipeline.connection.execute("UPDATE freshet.source SET last_batch = 1")
    metrics.update()
    assert meter.value("freshet_batches", source="s") == 2
    pipeline.connection.execute("UPDATE freshet.batch SET state = 'published' WHERE batch = 2")
    pipeline.connection.execute("UPDATE freshet.source SET last_batch = 2")
    metrics.update()
    assert meter.value("freshet_batches", source="s") == 3


def test_without_kafka_the_lag_is_not_guessed(
    pipeline: Pipeline, pool: ConnectionPool[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Progress:
        raise DependencyError("Kafka: timed out")

    monkeypatch.setattr(corpus_metrics, "progress", refuse)
    metrics, meter = made(pool)
    with pytest.raises(DependencyError):
        metrics.update()
    assert not [name for name, _ in meter.values if name == "freshet_lag_records"]


@pytest.mark.parametrize("error", [DependencyError("Kafka is down"), KeyError("a mistake")])
async def test_a_round_that_fails_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    rounds: list[int] = []
    others: list[int] = []

    async def update() -> None:
        rounds.append(1)
        if len(rounds) < 3:
            raise error

    async def other() -> None:
        others.append(1)

    monkeypatch.setattr(role_metrics, "UPDATE_SECONDS", 0.001)
    running = asyncio.create_task(role_metrics.keep_updated(update, other))
    await until(lambda: len(rounds) > 4)
    running.cancel()
    assert "metrics are not updated" in caplog.text
    assert len(others) >= len(rounds) - 1


async def test_time_stands_still_while_a_round_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    meter: Any = FakeMeter()
    failing = [True]

    async def update() -> None:
        if failing:
            raise DependencyError("Temporal is down")

    def updated() -> float:
        return meter.value("freshet_metrics_updated_timestamp_seconds")

    monkeypatch.setattr(role_metrics, "UPDATE_SECONDS", 0.001)
    monkeypatch.setattr(role_metrics, "meter", lambda: meter)
    running = asyncio.create_task(role_metrics.keep_updated(update))
    await asyncio.sleep(0)
    assert updated() == 0
    failing.clear()
    await until(lambda: updated() > 0)
    running.cancel()


def test_waits_for_connections_are_counted(pipeline: Pipeline) -> None:
    meter: Any = FakeMeter()
    with open_pool(pipeline.database_url, size=1) as pool:
        figures = PoolFigures(meter, database=pool)
        asyncio.run(figures.update())
        before = meter.value("freshet_pool_requests", pool="database")
        with ThreadPoolExecutor(1) as other:
            with pool.connection():
                waiting = other.submit(_use, pool)
                wait_until(lambda: pool.get_stats().get("requests_waiting"))
                asyncio.run(figures.update())
                assert meter.value("freshet_pool_waiting", pool="database") == 1
            waiting.result()
        for _ in range(2):
            asyncio.run(figures.update())
    assert meter.value("freshet_pool_requests", pool="database") == before + 2
    assert meter.value("freshet_pool_wait_milliseconds", pool="database") > 0
    assert meter.value("freshet_pool_waiting", pool="database") == 0


def _use(pool: ConnectionPool[Connection]) -> None:
    with pool.connection():
        pass


def test_the_seconds_of_the_model_are_counted(pipeline: Pipeline) -> None:
    meter: Any = FakeMeter()
    pipeline.embed_step = EmbedStep(
        store=pipeline.store,
        pool=pipeline.pool,
        embedder_of=pipeline.embedder.with_fingerprint,
        shard=1,
        count_shard=ModelFigures(meter).count_shard,
    )
    pipeline.ingest(make_event("a", 1, "One fact."), make_event("b", 1, "Two facts."))
    assert meter.value("freshet_model_texts", source="s") == 2
    assert meter.value("freshet_model_shard_seconds", source="s") > 0


@workflow.defn(name="BatchWorkflow", sandboxed=False)
class OpenBatch:
    """A batch that is not published."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


async def test_batches_in_flight_are_counted(temporal_client: Client) -> None:
    meter: Any = FakeMeter()
    figures = BatchesInFlight(meter, temporal_client)
    await figures.update()
    before = meter.value("freshet_batches_in_flight")
    queue = f"in-flight-{uuid4()}"
    started = await temporal_client.start_workflow(OpenBatch.run, id=queue, task_queue=queue)

    running = asyncio.create_task(_again_and_again(figures))
    await until(lambda: meter.value("freshet_batches_in_flight") == before + 1)
    running.cancel()
    await started.terminate()


async def _again_and_again(figures: BatchesInFlight) -> None:
    while True:
        await figures.update()


# ── the endpoint ────────────────────────────────────────────────────────────────────────────────────────────────────

_ROLE = """
import asyncio, sys
from workers.cli.console import run_command
from workers.config.settings import load
from workers.roles import metrics

async def serve():
    metrics.start(load(), sys.argv[1])
    metrics.meter().create_counter("freshet_example").add(3, {"source": "s"})
    print("ready", flush=True)
    await asyncio.sleep(60)

run_command(lambda: asyncio.run(serve()), debug=False)
"""


def free_port() -> int:
    """One with further free ports above it, most likely."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def role(name: str, port: int, home: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "FRESHET_METRICS_PORT": str(port),
        "FRESHET_HOME": str(home),
        "FRESHET_DATABASE_URL": "postgresql://127.0.0.1:1/x",
        "FRESHET_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
    }
    return subprocess.Popen(
        [sys.executable, "-c", _ROLE, name],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_each_role_has_its_port_and_a_second_one_is_told_so(tmp_path: Path) -> None:
    port = free_port()
    storer = role("storer", port, tmp_path)
    try:
        assert storer.stdout is not None
        assert storer.stdout.readline() == "ready\n"
        url = f"http://127.0.0.1:{port + list(ROLES).index('storer')}/metrics"

        def page() -> str:
            with urllib.request.urlopen(url) as answer:
                return answer.read().decode()

        wait_until(lambda: "freshet_example_total{" in page())
        assert 'role="storer"' in page()
        assert 'source="s"' in page()
        second = role("storer", port, tmp_path)
        _, errors = second.communicate(timeout=30)
        assert second.returncode == 2
        assert "needs another FRESHET_METRICS_PORT" in errors
    finally:
        storer.kill()
        storer.communicate()

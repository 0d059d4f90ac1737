"""The story of one document, and what a source's entity lives through, on real parts."""

import asyncio
import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.answer.search import search
from corpus.service import SearchRequest
from corpus.source import BatchLimits, SourceSpec, source_workflow_id
from ingest.workflows import SourceWorkflow
from tests.support.fix_temporal import TemporalEnv
from tests.support.fleet import Fleet, fleet
from tests.support.pipeline import make_event


@pytest.fixture
async def live(
    temporal_short_history: TemporalEnv, database_url: str, kafka_bootstrap: str, tmp_path: Path
) -> Any:
    """A fleet on a server that suggests continue-as-new after 50 events."""
    client = await temporal_short_history.client()
    async with fleet(client, database_url, kafka_bootstrap, tmp_path) as running:
        yield running


async def test_from_a_kafka_record_to_a_search_hit_and_back(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    live.add_source(SourceSpec(source="story", topics=(topic,)))
    live.produce(
        topic,
        [
            make_event(
                "sluices",
                1,
                "# Sluices\n\nHow the sluices are opened in spring.",
                uri="https://example.org/sluices",
            )
        ],
    )
    await live.drained()
    hit = search(
        live.connection, SearchRequest(query="opening sluices in spring", k=1), live.embedder.of
    ).hits[0]
    assert (hit.document_id, hit.version, hit.topic, hit.offset, hit.uri) == (
        "sluices",
        1,
        topic,
        0,
        "https://example.org/sluices",
    )
    batch = live.connection.execute(
        "SELECT workflow_id, run_id, records, applied FROM freshet.batch"
    ).fetchone()
    assert batch is not None
    assert batch[0] == "batch:story:1"
    described = await live.client.get_workflow_handle(batch[0], run_id=batch[1]).describe()
    assert described.run_id == batch[1]  # lineage leads to the run
    live.produce(topic, [make_event("sluices", 2, op="delete")])
    await live.drained()
    assert (
        search(
            live.connection, SearchRequest(query="opening sluices in spring", k=1), live.embedder.of
        ).hits
        == ()
    )


async def test_nothing_is_lost_when_entities_continue_as_new(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    """Promises 1, 4, 5 while every entity continues as new again and again, events are repeated and come late."""
    topic = make_topic(partitions=3)
    limits = BatchLimits(max_records=4, max_in_flight=2)
    live.add_source(SourceSpec(source="many", topics=(topic,), limits=limits))
    rng = random.Random(5)
    events = [
        make_event(f"d{n % 40}", 1 + n // 40, f"Document {n % 40} in version {1 + n // 40}.")
        for n in range(320)
    ]
    events += [make_event(f"d{n}", 99, op="delete") for n in range(5)]
    late = [event for event in events if rng.random() < 0.1]
    total = 0
    for start in range(0, len(events), 25):
        total += live.produce(topic, events[start : start + 25])
        await asyncio.sleep(0)
    total += live.produce(topic, late)
    await live.drained(timeout=120)
    assert live.visible("many") == {f"d{n}": 8 for n in range(5, 40)}
    sums = live.connection.execute(
        "SELECT sum(records), sum(applied + unchanged + superseded + dead_lettered + ignored), count(*) FROM freshet.batch"
    ).fetchone()
    assert sums is not None
    assert sums[0] == sums[1] == total
    ranges = live.connection.execute(
        "SELECT partition, first_offset, next_offset FROM freshet.batch_range ORDER BY partition, first_offset"
    ).fetchall()
    for before, after in itertools.pairwise(ranges):
        assert after[1] == (before[2] if after[0] == before[0] else 0)
    runs = [
        run.run_id
        async for run in live.client.list_workflows(f"WorkflowId = '{source_workflow_id('many')}'")
    ]
    assert len(runs) > 1, "it never continued as new"
    assert max(live.embedder.embedded.values()) == 1


async def test_batches_are_published_in_order_though_worked_on_side_by_side(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    live.add_source(
        SourceSpec(
            source="order", topics=(topic,), limits=BatchLimits(max_records=3, max_in_flight=4)
        )
    )
    for n in range(60):
        live.produce(topic, [make_event(f"d{n}", 1, f"Document number {n}.")])
    await live.drained(timeout=90)
    rows = live.connection.execute(
        "SELECT batch FROM freshet.batch ORDER BY published_at"
    ).fetchall()
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert len(rows) > 5


async def test_a_staged_file_that_vanished_is_staged_again_from_kafka(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    live.add_source(SourceSpec(source="lost", topics=(topic,)))
    live.produce(topic, [make_event("a", 1, "one")])
    await live.drained()
    handle = live.client.get_workflow_handle(source_workflow_id("lost"))
    await handle.signal(SourceWorkflow.pause)
    live.produce(topic, [make_event("b", 1, "two")])
    staged: list[str] = []
    for _ in range(300):
        staged = live.store.names("events/lost")
        if staged and (await live.status("lost")).pending:
            break
        await asyncio.sleep(0.1)
    live.store.delete(staged)
    await handle.signal(SourceWorkflow.resume)
    await live.drained(timeout=60)
    assert live.visible("lost") == {"a": 1, "b": 1}
    epoch = live.connection.execute("SELECT epoch FROM freshet.source").fetchone()
    assert epoch == (1,)


async def test_one_bad_source_stops_no_other(live: Fleet, make_topic: Callable[..., str]) -> None:
    good, bad = make_topic(), make_topic()
    live.add_source(SourceSpec(source="bad", topics=(bad,), model="/nowhere/model"))
    live.add_source(SourceSpec(source="good", topics=(good,)))
    live.produce(bad, [make_event("x", 1, "never")])
    live.produce(good, [make_event("a", 1, "fine"), b"poison", make_event("b", 1, "fine too")])
    await live.drained("good")
    assert live.visible("good") == {"a": 1, "b": 1}
    letters = live.connection.execute(
        "SELECT source, reason, value FROM freshet.dead_letter"
    ).fetchall()
    assert letters == [("good", "not_decodable", b"poison")]
    for _ in range(600):
        row = live.connection.execute(
            "SELECT state, state_reason FROM freshet.source WHERE source = 'bad'"
        ).fetchone()
        if row and row[0] == "halted":
            break
        await asyncio.sleep(0.1)
    assert row is not None
    assert row[0] == "halted"
    assert "/nowhere/model" in row[1]

"""The story of one document, and of a source's entity, on real services."""

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from corpus.answer.search import search
from corpus.batch import BatchRef
from corpus.service import SearchRequest
from corpus.source import BatchLimits, SourceSpec, source_workflow_id
from ingest.workflows import SourceWorkflow
from tests.support.fix_temporal import TemporalEnv
from tests.support.fleet import Fleet, check_that_ranges_meet, fleet
from tests.support.pipeline import make_event
from tests.support.polling import until


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
    text = "# Sluices\n\nHow the sluices are opened in spring."
    uri = "https://example.org/sluices"
    live.produce(topic, [make_event("sluices", 1, text, uri=uri)])
    await live.drained()
    request = SearchRequest(query="opening sluices in spring", k=1)
    [hit] = search(live.connection, request, live.embedder.of).hits
    assert (hit.document_id, hit.version, hit.uri) == ("sluices", 1, uri)
    assert (hit.topic, hit.offset) == (topic, 0)
    # Lineage leads to the run.
    [batch] = live.rows("SELECT workflow_id, run_id FROM freshet.batch")
    assert batch.workflow_id == "batch:story:1"
    handle = live.client.get_workflow_handle(batch.workflow_id, run_id=batch.run_id)
    assert (await handle.describe()).run_id == batch.run_id
    live.produce(topic, [make_event("sluices", 2, op="delete")])
    await live.drained()
    assert search(live.connection, request, live.embedder.of).hits == ()


async def test_nothing_is_lost_when_entities_continue_as_new(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    """Promises 1, 4, 5 while every entity continues as new again and again, and events are repeated and late."""
    topic = make_topic(partitions=3)
    limits = BatchLimits(max_records=4, max_in_flight=2)
    live.add_source(SourceSpec(source="many", topics=(topic,), limits=limits))
    rng = random.Random(5)
    events = _versions(documents=40, versions=8)
    events += [make_event(f"d{n}", 99, op="delete") for n in range(5)]
    late = [event for event in events if rng.random() < 0.1]
    total = 0
    for start in range(0, len(events), 25):
        total += live.produce(topic, events[start : start + 25])
        await asyncio.sleep(0)
    total += live.produce(topic, late)
    await live.drained(timeout=120)
    assert live.visible("many") == {f"d{n}": 8 for n in range(5, 40)}
    [sums] = live.rows(
        """SELECT sum(records) AS records,
                  sum(applied + unchanged + superseded + dead_lettered + ignored) AS outcomes
           FROM freshet.batch"""
    )
    assert sums.records == sums.outcomes == total
    check_that_ranges_meet(live.ranges("many"))
    query = f"WorkflowId = '{source_workflow_id('many')}'"
    runs = [run.run_id async for run in live.client.list_workflows(query)]
    assert len(runs) > 1, "it never continued as new"
    assert max(live.embedder.embedded.values()) == 1


def _versions(*, documents: int, versions: int) -> list[dict[str, Any]]:
    """Every document in every version, version after version."""
    return [
        make_event(f"d{document}", version, f"Document {document} in version {version}.")
        for version, document in itertools.product(range(1, versions + 1), range(documents))
    ]


async def test_batches_are_published_in_order_though_they_run_side_by_side(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    limits = BatchLimits(max_records=3, max_in_flight=4)
    live.add_source(SourceSpec(source="order", topics=(topic,), limits=limits))
    for n in range(60):
        live.produce(topic, [make_event(f"d{n}", 1, f"Document number {n}.")])
    await live.drained(timeout=90)
    rows = live.rows("SELECT batch FROM freshet.batch ORDER BY published_at")
    batches = [row.batch for row in rows]
    assert batches == sorted(batches)
    assert len(batches) > 5


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

    async def pending() -> list[BatchRef]:
        return (await live.status("lost")).pending

    refs = await until(pending)
    live.store.delete([ref.url for ref in refs])
    await handle.signal(SourceWorkflow.resume)
    await live.drained(timeout=60)
    assert live.visible("lost") == {"a": 1, "b": 1}
    assert live.epoch("lost") == 1


async def test_one_bad_source_stops_no_other(live: Fleet, make_topic: Callable[..., str]) -> None:
    good, bad = make_topic(), make_topic()
    live.add_source(SourceSpec(source="bad", topics=(bad,), model="/nowhere/model"))
    live.add_source(SourceSpec(source="good", topics=(good,)))
    live.produce(bad, [make_event("x", 1, "never")])
    live.produce(good, [make_event("a", 1, "fine"), b"poison", make_event("b", 1, "fine too")])
    await live.drained("good")
    assert live.visible("good") == {"a": 1, "b": 1}
    [letter] = live.rows("SELECT source, reason, value FROM freshet.dead_letter")
    assert letter == ("good", "not_decodable", b"poison")

    def halted() -> Sequence[Any]:
        return live.rows("SELECT state_reason FROM freshet.source WHERE state = 'halted'")

    [bad] = await until(halted, seconds=60)
    assert "/nowhere/model" in bad.state_reason

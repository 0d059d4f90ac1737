"""What a source's entity does when a batch fails for good, on real parts."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Producer
from temporalio.client import WorkflowExecutionStatus

from corpus import task_queues
from corpus.source import BatchLimits, SourceSpec, source_workflow_id
from ingest.source_state import SourceState
from ingest.workflows import SourceWorkflow
from tests.support.fix_temporal import TemporalEnv
from tests.support.fleet import Fleet, fleet
from tests.support.pipeline import make_event
from workers.drain import drain


@pytest.fixture
async def live(
    temporal_env: TemporalEnv, database_url: str, kafka_bootstrap: str, tmp_path: Path
) -> AsyncIterator[Fleet]:
    client = await temporal_env.client()
    async with fleet(client, database_url, kafka_bootstrap, tmp_path) as running:
        yield running


async def _pending(live: Fleet, source: str, records: int) -> SourceState:
    for _ in range(600):
        state = await live.status(source)
        if sum(ref.records for ref in state.pending) == records:
            return state
        await asyncio.sleep(0.05)
    raise AssertionError(f"{source} never had {records} records waiting: {state.pending}")


async def test_a_failed_batch_ends_those_behind_it_and_none_before_it(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    """It fails at once, while one before it is still worked on."""
    topic = make_topic()
    live.add_source(
        SourceSpec(
            source="mid", topics=(topic,), limits=BatchLimits(max_records=3, max_in_flight=4)
        )
    )
    live.produce(topic, [make_event("a", 1, "one")])
    await live.drained()
    entity = live.client.get_workflow_handle(source_workflow_id("mid"))
    await entity.signal(SourceWorkflow.pause)
    live.produce(topic, [make_event(f"d{n}", 1, f"Document number {n}.") for n in range(15)])
    state = await _pending(live, "mid", 15)
    live.store.delete([state.pending[1].url])
    await entity.signal(SourceWorkflow.resume)
    await live.drained()
    assert len(live.visible("mid")) == 16
    ends: dict[str, list[WorkflowExecutionStatus | None]] = {}
    async for run in live.client.list_workflows("WorkflowType = 'BatchWorkflow'"):
        ends.setdefault(run.id, []).append(run.status)
    assert ends["batch:mid:2"] == [WorkflowExecutionStatus.COMPLETED]
    assert ends["batch:mid:3"] == [WorkflowExecutionStatus.FAILED]
    assert WorkflowExecutionStatus.RUNNING not in {end for found in ends.values() for end in found}
    rows = live.connection.execute(
        "SELECT first_offset, next_offset FROM freshet.batch_range ORDER BY 1"
    ).fetchall()
    assert [start for start, _ in rows] == [0, *(end for _, end in rows[:-1])]
    assert rows[1] == (state.pending[0].first_offset, state.pending[0].next_offset)


async def test_what_comes_between_resuming_a_source_and_telling_its_entity_is_kept(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    """`source resume` lets the consumer read again a moment before it signals the entity; the consumer sends nothing twice."""
    topic = make_topic()
    await live.client.start_workflow(
        SourceWorkflow.run,
        SourceState(source="halted", halted="a gap"),
        id=source_workflow_id("halted"),
        task_queue=task_queues.WORKFLOWS,
    )
    live.add_source(SourceSpec(source="halted", topics=(topic,)))
    live.connection.execute(
        "UPDATE freshet.source SET epoch = epoch + 1"
    )  # as `source resume` does
    live.produce(topic, [make_event("a", 1, "one")])
    await _pending(live, "halted", 1)
    await _listed(live, "FreshetState = 'halted'", {"source:halted"})
    await live.client.get_workflow_handle(source_workflow_id("halted")).signal(
        SourceWorkflow.resume
    )
    await live.drained(timeout=20)
    assert live.visible("halted") == {"a": 1}
    await _listed(live, "FreshetState = 'active'", {"source:halted"})
    await _listed(live, "FreshetSource = 'halted'", {"source:halted", "batch:halted:1"})


async def _listed(live: Fleet, asked: str, wanted: set[str]) -> None:
    """Wait for the server's list, which comes a moment after the event."""
    found: set[str] = set()
    for _ in range(200):
        found = {run.id async for run in live.client.list_workflows(asked)}
        if found == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{asked} gave {found}, not {wanted}")


async def test_drain_ends_at_the_last_record_that_a_reader_gets(
    live: Fleet, make_topic: Callable[..., str], kafka_bootstrap: str, database_url: str
) -> None:
    """A transaction leaves a marker behind its last record; an aborted one leaves records that nobody gets."""
    topic = make_topic()
    live.add_source(SourceSpec(source="txn", topics=(topic,)))
    producer = Producer({"bootstrap.servers": kafka_bootstrap, "transactional.id": topic})
    await asyncio.to_thread(producer.init_transactions, 30)
    for name, end in (("a", producer.commit_transaction), ("b", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(topic, json.dumps(make_event(name, 1, "one")).encode(), key=name.encode())
        await asyncio.to_thread(producer.flush, 30)
        await asyncio.to_thread(end, 30)
    settings: Any = SimpleNamespace(
        database_url=database_url, kafka_bootstrap=kafka_bootstrap, kafka_properties={}
    )
    result = await asyncio.to_thread(drain, settings, source="txn", timeout=30)
    assert (result["drained"], result["why"]) == (True, "")
    assert live.visible("txn") == {"a": 1}

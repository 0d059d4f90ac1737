"""What a source's entity does when a batch fails for good, on real services."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from confluent_kafka import Producer
from temporalio.client import WorkflowExecutionStatus

from corpus import task_queues
from corpus.source import BatchLimits, SourceSpec, source_workflow_id
from ingest.source_state import SourceState
from ingest.workflows import SourceWorkflow
from tests.support.fleet import Fleet, check_that_ranges_meet
from tests.support.pipeline import make_event
from tests.support.polling import until
from workers.drain import drain


async def _pending(live: Fleet, source: str, records: int) -> SourceState:
    """Wait until so many records wait in the entity; return its state."""

    async def state_with_records() -> SourceState | None:
        state = await live.status(source)
        waiting = sum(ref.records for ref in state.pending)
        return state if waiting == records else None

    return await until(state_with_records, what=f"{records} records wait in {source}")


async def test_a_failed_batch_ends_those_behind_it_and_none_before_it(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    """It fails at once, while one before it still runs."""
    topic = make_topic()
    limits = BatchLimits(max_records=3, max_in_flight=4)
    live.add_source(SourceSpec(source="mid", topics=(topic,), limits=limits))
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

    async def ended() -> bool:  # a batch ends a moment after it is published
        statuses = await _batch_statuses(live)
        return WorkflowExecutionStatus.RUNNING not in {status for _, status in statuses}

    await until(ended)
    statuses = await _batch_statuses(live)
    assert statuses.count(("batch:mid:2", WorkflowExecutionStatus.COMPLETED)) == 1
    assert statuses.count(("batch:mid:3", WorkflowExecutionStatus.FAILED)) == 1
    ranges = live.ranges("mid")
    check_that_ranges_meet(ranges)
    oldest = state.pending[0]
    assert ranges[1].first_offset == oldest.first_offset
    assert ranges[1].next_offset == oldest.next_offset


async def _batch_statuses(live: Fleet) -> list[tuple[str, WorkflowExecutionStatus | None]]:
    runs = live.client.list_workflows("WorkflowType = 'BatchWorkflow'")
    return [(run.id, run.status) async for run in runs]


async def test_what_is_read_between_the_resume_of_a_source_and_of_its_entity_is_kept(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    """`source resume` lets the consumer read again, and its signal to the entity is lost: the row decides."""
    topic = make_topic()
    await live.client.start_workflow(
        SourceWorkflow.run,
        SourceState(source="halted", halted="a gap"),
        id=source_workflow_id("halted"),
        task_queue=task_queues.WORKFLOWS,
    )
    live.add_source(SourceSpec(source="halted", topics=(topic,)))
    live.raise_epoch()
    live.produce(topic, [make_event("a", 1, "one")])
    await live.drained(timeout=40)
    assert live.visible("halted") == {"a": 1}
    await _listed(live, "FreshetState = 'active'", {"source:halted"})
    await _listed(live, "FreshetSource = 'halted'", {"source:halted", "batch:halted:1"})


async def test_what_waits_is_read_again_after_a_resume_and_not_dropped(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    """The consumer reads again what waits in a paused entity, and no signal to resume comes: the row decides."""
    topic = make_topic()
    live.add_source(SourceSpec(source="again", topics=(topic,)))
    live.produce(topic, [make_event("a", 1, "one")])
    await live.drained()
    entity = live.client.get_workflow_handle(source_workflow_id("again"))
    await entity.signal(SourceWorkflow.pause)
    live.produce(topic, [make_event("b", 1, "two")])
    await _pending(live, "again", 1)
    live.raise_epoch()
    await live.drained(timeout=40)
    assert live.visible("again") == {"a": 1, "b": 1}
    assert live.epoch("again") == 1  # no rewind was needed


async def _listed(live: Fleet, query: str, wanted: set[str]) -> None:
    """Wait for the server's list, which follows the event after a moment."""

    async def is_listed() -> bool:
        return {run.id async for run in live.client.list_workflows(query)} == wanted

    await until(is_listed, seconds=10, what=f"{query} lists {wanted}")


async def test_drain_ends_at_the_last_record_that_a_reader_gets(
    live: Fleet, make_topic: Callable[..., str], kafka_bootstrap: str, database_url: str
) -> None:
    """A transaction leaves a marker behind its last record; an aborted one leaves records that no reader gets."""
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

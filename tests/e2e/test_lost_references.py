"""What an entity has lost is handed over again, though no record arrives and no process restarts."""

from collections.abc import Callable

import pytest

from corpus.source import BatchLimits, SourceSpec, source_workflow_id
from ingest.workflows import SourceWorkflow
from tests.support.fleet import Fleet, check_that_ranges_meet
from tests.support.pipeline import make_event
from tests.support.polling import until
from tests.support.source_rows import restore_rows, saved_rows

pytestmark = pytest.mark.usefixtures("looks_often")


async def test_a_terminated_entity_costs_nothing(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    """It held more than the source's limit, so its partition is paused."""
    topic = make_topic()
    limits = BatchLimits(max_records=2, max_pending_records=4)
    live.add_source(SourceSpec(source="s", topics=(topic,), limits=limits))
    live.produce(topic, [make_event("first", 1, "one")])
    await live.drained()
    entity = live.client.get_workflow_handle(source_workflow_id("s"))
    await entity.signal(SourceWorkflow.pause)
    live.produce(topic, [make_event(f"d{n}", 1, f"Document number {n}.") for n in range(20)])

    async def holds_records() -> bool:
        return sum(ref.records for ref in (await live.status("s")).pending) >= 4

    await until(holds_records)
    await entity.terminate("as an operator may")
    await live.drained()
    assert len(live.visible("s")) == 21
    check_that_ranges_meet(live.ranges("s"))


async def test_a_restored_database_is_noticed_without_a_new_record(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    live.add_source(SourceSpec(source="s", topics=(topic,)))
    live.produce(topic, [make_event("a", 1, "one")])
    await live.drained()
    saved = saved_rows(live.connection, "s")
    live.produce(topic, [make_event("a", 2, "two"), make_event("b", 1, "three")])
    await live.drained()
    restore_rows(live.connection, "s", saved, raise_epoch=False)
    assert live.visible("s") == {"a": 1}
    await live.drained()
    assert live.visible("s") == {"a": 2, "b": 1}


async def test_an_entity_that_holds_everything_is_left_alone(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    """It is slow, not lost."""
    topic = make_topic()
    live.add_source(SourceSpec(source="s", topics=(topic,)))
    live.produce(topic, [make_event("a", 1, "one")])
    await live.drained()
    entity = live.client.get_workflow_handle(source_workflow_id("s"))
    await entity.signal(SourceWorkflow.pause)
    live.produce(topic, [make_event("a", 2, "two")])

    async def holds_it() -> bool:
        return bool((await live.status("s")).pending)

    await until(holds_it)
    looks: list[str] = []
    state_of = live.consumer._state_of

    async def counted(source: str) -> object:
        looks.append(source)
        return await state_of(source)

    live.consumer._state_of = counted
    await until(lambda: len(looks) >= 3)
    state = await live.status("s")
    assert (len(state.pending), state.repeated) == (1, 0)
    await entity.signal(SourceWorkflow.resume)
    await live.drained()

"""Workers of another version meet the histories of this one: they are refused by name, and a rollback loses nothing."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner

from corpus.database import open_pool
from corpus.source import SourceSpec
from ingest.source_state import SourceState
from ingest.workflows import SourceWorkflow
from tests.support.fleet import Fleet, check_that_ranges_meet, fleet, orchestrator
from tests.support.naming import Named, named
from tests.support.pipeline import make_event
from tests.support.polling import until
from workers.roles import orchestrator as deliveries

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("commands_find_it", "short_standstill"),
]


@workflow.defn(name="SourceWorkflow")
class IncompatibleWorkflow(SourceWorkflow):
    """The entity with a new step that is not behind `workflow.patched`."""

    @workflow.init
    def __init__(self, state: SourceState) -> None:
        super().__init__(state)

    @workflow.run
    async def run(self, state: SourceState) -> None:
        await workflow.sleep(1)
        await super().run(state)


INCOMPATIBLE = [
    IncompatibleWorkflow if flow is SourceWorkflow else flow for flow in deliveries.WORKFLOWS
]


@pytest.fixture
async def live(
    temporal_client: Client, database_url: str, kafka_bootstrap: str, tmp_path: Path
) -> AsyncIterator[Fleet]:
    """A fleet without an orchestrator."""
    async with fleet(
        temporal_client, database_url, kafka_bootstrap, tmp_path, with_orchestrator=False
    ) as running:
        yield running


async def test_a_version_that_cannot_continue_the_histories_is_named_and_rolled_back(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    live.add_source(SourceSpec(source="s", topics=(topic,)))
    other: dict[str, Any] = {"workflow_runner": UnsandboxedWorkflowRunner()}
    with open_pool(live.database_url, size=4) as pool:
        async with orchestrator(live.client, pool):
            live.produce(topic, [make_event("a", 1, "one"), make_event("b", 1, "one")])
            await live.drained()
        async with orchestrator(live.client, pool, INCOMPATIBLE, **other):
            live.produce(topic, [make_event("a", 2, "two")])

            shown: Named = await until(lambda: _failing(live))
            assert shown.condition == "stuck"
            assert "Nondeterminism error" in shown.why
            assert live.visible("s") == {"a": 1, "b": 1}
        async with orchestrator(live.client, pool):
            live.produce(topic, [make_event("b", 2, "two")])
            await live.drained()
    assert live.visible("s") == {"a": 2, "b": 2}
    check_that_ranges_meet(live.ranges("s"))
    assert live.epoch("s") == 0


def _failing(live: Fleet) -> Named | None:
    shown = named(live, "s")
    return shown if "the source's workflow: its code fails" in shown.why else None

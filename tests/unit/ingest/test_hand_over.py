"""A reference is handed to the entity, or the caller hears that it was not."""

from typing import Any

import pytest
from temporalio import workflow
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from corpus import task_queues
from corpus.errors import DependencyError
from corpus.source import SourceSpec
from ingest.hand_over import hand_over
from ingest.source_state import initial_state
from ingest.workflows import SourceWorkflow
from tests.support.orders import make_ref

SPEC = SourceSpec(source="s", topics=("t",))


class FakeClient:
    """Keeps what it is called with; may answer with an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    async def start_workflow(self, *arguments: Any, **options: Any) -> None:
        self.calls.append((arguments, options))
        if self.error is not None:
            raise self.error


async def test_the_entity_is_signalled_and_started_where_it_does_not_run() -> None:
    client = FakeClient()
    ref = make_ref(0, 10)
    await hand_over(client, ref, SPEC)  # type: ignore[arg-type]
    [(arguments, options)] = client.calls
    assert arguments == ("SourceWorkflow", initial_state(SPEC))
    assert options["id"] == "source:s"
    assert options["task_queue"] == task_queues.WORKFLOWS
    assert options["start_signal_args"] == [ref]
    assert options["id_conflict_policy"] is WorkflowIDConflictPolicy.USE_EXISTING


async def test_the_names_are_those_of_the_workflow() -> None:
    """They are strings, so that a consumer imports no workflow."""
    client = FakeClient()
    await hand_over(client, make_ref(0, 10), SPEC)  # type: ignore[arg-type]
    [(arguments, options)] = client.calls
    definition = workflow._Definition.must_from_class(SourceWorkflow)
    assert arguments[0] == definition.name
    assert options["start_signal"] in definition.signals


async def test_the_call_does_not_wait_without_end() -> None:
    client = FakeClient()
    await hand_over(client, make_ref(0, 10), SPEC)  # type: ignore[arg-type]
    assert client.calls[0][1]["rpc_timeout"].total_seconds() <= 10


@pytest.mark.parametrize(
    "status",
    [
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.INVALID_ARGUMENT,
    ],
    ids=lambda status: status.name,
)
async def test_what_temporal_does_not_accept_is_to_be_repeated(status: RPCStatusCode) -> None:
    client = FakeClient(RPCError("exceeded workflow execution limit", status, b""))
    with pytest.raises(DependencyError, match=f"source:s: {status.name}: exceeded") as raised:
        await hand_over(client, make_ref(0, 10), SPEC)  # type: ignore[arg-type]
    assert raised.value.retryable


async def test_a_mistake_of_the_program_is_not_hidden() -> None:
    with pytest.raises(TypeError):
        await hand_over(FakeClient(TypeError("no")), make_ref(0, 10), SPEC)  # type: ignore[arg-type]

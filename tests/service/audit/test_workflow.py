"""AuditWorkflow: steps on their queues, continued as new, tried again, with a result or a reason."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from corpus import task_queues
from corpus.audit import store, workflows
from corpus.audit.activities import (
    AuditActivities,
    AuditEndActivities,
    AuditVectorActivities,
)
from corpus.audit.audit import AuditCursor, AuditResult, audit_workflow_id
from corpus.audit.workflows import AuditWorkflow
from corpus.errors import ConfigurationError, DependencyError
from tests.support.auditing import Auditor, KeptLog
from tests.support.damage import DAMAGES
from tests.support.pipeline import Pipeline, make_event


@pytest.fixture
def auditor(pipeline: Pipeline) -> Iterator[Auditor]:
    auditor = Auditor(pipeline, KeptLog(pipeline))
    pipeline.ingest(make_event("a", 1, "alpha weir"), make_event("b", 1, "beta gauge"))
    pipeline.ingest(make_event("a", 2, "alpha spillway"), make_event("b", 2, "beta level"))
    yield auditor


@asynccontextmanager
async def workers(client: Client, auditor: Auditor, step: Any = None) -> AsyncIterator[None]:
    """What the roles run."""

    async def staged(cursor: AuditCursor) -> AuditCursor:
        return auditor.staged.step(cursor, ())

    ends = AuditEndActivities(staged=staged, finish=auditor.staged.finish, fail=auditor.staged.fail)
    activities = {
        task_queues.PREPARE: [AuditActivities(step or auditor.steps.step).step],
        task_queues.EMBED: [AuditVectorActivities(auditor.vectors.step).embed],
        task_queues.STORE: [ends.staged_files, ends.finish, ends.fail],
    }
    async with AsyncExitStack() as stack:
        for queue, listed in activities.items():
            executor = ThreadPoolExecutor(2)
            worker = Worker(client, task_queue=queue, activities=listed, activity_executor=executor)
            await stack.enter_async_context(worker)
        worker = Worker(
            client,
            task_queue=task_queues.WORKFLOWS,
            workflows=[AuditWorkflow],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        await stack.enter_async_context(worker)
        yield


async def run(client: Client, auditor: Auditor) -> AuditResult:
    return await client.execute_workflow(
        AuditWorkflow.run,
        AuditCursor(order=auditor.begin().order),
        id=audit_workflow_id("s"),
        task_queue=task_queues.WORKFLOWS,
    )


async def test_an_audit_survives_failed_steps_and_continues_as_new(
    temporal_client: Client, auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflows, "MAX_STEPS", 3)
    expected = DAMAGES["it was hidden"].do(auditor.pipeline, "a")
    calls = 0

    def sometimes(cursor: AuditCursor) -> AuditCursor:
        """The result of every fourth step is lost, as when its worker is killed."""
        nonlocal calls
        calls += 1
        moved = auditor.steps.step(cursor)
        if calls % 4 == 1:
            raise DependencyError("the worker was killed")
        return moved

    async with workers(temporal_client, auditor, sometimes):
        result = await run(temporal_client, auditor)
    assert result.findings == {"missing": 1}
    assert set(auditor.found(result)) == {expected}
    assert result.counts["records"] == 4
    assert result.counts["documents"] == 2
    [row] = store.audits(auditor.pipeline.connection)
    assert (row.state, row.result, row.findings) == ("done", "1 findings", {"missing": 1})


async def test_an_audit_that_fails_says_why(temporal_client: Client, auditor: Auditor) -> None:
    def fails(cursor: AuditCursor) -> AuditCursor:
        if cursor.audit:
            raise ConfigurationError("the model is not available")
        return auditor.steps.step(cursor)

    async with workers(temporal_client, auditor, fails):
        with pytest.raises(WorkflowFailureError):
            await run(temporal_client, auditor)
    [row] = store.audits(auditor.pipeline.connection)
    assert (row.state, row.error) == ("failed", "ConfigurationError: the model is not available")

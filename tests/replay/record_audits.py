"""Audits for `tests.replay.record`: one with every phase and pauses, one that fails."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.worker import Worker

from corpus import task_queues
from corpus.audit.activities import AuditActivities, AuditEndActivities, AuditVectorActivities
from corpus.audit.audit import (
    AuditCursor,
    AuditOrder,
    AuditResult,
    Phase,
    after,
    audit_workflow_id,
)
from corpus.audit.workflows import AuditWorkflow
from corpus.errors import ConfigurationError
from tests.support.team_env import Env


def _step(cursor: AuditCursor) -> AuditCursor:
    """Two pages per phase, each a little dearer than the rate allows."""
    if cursor.order.source == "fails" and cursor.phase is Phase.DOCUMENTS:
        raise ConfigurationError("the model is not available")
    if not cursor.after:
        return replace(cursor, audit=1, after="a", cost=2)
    return replace(cursor, phase=after(cursor.phase), after="", cost=2)


def _finish(cursor: AuditCursor) -> AuditResult:
    return AuditResult(audit=cursor.audit, source=cursor.order.source, findings={"missing": 1})


async def _staged(cursor: AuditCursor) -> AuditCursor:
    return replace(cursor, phase=after(cursor.phase))


@asynccontextmanager
async def _workers(env: Env) -> AsyncIterator[None]:
    ends = AuditEndActivities(staged=_staged, finish=_finish, fail=lambda _failure: None)
    activities: dict[str, list[Any]] = {
        task_queues.PREPARE: [AuditActivities(_step).step],
        task_queues.EMBED: [AuditVectorActivities(_step).embed],
        task_queues.STORE: [ends.staged_files, ends.finish, ends.fail],
    }
    async with AsyncExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(4))
        for queue, listed in activities.items():
            worker = Worker(
                env.client, task_queue=queue, activities=listed, activity_executor=threads
            )
            await stack.enter_async_context(worker)
        yield


async def record_audits(env: Env, _folder: Path, recorder: Any) -> None:
    """One with a result, one that fails."""
    async with env.light_worker(), _workers(env):
        handle = await _start(env, "peps")
        await handle.result()
        await recorder.save(handle, "AuditWorkflow.done")
        handle = await _start(env, "fails")
        try:
            await handle.result()
        except WorkflowFailureError:
            await recorder.save(handle, "AuditWorkflow.failed")


async def _start(env: Env, source: str) -> WorkflowHandle[AuditWorkflow, AuditResult]:
    return await env.client.start_workflow(
        AuditWorkflow.run,
        AuditCursor(order=AuditOrder(source=source, rate=20)),
        id=audit_workflow_id(source),
        task_queue=task_queues.WORKFLOWS,
    )

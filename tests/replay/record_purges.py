"""Purges for `tests.replay.record`: one with every phase, pauses and a busy page, one that fails."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.worker import Worker

from corpus import task_queues
from corpus.errors import ConfigurationError
from corpus.purge.activities import PurgeActivities
from corpus.purge.purge import (
    Phase,
    PurgeCursor,
    PurgeOrder,
    PurgeResult,
    after,
    purge_workflow_id,
)
from corpus.purge.workflows import PurgeWorkflow
from tests.support.team_env import Env


def _step(cursor: PurgeCursor) -> PurgeCursor:
    """Two pages per phase, each a little dearer than the rate allows; one is busy first."""
    if cursor.order.source == "fails" and cursor.phase is Phase.CHUNKS:
        raise ConfigurationError("there is no source 'fails' any more")
    if cursor.phase is Phase.CHUNKS and not cursor.is_busy and not cursor.after:
        return replace(cursor, is_busy=True, after="a")
    return replace(cursor, purge=1, phase=after(cursor.phase), is_busy=False, after="", cost=2)


def _finish(cursor: PurgeCursor) -> PurgeResult:
    return PurgeResult(purge=cursor.purge, source=cursor.order.source, removed={"chunks": 2})


async def record_purges(env: Env, _folder: Path, recorder: Any) -> None:
    """One with a result, one that fails."""
    purge = PurgeActivities(step=_step, finish=_finish, fail=lambda _failure: None)
    with ThreadPoolExecutor(2) as threads:
        worker = Worker(
            env.client,
            task_queue=task_queues.STORE,
            activities=[purge.step, purge.finish, purge.fail],
            activity_executor=threads,
        )
        async with env.light_worker(), worker:
            handle = await _start(env, "peps")
            await handle.result()
            await recorder.save(handle, "PurgeWorkflow.done")
            handle = await _start(env, "fails")
            try:
                await handle.result()
            except WorkflowFailureError:
                await recorder.save(handle, "PurgeWorkflow.failed")


async def _start(env: Env, source: str) -> WorkflowHandle[PurgeWorkflow, PurgeResult]:
    return await env.client.start_workflow(
        PurgeWorkflow.run,
        PurgeCursor(order=PurgeOrder(source=source, rate=20)),
        id=purge_workflow_id(source),
        task_queue=task_queues.WORKFLOWS,
    )

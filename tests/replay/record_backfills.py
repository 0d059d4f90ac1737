"""Backfills for `tests.replay.record`: one that is paused, whose batch fails once, with a rate; one that fails."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.worker import Worker

from corpus import task_queues
from corpus.batch import BatchRef
from corpus.errors import ConfigurationError
from ingest.backfill.activities import BackfillActivities, BackfillPartActivities
from ingest.backfill.order import (
    BackfillCursor,
    BackfillEnd,
    BackfillStatus,
    BackfillStep,
    PartResult,
    backfill_workflow_id,
)
from ingest.backfill.workflows import BackfillWorkflow
from tests.support.orders import make_ref
from tests.support.team_env import Env

_FAILS = 2
_PARTS = 3


class _Steps:
    """Three parts; it is paused before the second, and the batch of that one fails once."""

    def __init__(self) -> None:
        self.is_paused = True
        self.published: list[int] = []

    def stage(self, cursor: BackfillCursor) -> BackfillStep:
        if cursor.backfill == _FAILS and cursor.passed:
            raise ConfigurationError("the topic was made anew")
        if cursor.range == _PARTS:
            return BackfillStep(state=BackfillStatus.DONE, cursor=cursor)
        if cursor.range == 1 and self.is_paused:
            return BackfillStep(state=BackfillStatus.PAUSED, cursor=cursor)
        ref = replace(make_ref(cursor.range, cursor.range + 1), backfill=cursor.backfill)
        following = replace(cursor, range=cursor.range + 1, passed=cursor.passed + 1)
        return BackfillStep(
            state=BackfillStatus.RUNNING, cursor=following, ref=ref, records=1, rate=5
        )

    async def publish(self, ref: BatchRef) -> PartResult:
        self.published.append(ref.first_offset)
        if self.published.count(ref.first_offset) == 1 and ref.first_offset == 1:
            return PartResult(refused="batch 7: the model is not available")
        return PartResult(is_published=True)

    def end(self, end: BackfillEnd) -> None:
        pass


async def record_backfills(env: Env, _folder: Path, recorder: Any) -> None:
    """One that ends well, one that fails."""
    steps = _Steps()
    stages = BackfillActivities(steps.stage)
    parts = BackfillPartActivities(publish=steps.publish, end=steps.end)
    with ThreadPoolExecutor(2) as threads:
        preparer = Worker(
            env.client,
            task_queue=task_queues.PREPARE,
            activities=[stages.stage],
            activity_executor=threads,
        )
        storer = Worker(
            env.client,
            task_queue=task_queues.STORE,
            activities=[parts.publish, parts.end],
            activity_executor=threads,
        )
        async with env.light_worker(), preparer, storer:
            handle = await _start(env, 1)
            steps.is_paused = False
            await handle.signal(BackfillWorkflow.reload)
            await handle.result()
            await recorder.save(handle, "BackfillWorkflow.done")
            handle = await _start(env, _FAILS)
            await handle.result()
            await recorder.save(handle, "BackfillWorkflow.failed")


async def _start(env: Env, backfill: int) -> WorkflowHandle[BackfillWorkflow, None]:
    return await env.client.start_workflow(
        BackfillWorkflow.run,
        BackfillCursor(backfill=backfill),
        id=backfill_workflow_id(backfill),
        task_queue=task_queues.WORKFLOWS,
    )

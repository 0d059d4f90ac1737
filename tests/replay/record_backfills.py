"""Backfills for `tests.replay.record`.

One that is paused, whose batch fails once, with a rate; one that fails; and parts of one in their source's entity,
beside records of the live stream.
"""

from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.worker import Worker

from corpus import task_queues
from corpus.activities import EmbedActivities, PrepareActivities, PublishActivities
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
from ingest.hand_over import hand_over
from ingest.workflows import SourceWorkflow
from tests.support.orders import make_ref
from tests.support.pipeline import Pipeline, make_event
from tests.support.polling import until
from tests.support.team_env import Env
from workers.roles import orchestrator as deliveries

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


async def record_backfills(env: Env, folder: Path, recorder: Any) -> None:
    """One that ends well, one that fails; then an entity with parts."""
    await _record_workflows(env, recorder)
    await _record_parts(env, folder, recorder)


async def _record_workflows(env: Env, recorder: Any) -> None:
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


async def _record_parts(env: Env, folder: Path, recorder: Any) -> None:
    """An entity: a live batch, a part beside one, the same part again, and one whose file is gone."""
    with Pipeline(env.database_url, folder) as docs:
        live = docs.records([make_event("a", 1, "One."), make_event("b", 1, "Two.")])
        later = docs.records([make_event("c", 1, "Three.")])
        docs.connection.execute(
            "INSERT INTO freshet.backfill (source, ranges, wanted) VALUES ('s', '[]', 2)"
        )
        part = docs.stage(live, backfill=1)
        lost = docs.stage(live[:1], backfill=1)
        docs.store.delete([lost.url])
        entity = env.client.get_workflow_handle("source:s")
        async with env.light_worker(workflows=deliveries.WORKFLOWS), _batch_steps(env, docs):
            await hand_over(env.client, docs.stage(live), docs.spec)
            await until(lambda: _has_published(entity, 1))
            await entity.signal(SourceWorkflow.pause)
            await hand_over(env.client, part, docs.spec)
            await hand_over(env.client, docs.stage(later), docs.spec)
            await entity.signal(SourceWorkflow.resume)
            await until(lambda: _has_published(entity, 3))
            await hand_over(env.client, part, docs.spec)
            await until(lambda: _has_published(entity, 4))
            await hand_over(env.client, lost, docs.spec)
            await until(lambda: _has_refused(entity))
        await recorder.save(entity, "SourceWorkflow.backfill")
        batch = env.client.get_workflow_handle("batch:s:3")
        await recorder.save(batch, "BatchWorkflow.backfill")


@asynccontextmanager
async def _batch_steps(env: Env, docs: Pipeline) -> AsyncGenerator[None]:
    """The steps of a batch, with a real database and an embedder that needs no model."""
    publisher = docs.publisher
    store = PublishActivities(publisher.publish, publisher.load_source, publisher.rewind_source)
    prepare = PrepareActivities(docs.preparer.prepare)
    embed = EmbedActivities(docs.embed_step.embed, lambda: 0)
    steps: dict[str, list[Any]] = {
        task_queues.PREPARE: [prepare.prepare],
        task_queues.EMBED: [embed.embed],
        task_queues.STORE: [store.publish, store.load_source, store.rewind_source],
    }
    async with AsyncExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(3))
        for queue, activities in steps.items():
            worker = Worker(
                env.client, task_queue=queue, activities=activities, activity_executor=threads
            )
            await stack.enter_async_context(worker)
        yield


async def _has_published(entity: WorkflowHandle[Any, Any], batches: int) -> bool:
    state = await entity.query(SourceWorkflow.status)
    return state.published >= batches


async def _has_refused(entity: WorkflowHandle[Any, Any]) -> bool:
    state = await entity.query(SourceWorkflow.status)
    return bool(state.backfill_refused)

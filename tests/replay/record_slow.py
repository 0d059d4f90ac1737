"""Batches that are slow for `tests.replay.record`: small orders wait behind one that runs, and are joined."""

import asyncio
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from temporalio.worker import Worker

from corpus import task_queues
from corpus.activities import PrepareActivities, PublishActivities
from corpus.batch import (
    LoadedSource,
    PreparedBatch,
    PrepareRequest,
    StagedFile,
)
from corpus.source import SourceSpec, source_workflow_id
from corpus.workflows import BatchWorkflow
from ingest.hand_over import hand_over
from ingest.source_state import SLOW_BATCH_SECONDS, SourceState
from ingest.workflows import SourceWorkflow
from tests.support.orders import make_prepared, make_published, make_ref
from tests.support.polling import until
from tests.support.team_env import Env

_FILE = StagedFile(url="u", sha256="", rows=1, file_bytes=1)
_NO_TEXT = StagedFile(url="u", sha256="", rows=0, file_bytes=1)


class _Steps:
    """A batch is prepared once its gate is open."""

    def __init__(self) -> None:
        self.gates: defaultdict[int, threading.Event] = defaultdict(threading.Event)

    def load_source(self, _source: str) -> LoadedSource:
        return LoadedSource(
            last_batch=0,
            max_records=5_000,
            max_bytes=8_000_000,
            max_in_flight=3,
            epoch=0,
            state="active",
        )

    def prepare(self, request: PrepareRequest) -> PreparedBatch:
        assert self.gates[request.batch].wait(30)
        return make_prepared(request, _FILE, texts=_NO_TEXT)

    def rewind_source(self, _request: Any) -> Any:
        raise NotImplementedError


async def record_slow(env: Env, _folder: Path, recorder: Any) -> None:
    """Three batches: the first one is slow, two orders wait behind the second one, and are the third."""
    steps = _Steps()
    store: Any = PublishActivities(make_published, steps.load_source, steps.rewind_source)
    activities = {
        task_queues.PREPARE: [PrepareActivities(steps.prepare).prepare],
        task_queues.STORE: [store.publish, store.load_source],
    }
    async with AsyncExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(8))
        for queue, named in activities.items():
            worker = Worker(
                env.client, task_queue=queue, activities=named, activity_executor=threads
            )
            await stack.enter_async_context(worker)
        workflows = [SourceWorkflow, BatchWorkflow]
        await stack.enter_async_context(env.light_worker(workflows=workflows))
        entity = env.client.get_workflow_handle(source_workflow_id("slow"))

        async def state() -> SourceState:
            return await entity.query(SourceWorkflow.status)

        await _stage(env, 0)
        await until(lambda: _has(state, in_flight=1))
        await asyncio.sleep(SLOW_BATCH_SECONDS + 0.5)  # what makes it slow
        steps.gates[1].set()
        await until(lambda: _has(state, published=1))
        await _stage(env, 10)
        await until(lambda: _has(state, in_flight=1, published=1))
        for first in (20, 30):
            await _stage(env, first)
        await until(lambda: _has(state, pending=2, in_flight=1))
        for batch in (2, 3):
            steps.gates[batch].set()
        await until(lambda: _has(state, published=3))
        await recorder.save(entity, "SourceWorkflow.slow")


async def _stage(env: Env, first: int) -> None:
    ref = make_ref(first, first + 10, source="slow")
    await hand_over(env.client, ref, SourceSpec(source="slow", topics=("t",)))


async def _has(state: Any, **wanted: int) -> bool:
    """Whether the entity has so many references that wait, or are in flight, or batches that are published."""
    now = await state()
    counts = {
        "pending": len(now.pending),
        "in_flight": len(now.in_flight),
        "published": now.published,
    }
    return all(counts[name] == number for name, number in wanted.items())

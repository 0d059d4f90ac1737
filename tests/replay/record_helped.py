"""A large batch for `tests.replay.record`: an embedder works on it, and another one takes parts.

The first part ends well, the second one fails, the third one is not wanted any more while it runs, and nobody takes the
last one.
"""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from temporalio.worker import Worker

from corpus import task_queues
from corpus.activities import (
    EmbedActivities,
    EmbedHelpActivities,
    PrepareActivities,
    PublishActivities,
)
from corpus.batch import (
    BatchInput,
    EmbeddedBatch,
    EmbedRequest,
    Ingest,
    PreparedBatch,
    PrepareRequest,
    StagedFile,
)
from corpus.errors import DependencyError
from corpus.workflows import HELP_TEXTS, BatchWorkflow
from tests.support.orders import make_prepared, make_published, make_ref
from tests.support.team_env import Env

_FILE = StagedFile(url="u", sha256="", rows=5 * HELP_TEXTS, file_bytes=1)


class _Steps:
    """The batch's own step ends once two parts have ended."""

    def __init__(self) -> None:
        self._helped = threading.Semaphore(0)
        self._taken = itertools.count(1)

    def prepare(self, request: PrepareRequest) -> PreparedBatch:
        return make_prepared(request, _FILE)

    def embed(self, request: EmbedRequest) -> EmbeddedBatch:
        for _ in range(2):
            assert self._helped.acquire(timeout=30)
        return EmbeddedBatch(embedded=4 * HELP_TEXTS, found=HELP_TEXTS)

    def help_embed(self, request: EmbedRequest, is_wanted: Any) -> EmbeddedBatch:
        taken = next(self._taken)  # parts come in any order
        if taken <= 2:
            self._helped.release()
        if taken == 2:
            raise DependencyError("the database is away")
        while taken > 2 and is_wanted():
            threading.Event().wait(0.05)
        return EmbeddedBatch(embedded=HELP_TEXTS, found=0)


async def record_helped(env: Env, _folder: Path, recorder: Any) -> None:
    """A batch of five parts."""
    steps = _Steps()
    embed = EmbedActivities(steps.embed)
    help_embed = EmbedHelpActivities(steps.help_embed)
    publish: Any = PublishActivities(make_published, _never, _never)
    activities = {
        task_queues.PREPARE: PrepareActivities(steps.prepare).prepare,
        task_queues.EMBED: embed.embed,
        task_queues.EMBED_HELP: help_embed.help_embed,
        task_queues.STORE: publish.publish,
    }
    async with AsyncExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(8))
        for queue, activity in activities.items():
            worker = Worker(
                env.client,
                task_queue=queue,
                activities=[activity],
                activity_executor=threads,
                # One helper: the parts that it does not come to are cancelled before anyone takes them.
                max_concurrent_activities=1,
            )
            await stack.enter_async_context(worker)
        await stack.enter_async_context(env.light_worker(workflows=[BatchWorkflow]))
        order = Ingest(refs=(make_ref(0, 10, source="large"),))
        handle = await env.client.start_workflow(
            BatchWorkflow.run,
            BatchInput.of(order, source="large", batch=1, first_in_line=True),
            id="batch:large:1",
            task_queue=task_queues.WORKFLOWS,
        )
        await handle.result()
        await recorder.save(handle, "BatchWorkflow.helped")


def _never(_: Any) -> Any:
    raise NotImplementedError

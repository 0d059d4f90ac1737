"""Process roles: what each builds and runs. Wiring only.

| role | queue | runs | scales with |
| --- | --- | --- | --- |
| consumer | - | Kafka in, dead letters out | partitions |
| orchestrator | freshet | workflows, light activities | CPU |
| preparer | freshet-prepare | clean, split, compare | CPU, memory |
| embedder | freshet-embed | the model | GPUs |
| storer | freshet-store | publish, expire | database connections |
| gateway | freshet-nexus | other teams' calls | calls |
"""

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from corpus import task_queues
from corpus.errors import ConfigurationError, FreshetError
from workers import logs
from workers.config.settings import Settings, load
from workers.temporal import client as connect
from workers.temporal import sandbox

logger = logging.getLogger(__name__)

ROLES = ("consumer", "orchestrator", "preparer", "embedder", "storer", "gateway")
_GRACE = timedelta(seconds=15)
_PRELOAD_PATIENCE_SECONDS = 60.0
# A heartbeat a second must reach the server, not the SDK's default of 80 % of the timeout.
_WORKER: dict[str, Any] = {
    "graceful_shutdown_timeout": _GRACE,
    "max_heartbeat_throttle_interval": timedelta(seconds=1),
    "default_heartbeat_throttle_interval": timedelta(seconds=1),
}


async def run_role(role: str) -> None:
    """Run one role until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: the role or a setting is wrong.
        DependencyError: a service does not answer at the start.
    """
    if role not in ROLES:
        raise ConfigurationError(f"there is no role {role!r}; roles are {', '.join(ROLES)}")
    settings = load()
    logs.configure(role, level=settings.log_level, form=settings.log_format)
    if role == "consumer":
        await _consumer(settings)
        return
    client = await connect.temporal(settings)
    async with _BUILDERS[role](settings, client) as worker:
        await serve(worker, role)


async def serve(worker: Worker, role: str) -> None:
    """Run a worker until a signal comes, then stop gracefully."""
    leaving = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leaving.set)
    async with worker:
        mark_ready(role)
        await leaving.wait()
        logger.info("stopping", extra={"action": "worker_stopping", "role": role})


async def _consumer(settings: Settings) -> None:
    from workers.roles.consumer import run_consumer

    consuming = asyncio.create_task(run_consumer(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, consuming.cancel)
    mark_ready("consumer")
    with contextlib.suppress(asyncio.CancelledError):
        await consuming


def mark_ready(role: str) -> None:
    """Tell whoever started us: the pid goes into the file that FRESHET_READY_FILE names."""
    logger.info("ready", extra={"action": "worker_ready", "role": role})
    if path := os.environ.get("FRESHET_READY_FILE"):
        Path(path).write_text(str(os.getpid()), encoding="utf-8")


@asynccontextmanager
async def _orchestrator(settings: Settings, client: Client) -> AsyncIterator[Worker]:
    from corpus.database import open_pool
    from workers.roles import orchestrator as deliveries

    with open_pool(settings.database_url, size=4, application="freshet-orchestrator") as pool:
        yield Worker(
            client,
            task_queue=task_queues.WORKFLOWS,
            workflows=deliveries.ALL_WORKFLOWS,
            activities=deliveries.activities(pool),
            activity_executor=ThreadPoolExecutor(8),
            max_concurrent_activities=8,
            workflow_runner=sandbox.runner(),
            **_WORKER,
        )


@asynccontextmanager
async def _preparer(settings: Settings, client: Client) -> AsyncIterator[Worker]:
    from corpus.activities import PrepareActivities
    from corpus.clean.cleaner import Cleaner
    from corpus.database import open_pool
    from corpus.embed.spaces import SpaceRegistry
    from corpus.prepare.preparer import Preparer
    from corpus.staging.store import StagingStore
    from ingest.decode.staged_content import content_of

    with (
        open_pool(settings.database_url, size=3, application="freshet-preparer") as pool,
        Cleaner(processes=settings.prepare_processes) as cleaner,
    ):
        preparer = Preparer(
            store=StagingStore(settings.staging_url),
            pool=pool,
            cleaner=cleaner,
            spaces=SpaceRegistry(),
            content_of=content_of,
        )
        yield Worker(
            client,
            task_queue=task_queues.PREPARE,
            activities=[PrepareActivities(preparer.prepare).prepare],
            activity_executor=ThreadPoolExecutor(2),
            max_concurrent_activities=2,
            **_WORKER,
        )


@asynccontextmanager
async def _embedder(settings: Settings, client: Client) -> AsyncIterator[Worker]:
    from corpus.activities import EmbedActivities
    from corpus.database import open_pool
    from corpus.embed.step import EmbedStep
    from corpus.staging.store import StagingStore
    from workers.roles.embedders import Embedders

    embedders = Embedders(settings)
    with open_pool(settings.database_url, size=6, application="freshet-embedder") as pool:
        await asyncio.to_thread(_preload, settings, embedders)
        step = EmbedStep(
            store=StagingStore(settings.staging_url),
            pool=pool,
            embedder_of=embedders.with_fingerprint,
            shard=settings.embed_shard,
        )
        # Two side by side: while one computes (the model takes one at a time), the next has read its texts.
        yield Worker(
            client,
            task_queue=task_queues.EMBED,
            activities=[EmbedActivities(step.embed).embed],
            activity_executor=ThreadPoolExecutor(2),
            max_concurrent_activities=2,
            **_WORKER,
        )


@asynccontextmanager
async def _storer(settings: Settings, client: Client) -> AsyncIterator[Worker]:
    from corpus.activities import PublishActivities
    from corpus.database import open_pool
    from corpus.publish.publisher import Publisher
    from corpus.staging.store import StagingStore

    with open_pool(settings.database_url, size=4, application="freshet-storer") as pool:
        publisher = Publisher(store=StagingStore(settings.staging_url), pool=pool)
        store = PublishActivities(publisher.publish, publisher.load_source, publisher.rewind_source)
        yield Worker(
            client,
            task_queue=task_queues.STORE,
            activities=[store.publish, store.load_source, store.rewind_source],
            activity_executor=ThreadPoolExecutor(4),
            max_concurrent_activities=4,
            **_WORKER,
        )


@asynccontextmanager
async def _gateway(settings: Settings, client: Client) -> AsyncIterator[Worker]:
    from corpus.answer.search import search
    from corpus.database import open_pool
    from workers.roles import gateway
    from workers.roles.embedders import Embedders

    embedders = Embedders(settings)
    with open_pool(settings.database_url, size=4, application="freshet-gateway-search") as pool:

        def answer(request: Any) -> Any:
            with pool.connection() as connection:
                return search(connection, request, embedders.of)

        # Ready without the model: descriptions and waits need none, and the first search waits for it.
        threading.Thread(
            target=_preload_later, args=(settings, embedders), name="preload", daemon=True
        ).start()
        yield gateway.build(client, pool, search=answer)


def _preload_later(settings: Settings, embedders: Any) -> None:
    # On one machine the embedder loads the same libraries at this moment, and everything waits for that: let it be first
    # (it names the file in which it says that it is ready). A search that comes meanwhile loads the model itself.
    after = Path(os.environ.get("FRESHET_PRELOAD_AFTER", os.devnull))
    deadline = time.monotonic() + _PRELOAD_PATIENCE_SECONDS
    while not after.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    _preload(settings, embedders)


def _preload(settings: Settings, embedders: Any) -> None:
    """Load the models of the configured sources, or the default one, so that the first batch does not wait for it."""
    from corpus.database import connect as connect_database
    from corpus.source import SourceSpec
    from corpus.sql import query

    with connect_database(settings.database_url) as connection:
        rows = connection.execute(query("search_spaces"), {"sources": None}).fetchall()
    specs = [SourceSpec.from_json(row[1]) for row in rows]
    wanted = {(spec.model, spec.prefix) for spec in specs} or {
        (SourceSpec(source="default", topics=("none",)).model, "")
    }
    for model, prefix in sorted(wanted):
        try:
            embedders.of(model, prefix)
        except FreshetError as error:
            context = {"action": "model_not_loaded", "model": model, "error": str(error)}
            logger.error("model not loaded", extra=context)  # noqa: TRY400 - the message says it all


_BUILDERS: dict[
    str, Callable[[Settings, Client], contextlib.AbstractAsyncContextManager[Worker]]
] = {
    "orchestrator": _orchestrator,
    "preparer": _preparer,
    "embedder": _embedder,
    "storer": _storer,
    "gateway": _gateway,
}

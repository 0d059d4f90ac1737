"""Role gateway: queue `freshet-nexus`, which answers other teams. It has a model of its own for the queries."""

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from psycopg_pool import ConnectionPool
from temporalio.client import Client
from temporalio.worker import Worker

from corpus import task_queues
from corpus.answer.requests import is_as_of
from corpus.answer.search import EmbedderOf, search
from corpus.answer.service_handler import (
    SEARCH_TIMEOUT_SECONDS,
    THREADS,
    THREADS_FOR_THE_PAST,
    CorpusServiceHandler,
)
from corpus.database import (
    SHORT_LIMITS,
    Connection,
    database_errors_translated,
    open_pool,
)
from corpus.errors import FreshetError
from corpus.service import SearchRequest, SearchResponse
from freshness import scan
from workers.config.settings import Settings
from workers.roles import metrics
from workers.roles.figures import PoolFigures, background
from workers.roles.models import LoadedModels, load_configured
from workers.roles.orchestrator import with_connection
from workers.roles.run import WORKER_OPTIONS, serve
from workers.roles.watch import in_daemon_thread
from workers.temporal.client import temporal

logger = logging.getLogger(__name__)

_POOL_SECONDS = 5.0  # longest wait for a connection
_PRELOAD_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.2


async def run(settings: Settings) -> None:
    """Answer until SIGTERM or SIGINT."""
    client = await temporal(settings)
    models = LoadedModels(settings)
    url = settings.database_url
    with (
        open_pool(
            url,
            size=THREADS,
            application="freshet-gateway-search",
            limits=SHORT_LIMITS,
        ) as pool,
        open_pool(
            url,
            size=THREADS_FOR_THE_PAST,
            application="freshet-gateway-as-of",
            limits=SHORT_LIMITS,
        ) as pool_for_the_past,
    ):
        # It is ready without the model: descriptions and waits need none, and the first search waits for it.
        answer = answering(pool, pool_for_the_past, models.of)
        preload = in_daemon_thread(partial(_preload, settings, models), "preload")
        pools = PoolFigures(metrics.meter(), search=pool, as_of=pool_for_the_past)
        await serve(
            build(client, pool, search=answer),
            "gateway",
            preload=preload,
            **background(settings, pools.update),
        )


def answering(
    pool: ConnectionPool[Connection],
    pool_for_the_past: ConnectionPool[Connection],
    embedder_of: EmbedderOf,
) -> Callable[[SearchRequest], SearchResponse]:
    """The search of the gateway: it blocks, for about `SEARCH_TIMEOUT_SECONDS` at most.

    Searches of the past may wait for a batch that is being published. They have connections of their own, so that they
    hold up no search of now.
    """

    def answer(request: SearchRequest) -> SearchResponse:
        of_request = pool_for_the_past if is_as_of(request) else pool
        with (
            database_errors_translated(),
            of_request.connection(_POOL_SECONDS) as connection,
        ):
            return search(
                connection, request, embedder_of, max_seconds=SEARCH_TIMEOUT_SECONDS
            )

    return answer


def build(
    client: Client,
    pool: ConnectionPool[Connection],
    *,
    search: Callable[[SearchRequest], SearchResponse],
) -> Worker:
    """The worker of queue `freshet-nexus`; `search` blocks and runs in a thread."""
    describe = partial(with_connection, pool, scan.describe)
    handler = CorpusServiceHandler(search=search, describe=describe)
    return Worker(
        client,
        task_queue=task_queues.NEXUS,
        nexus_service_handlers=[handler],
        nexus_task_executor=ThreadPoolExecutor(THREADS),
        **WORKER_OPTIONS,
    )


def _preload(settings: Settings, models: LoadedModels) -> None:
    # On one machine the embedder loads the same libraries at this moment, and everything waits for it: let it be first.
    # FRESHET_PRELOAD_AFTER names its ready file. A search that comes meanwhile loads the model itself.
    path = os.environ.get("FRESHET_PRELOAD_AFTER", os.devnull)
    ready_file = Path(path)
    deadline = time.monotonic() + _PRELOAD_PATIENCE_SECONDS
    while not ready_file.exists():
        if time.monotonic() >= deadline:
            break
        time.sleep(_LOOK_SECONDS)
    try:
        load_configured(settings, models)
    except (
        FreshetError
    ) as error:  # the database is away: the first search loads the model
        context = {"action": "model_not_loaded", "error": str(error)}
        logger.warning("no model loaded at the start", extra=context)

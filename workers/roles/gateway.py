"""Role gateway: the queues `freshet-nexus.TEAM`, one per team. It has a model of its own for the queries.

Queue `freshet-nexus` is no team's: calls of it are refused, with the reason in the audit log.
"""

import dataclasses
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
from corpus.access.codec import GatewayCodec
from corpus.access.reader import Reader, reading_as
from corpus.answer.gate import Gate
from corpus.answer.query_vectors import EmbedderOf, QueryVectors
from corpus.answer.requests import is_as_of
from corpus.answer.search import search
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
from corpus.service import (
    DescribeRequest,
    SearchRequest,
    SearchResponse,
    SourceDescription,
)
from freshness import scan
from workers.calls.log import AnswerLog
from workers.calls.queues import TeamQueues, TeamRegistry
from workers.config.settings import Settings
from workers.roles import metrics
from workers.roles.figures import PoolFigures, QueryFigures, background
from workers.roles.models import LoadedModels, load_configured
from workers.roles.orchestrator import with_connection
from workers.roles.run import WORKER_OPTIONS, serve
from workers.roles.watch import in_daemon_thread
from workers.temporal.client import temporal
from workers.temporal.failures import PublicFailureConverter

logger = logging.getLogger(__name__)

_POOL_SECONDS = 5.0  # longest wait for a connection
_PRELOAD_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.2

Search = Callable[[Reader, SearchRequest], SearchResponse]


async def run(settings: Settings) -> None:
    """Answer until SIGTERM or SIGINT."""
    client = await temporal(settings)
    models = LoadedModels(settings)
    url = settings.database_url
    with (
        open_pool(
            url, size=1, application="freshet-gateway-log", limits=SHORT_LIMITS
        ) as pool_of_log,
        AnswerLog(pool_of_log) as answers,
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
        vectors = QueryVectors()
        answer = answering(pool, pool_for_the_past, models.of, vectors)
        preload = in_daemon_thread(partial(_preload, settings, models), "preload")
        pools = PoolFigures(metrics.meter(), search=pool, as_of=pool_for_the_past)
        queries = QueryFigures(metrics.meter(), vectors)
        make = worker_of(client, pool, search=answer)
        registry = TeamRegistry(pool, settings.team_keys)
        teams = TeamQueues(registry, make, answers.note)
        await serve(
            make(task_queues.NEXUS, Gate(_no_team, answers.note)),
            "gateway",
            preload=preload,
            teams=teams.run(),
            **background(settings, pools.update, queries.update),
        )


def _no_team() -> None:
    """Queue `freshet-nexus` belongs to none."""


def answering(
    pool: ConnectionPool[Connection],
    pool_for_the_past: ConnectionPool[Connection],
    embedder_of: EmbedderOf,
    vectors: QueryVectors,
) -> Search:
    """The search of the gateway: it blocks, for about `SEARCH_TIMEOUT_SECONDS` at most.

    Searches of the past may wait for a batch that is being published. They have connections of their own, so that they
    hold up no search of now.
    """

    def answer(reader: Reader, request: SearchRequest) -> SearchResponse:
        of_request = pool_for_the_past if is_as_of(request) else pool
        with (
            database_errors_translated(),
            of_request.connection(_POOL_SECONDS) as connection,
        ):
            return search(
                connection,
                request,
                vectors.of_reader(reader.name, embedder_of),
                max_seconds=SEARCH_TIMEOUT_SECONDS,
                reader=reader,
            )

    return answer


def describe_as(
    connection: Connection, reader: Reader, request: DescribeRequest
) -> SourceDescription | None:
    """A source as this reader sees it; None where there is no such source for it."""
    if request.source not in reader.sources:
        return None
    with reading_as(connection, reader):
        return scan.describe(connection, request)


def worker_of(
    client: Client, pool: ConnectionPool[Connection], *, search: Search
) -> Callable[[str, Gate], Worker]:
    """Makes the workers of the queues, which share their threads; `search` blocks and runs in one of them."""
    describe = partial(with_connection, pool, describe_as)
    handler = CorpusServiceHandler(search=search, describe=describe)
    threads = ThreadPoolExecutor(THREADS)

    def worker(queue: str, gate: Gate) -> Worker:
        return Worker(
            client_for(client, gate),
            task_queue=queue,
            nexus_service_handlers=[handler],
            nexus_task_executor=threads,
            interceptors=[gate],
            **WORKER_OPTIONS,
        )

    return worker


def client_for(client: Client, gate: Gate) -> Client:
    """The client of a team's queue: answers are encrypted with the team's key, where the team's are.

    Errors are plain: they are worded for the caller, who may be no team and have no key.
    """
    config = client.config()
    own = config["data_converter"]
    codec = GatewayCodec(gate.team, own.payload_codec)
    config["data_converter"] = dataclasses.replace(
        own, payload_codec=codec, failure_converter_class=PublicFailureConverter
    )
    return Client(**config)


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
        load_configured(settings, models, for_teams=True)
    except (
        FreshetError
    ) as error:  # the database is away: the first search loads the model
        context = {"action": "model_not_loaded", "error": str(error)}
        logger.warning("no model loaded at the start", extra=context)

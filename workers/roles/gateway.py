"""Role gateway: the queues `freshet-nexus.TEAM`, one per team. It has a model of its own for the queries.

Queue `freshet-nexus` is no team's: calls of it are refused, with the reason in the audit log.
"""

import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from psycopg_pool import ConnectionPool
from temporalio.client import Client
from temporalio.worker import Worker

from corpus import task_queues
from corpus.access.codec import GatewayCodec
from corpus.access.reader import Reader, reading_as
from corpus.answer.gate import Gate
from corpus.answer.query_vectors import EmbedderOf, QueryVectors
from corpus.answer.requests import is_as_of
from corpus.answer.rerank import RerankerOf, reranked
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
from corpus.errors import DependencyError, FreshetError
from corpus.service import (
    DescribeRequest,
    SearchRequest,
    SearchResponse,
    SourceDescription,
)
from corpus.sessions.server import EVERY_REPLICA_SESSION
from freshness import scan
from workers.calls.log import AnswerLog
from workers.calls.queues import TeamQueues, TeamRegistry
from workers.calls.replica import ReplicaSearches
from workers.config.replica import replica_url
from workers.config.settings import Settings
from workers.roles import metrics
from workers.roles.figures import (
    PoolFigures,
    QueryFigures,
    ReplicaFigures,
    Update,
    background,
)
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
RERANKED_AT_ONCE = THREADS // 2

Search = Callable[[Reader, SearchRequest], SearchResponse]


async def run(settings: Settings) -> None:
    """Answer until SIGTERM or SIGINT."""
    client = await temporal(settings)
    models = LoadedModels(settings)
    with ExitStack() as stack:
        pools = _pools(settings, stack)
        answers = stack.enter_context(AnswerLog(pools["log"]))
        replica = replica_searches(settings, stack)
        # It is ready without the model: descriptions and waits need none, and the first search waits for it.
        vectors = QueryVectors()
        find = answering(pools["search"], pools["as_of"], models.of, vectors, replica)
        answer = with_reranking(find, models.reranker)
        preload = in_daemon_thread(partial(_preload, settings, models), "preload")
        on_replica = replica is not None
        make = worker_of(client, pools["search"], search=answer, on_replica=on_replica)
        registry = TeamRegistry(pools["search"], settings.team_keys)
        teams = TeamQueues(registry, make, answers.note)
        await serve(
            make(task_queues.NEXUS, Gate(_no_team, answers.note)),
            "gateway",
            preload=preload,
            teams=teams.run(),
            **_watching(replica),
            **background(settings, *_figures(pools, vectors, replica)),
        )


def _pools(
    settings: Settings, stack: ExitStack
) -> dict[str, ConnectionPool[Connection]]:
    """The pools of the primary, which the stack closes."""
    sizes = {"log": 1, "search": THREADS, "as_of": THREADS_FOR_THE_PAST}
    return {
        name: stack.enter_context(
            open_pool(
                settings.database_url,
                size=size,
                application=f"freshet-gateway-{name.replace('_', '-')}",
                limits=SHORT_LIMITS,
            )
        )
        for name, size in sizes.items()
    }


def _watching(
    replica: ReplicaSearches | None,
) -> dict[str, Coroutine[Any, Any, None]]:
    """The task that looks at the replica, by name; none where there is none."""
    if replica is None:
        return {}
    return {"replica": replica.watch()}


def _figures(
    pools: dict[str, ConnectionPool[Connection]],
    vectors: QueryVectors,
    replica: ReplicaSearches | None,
) -> list[Update]:
    """What keeps the instruments up to date."""
    meter = metrics.meter()
    shown = {name: pool for name, pool in pools.items() if name != "log"}
    updates: list[Update] = [
        PoolFigures(meter, **shown).update,
        QueryFigures(meter, vectors).update,
    ]
    if replica is not None:
        updates.append(ReplicaFigures(meter, replica).update)
    return updates


def _no_team() -> None:
    """Queue `freshet-nexus` belongs to none."""


def replica_searches(settings: Settings, stack: ExitStack) -> ReplicaSearches | None:
    """Searches on the configured replica, whose pools the stack closes; None where there is none."""
    url = replica_url(settings, settings.database_url)
    if url is None:
        return None
    pool = open_pool(
        url,
        size=THREADS + 1,  # one for the looks
        application="freshet-gateway-replica",
        limits=SHORT_LIMITS,
        rules=EVERY_REPLICA_SESSION,
    )
    of_primary = open_pool(
        settings.database_url,
        size=1,
        application="freshet-gateway-lag",
        limits=SHORT_LIMITS,
    )
    return ReplicaSearches(
        stack.enter_context(pool),
        stack.enter_context(of_primary),
        settings.read_replica_max_lag,
    )


def answering(
    pool: ConnectionPool[Connection],
    pool_for_the_past: ConnectionPool[Connection],
    embedder_of: EmbedderOf,
    vectors: QueryVectors,
    replica: ReplicaSearches | None = None,
) -> Search:
    """The search of the gateway: it blocks, for about `SEARCH_TIMEOUT_SECONDS` at most.

    Searches of the past may wait for a batch that is being published, which only the primary knows of. They have
    connections of their own, so that they hold up no search of now. Searches of now go to the replica, where there is
    one and it may answer.
    """

    def answer_on(
        connection: Connection, reader: Reader, request: SearchRequest
    ) -> SearchResponse:
        return search(
            connection,
            request,
            vectors.of_reader(reader.name, embedder_of),
            max_seconds=SEARCH_TIMEOUT_SECONDS,
            reader=reader,
        )

    def answer(reader: Reader, request: SearchRequest) -> SearchResponse:
        step = partial(answer_on, reader=reader, request=request)
        if replica is not None and not is_as_of(request):
            response = replica.answer(step)
            if response is not None:
                return response
        of_request = pool_for_the_past if is_as_of(request) else pool
        with (
            database_errors_translated(),
            of_request.connection(_POOL_SECONDS) as connection,
        ):
            return step(connection)

    return answer


def with_reranking(find: Search, reranker_of: RerankerOf) -> Search:
    """A search that reranks where a request asks for it; a connection is held for the candidates only.

    At most half of the threads rerank, or wait for the model: plain searches of other teams have the rest.
    """
    places = threading.BoundedSemaphore(RERANKED_AT_ONCE)

    def answer(reader: Reader, request: SearchRequest) -> SearchResponse:
        if not request.rerank:
            return find(reader, request)
        if not places.acquire(blocking=False):
            raise DependencyError(
                f"{RERANKED_AT_ONCE} searches are being reranked; search again, or without reranking"
            )
        try:
            return reranked(request, partial(find, reader), reranker_of)
        finally:
            places.release()

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
    client: Client,
    pool: ConnectionPool[Connection],
    *,
    search: Search,
    on_replica: bool = False,
) -> Callable[[str, Gate], Worker]:
    """Makes the workers of the queues, which share their threads; `search` blocks and runs in one of them."""
    describe = partial(with_connection, pool, describe_as)
    handler = CorpusServiceHandler(
        search=search, describe=describe, on_replica=on_replica
    )
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

"""Role orchestrator: the workflows and the light activities of queue `freshet`."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from psycopg.rows import scalar_row
from psycopg_pool import ConnectionPool
from temporalio.worker import Worker

from corpus import task_queues
from corpus.answer.activities import AnswerActivities
from corpus.answer.await_replica import Lend, outcome_where_searched
from corpus.answer.workflows import AwaitFreshWorkflow
from corpus.audit.workflows import AuditWorkflow
from corpus.database import (
    SHORT_LIMITS,
    Connection,
    database_errors_translated,
    fetch_one,
    open_pool,
)
from corpus.deliver import notices as deliver
from corpus.deliver.activities import DeliveryActivities
from corpus.deliver.workflows import DeliveryWorkflow
from corpus.errors import ConfigurationError, DependencyError
from corpus.overdue import MAX_LAG_SECONDS
from corpus.purge.workflows import PurgeWorkflow
from corpus.sessions.server import EVERY_REPLICA_SESSION
from corpus.source import SourceSpec
from corpus.workflows import BatchWorkflow
from freshness import read_again, scan
from freshness.activities import FreshnessActivities
from freshness.report import FreshnessSnapshot
from freshness.revalidation import ReadAgain
from freshness.workflows import FreshnessWorkflow
from ingest.backfill.workflows import BackfillWorkflow
from ingest.behind import records_that_wait
from ingest.kafka import Cluster
from ingest.source_state import SourceState, initial_state
from ingest.workflows import SourceWorkflow
from workers.config.replica import replica_url
from workers.config.settings import Settings, kafka_properties
from workers.roles import figures, metrics
from workers.roles.corpus_metrics import CorpusMetrics
from workers.roles.credentials import Credentials, keep_current
from workers.roles.run import WORKER_OPTIONS, serve
from workers.temporal import sandbox
from workers.temporal.client import temporal

# Every workflow that queue `freshet` runs.
WORKFLOWS: tuple[type, ...] = (
    SourceWorkflow,
    BatchWorkflow,
    DeliveryWorkflow,
    AwaitFreshWorkflow,
    FreshnessWorkflow,
    AuditWorkflow,
    PurgeWorkflow,
    BackfillWorkflow,
)
_THREADS = 8
_CONNECTIONS = 4
_REPLICA_SECONDS = 5.0  # longest wait for a connection to the replica
Result = TypeVar("Result")


async def run(settings: Settings) -> None:
    """Run workflows and light activities until SIGTERM or SIGINT."""
    client = await temporal(settings)
    with (
        open_pool(
            settings.database_url, size=_CONNECTIONS, application="freshet-orchestrator"
        ) as pool,
        lent_replica(settings) as replica,
    ):
        cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
        worker = Worker(
            client,
            task_queue=task_queues.WORKFLOWS,
            workflows=WORKFLOWS,
            activities=activities(pool, cluster, replica),
            activity_executor=ThreadPoolExecutor(_THREADS),
            max_concurrent_activities=_THREADS,
            workflow_runner=sandbox.runner(),
            **WORKER_OPTIONS,
        )
        meter = metrics.meter()
        corpus = CorpusMetrics(pool, cluster, meter)
        background = figures.background(
            settings,
            partial(asyncio.to_thread, corpus.update),
            figures.BatchesInFlight(meter, client).update,
            figures.PoolFigures(meter, database=pool).update,
        )
        credentials = Credentials(settings.kafka_properties, kafka_properties)
        background["credentials"] = keep_current(credentials, cluster)
        await serve(worker, "orchestrator", **background)


@contextmanager
def lent_replica(settings: Settings) -> Generator[Lend | None]:
    """What lends a connection to the replica that searches read; None where there is none."""
    url = replica_url(settings, settings.database_url)
    if url is None:
        yield None
        return
    with open_pool(
        url,
        size=_CONNECTIONS,
        application="freshet-orchestrator-replica",
        limits=SHORT_LIMITS,
        rules=EVERY_REPLICA_SESSION,
    ) as pool:
        yield partial(pool.connection, _REPLICA_SECONDS)


def with_connection(
    pool: ConnectionPool[Connection], step: Callable[..., Result], *arguments: Any
) -> Result:
    """Run a step with a connection of the pool; a database that does not answer is a transient error."""
    with database_errors_translated(), pool.connection() as connection:
        return step(connection, *arguments)


def activities(
    pool: ConnectionPool[Connection],
    cluster: Cluster | None = None,
    replica: Lend | None = None,
) -> Sequence[Callable[..., Any]]:
    """The light activities; they block, so their worker needs a thread pool.

    Args:
        pool: of connections to PostgreSQL.
        cluster: asked whether a source is behind before documents are expired; None: nobody is asked.
        replica: lends a connection to the replica that searches read; None: they read the primary.
    """

    def step(function: Callable[..., Result]) -> Callable[..., Result]:
        return partial(with_connection, pool, function)

    notices = DeliveryActivities(
        next_notice=step(deliver.next_notice),
        acknowledge=step(deliver.acknowledge),
        park=step(deliver.park),
        to_wake=step(deliver.deliveries_to_wake),
        woken=step(deliver.deliveries_woken),
    )
    answers = AnswerActivities(step(partial(outcome_where_searched, replica=replica)))
    checks = FreshnessActivities(
        measure=step(partial(_measure, cluster=cluster)),
        expired_after=step(scan.expired_after),
        record=step(scan.record),
        initial_state=step(_initial_state),
        read_again=step(partial(_read_again, cluster=cluster)),
    )
    return (
        notices.wake,
        notices.wake_due,
        notices.next_notice,
        notices.endpoint_exists,
        notices.acknowledge,
        notices.park,
        answers.current_outcome,
        answers.outcome_for_team,
        checks.measure,
        checks.order_expiry,
        checks.find_expiry,
        checks.read_again,
        checks.record,
    )


def _measure(
    connection: Connection, source: str, *, cluster: Cluster | None
) -> FreshnessSnapshot:
    """Measure; where documents are overdue, ask Kafka whether records wait that may renew them.

    Without an answer of Kafka nothing is known, so nothing is expired by age.
    """
    snapshot = scan.measure(connection, source)
    if cluster is None or snapshot.overdue == snapshot.ended:
        return snapshot
    spec = SourceSpec.from_json(_stored_spec(connection, source))
    before_ms = snapshot.snapshotted_at_ms - MAX_LAG_SECONDS * 1000
    try:
        behind = records_that_wait(connection, cluster, spec, before_ms)
    except DependencyError as error:
        behind = str(error)
    return replace(snapshot, behind=behind)


def _read_again(
    connection: Connection, source: str, *, cluster: Cluster | None
) -> ReadAgain:
    if cluster is None:
        return ReadAgain(waits_for="documents that changed wait: no Kafka is known")
    return read_again.order(connection, source, cluster=cluster)


def _initial_state(connection: Connection, source: str) -> SourceState:
    return initial_state(SourceSpec.from_json(_stored_spec(connection, source)))


def _stored_spec(connection: Connection, source: str) -> dict[str, Any]:
    stored = fetch_one(connection, scalar_row, "source_spec", {"source": source})
    if stored is None:
        raise ConfigurationError(
            f"there is no source {source!r}; see `freshet sources`"
        )
    return stored

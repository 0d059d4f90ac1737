"""Role orchestrator: the workflows and the light activities of queue `freshet`."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from psycopg.rows import scalar_row
from psycopg_pool import ConnectionPool
from temporalio.worker import Worker

from corpus import task_queues
from corpus.answer import await_fresh
from corpus.answer.activities import AnswerActivities
from corpus.answer.workflows import AwaitFreshWorkflow
from corpus.database import Connection, database_errors_translated, open_pool
from corpus.deliver import notices as deliver
from corpus.deliver.activities import DeliveryActivities
from corpus.deliver.workflows import DeliveryWorkflow
from corpus.errors import ConfigurationError
from corpus.source import SourceSpec
from corpus.sql import query
from corpus.workflows import BatchWorkflow
from freshness import scan
from freshness.activities import FreshnessActivities
from freshness.workflows import FreshnessWorkflow
from ingest.source_state import SourceState, initial_state
from ingest.workflows import SourceWorkflow
from workers.config.settings import Settings
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
)
_THREADS = 8
_CONNECTIONS = 4
Result = TypeVar("Result")


async def run(settings: Settings) -> None:
    """Run workflows and light activities until SIGTERM or SIGINT."""
    client = await temporal(settings)
    with open_pool(
        settings.database_url, size=_CONNECTIONS, application="freshet-orchestrator"
    ) as pool:
        worker = Worker(
            client,
            task_queue=task_queues.WORKFLOWS,
            workflows=WORKFLOWS,
            activities=activities(pool),
            activity_executor=ThreadPoolExecutor(_THREADS),
            max_concurrent_activities=_THREADS,
            workflow_runner=sandbox.runner(),
            **WORKER_OPTIONS,
        )
        await serve(worker, "orchestrator")


def with_connection(
    pool: ConnectionPool[Connection], step: Callable[..., Result], *arguments: Any
) -> Result:
    """Run a step with a connection of the pool; a database that does not answer is a transient error."""
    with database_errors_translated(), pool.connection() as connection:
        return step(connection, *arguments)


def activities(pool: ConnectionPool[Connection]) -> Sequence[Callable[..., Any]]:
    """The light activities; they block, so their worker needs a thread pool."""

    def step(function: Callable[..., Result]) -> Callable[..., Result]:
        return partial(with_connection, pool, function)

    notices = DeliveryActivities(
        next_notice=step(deliver.next_notice),
        acknowledge=step(deliver.acknowledge),
        park=step(deliver.park),
        to_wake=step(deliver.deliveries_to_wake),
        woken=step(deliver.deliveries_woken),
    )
    answers = AnswerActivities(step(await_fresh.current_outcome))
    checks = FreshnessActivities(
        measure=step(scan.measure),
        expired_after=step(scan.expired_after),
        record=step(scan.record),
        initial_state=step(_initial_state),
    )
    return (
        notices.wake,
        notices.wake_due,
        notices.next_notice,
        notices.endpoint_exists,
        notices.acknowledge,
        notices.park,
        answers.current_outcome,
        checks.measure,
        checks.order_expiry,
        checks.find_expiry,
        checks.record,
    )


def _initial_state(connection: Connection, source: str) -> SourceState:
    with connection.cursor(row_factory=scalar_row) as cursor:
        cursor.execute(query("source_spec"), {"source": source})
        stored = cursor.fetchone()
    if stored is None:
        raise ConfigurationError(
            f"there is no source {source!r}; see `freshet sources`"
        )
    spec = SourceSpec.from_json(stored)
    return initial_state(spec)

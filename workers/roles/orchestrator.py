"""Wiring of freshness, deliveries and waits: workflows and activities for whoever runs queue `freshet`."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from psycopg_pool import ConnectionPool

from corpus.answer import await_fresh
from corpus.answer.activities import AnswerActivities
from corpus.answer.workflows import AwaitFreshWorkflow
from corpus.database import Connection, database_errors_translated
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

WORKFLOWS: tuple[type, ...] = (DeliveryWorkflow, AwaitFreshWorkflow, FreshnessWorkflow)
ALL_WORKFLOWS = (SourceWorkflow, BatchWorkflow, *WORKFLOWS)  # what task queue `freshet` runs
_Out = TypeVar("_Out")


def in_pool(pool: ConnectionPool[Connection], step: Callable[..., _Out], *arguments: Any) -> _Out:
    """Run a step with a connection of the pool; a database that is away is an error that may pass."""
    with database_errors_translated(), pool.connection() as connection:
        return step(connection, *arguments)


def activities(pool: ConnectionPool[Connection]) -> Sequence[Callable[..., Any]]:
    """The light activities; synchronous ones need a thread pool in the worker."""

    def step(verb: Callable[..., _Out]) -> Callable[..., _Out]:
        return partial(in_pool, pool, verb)

    notices = DeliveryActivities(
        next_notice=step(deliver.next_notice),
        acknowledge=step(deliver.acknowledge),
        park=step(deliver.park),
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
    row = connection.execute(query("source_spec"), {"source": source}).fetchone()
    if row is None:
        raise ConfigurationError(f"there is no source {source!r}; see `freshet sources`")
    return initial_state(SourceSpec.from_json(row[0]))

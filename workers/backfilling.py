"""What the roles give to backfills: the logs of Kafka, the staging store, the entity; what displays show of them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cache, partial
from typing import Any

from psycopg_pool import ConnectionPool
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from corpus.database import Connection
from corpus.disclosure.error_text import public_text
from corpus.errors import FreshetError
from corpus.staging.store import StagingStore
from ingest.audit.replay import log_reader
from ingest.backfill.activities import BackfillActivities, BackfillPartActivities
from ingest.backfill.order import PART_RECORDS, backfill_workflow_id
from ingest.backfill.standing import shown_backfills
from ingest.backfill.steps import PartStep, StageStep
from ingest.kafka import Cluster
from workers.config.settings import Settings
from workers.failing_tasks import task_failure
from workers.last_attempts import problem_of
from workers.stages import is_untaken
from workers.temporal.client import temporal

_ANSWER = timedelta(seconds=3)
_ROLES = {
    "backfill.stage": "preparer",
    "backfill.publish": "storer",
    "backfill.end": "storer",
}


def stages(
    bootstrap: str,
    given: dict[str, str],
    pool: ConnectionPool[Connection],
    staging: StagingStore,
    part: int = PART_RECORDS,
) -> BackfillActivities:
    """The activity of the preparer. Kafka is asked when the first backfill comes.

    Args:
        bootstrap: addresses of Kafka.
        given: the user's properties of clients.
        pool: of connections to PostgreSQL.
        staging: of staged files.
        part: records of one part.
    """

    @cache
    def cluster() -> Cluster:
        return Cluster(bootstrap, given)

    step = StageStep(
        pool=pool,
        store=staging,
        cluster=cluster,
        open_reader=partial(log_reader, bootstrap, given),
        part=part,
    )
    return BackfillActivities(step.stage)


def part_activities(
    client: Client, pool: ConnectionPool[Connection], staging: StagingStore
) -> Sequence[Callable[..., Any]]:
    """The activities of the storer."""
    step = PartStep(client=client, pool=pool, store=staging)
    parts = BackfillPartActivities(publish=step.publish, end=step.end)
    return (parts.publish, parts.end)


def add_backfills(
    connection: Connection,
    rows: Sequence[dict[str, Any]],
) -> None:
    """Add to the rows of `ingest.overview` the newest backfill that a person wants to know of, with its sentence."""
    shown = {each["source"]: each for each in shown_backfills(connection)}
    for row in rows:
        row["backfill"] = shown.get(row["source"])


async def why_they_wait(
    settings: Settings, backfills: Mapping[int, str]
) -> dict[int, str]:
    """Why backfills that run do not advance, as far as Temporal knows it; those that are worked on are left out.

    Args:
        settings: with Temporal's address.
        backfills: the source of each.
    """
    try:
        client = await temporal(settings)
        reasons = [
            await _why_it_waits(client, number, source)
            for number, source in backfills.items()
        ]
    except (FreshetError, RPCError) as error:
        reason = f"what its workflow does is not known: {public_text(error)}"
        return dict.fromkeys(backfills, reason)
    found = dict(zip(backfills, reasons, strict=True))
    return {number: reason for number, reason in found.items() if reason}


async def _why_it_waits(client: Client, number: int, source: str) -> str:
    handle = client.get_workflow_handle(backfill_workflow_id(number))
    does_not_run = (
        f"its workflow does not run; `freshet backfill resume {source}` starts it"
    )
    try:
        described = await handle.describe(rpc_timeout=_ANSWER)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return does_not_run
        raise
    if described.status is not WorkflowExecutionStatus.RUNNING:
        return does_not_run
    failure = await task_failure(client, described, _ANSWER)
    if failure:
        return failure
    for activity in described.raw_description.pending_activities:
        if is_untaken(activity):
            role = _ROLES.get(activity.activity_type.name, "worker")
            return f"no {role} has taken its next step"
        problem = problem_of(activity)
        if problem:
            return problem
    return ""

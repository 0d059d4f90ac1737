"""What the roles give to backfills: the logs of Kafka, the staging store, the entity."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from psycopg_pool import ConnectionPool
from temporalio.client import Client

from corpus.database import Connection
from corpus.staging.store import StagingStore
from ingest.audit.replay import log_reader
from ingest.backfill.activities import BackfillActivities, BackfillPartActivities
from ingest.backfill.steps import PART_RECORDS, PartStep, StageStep
from ingest.kafka import Cluster


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

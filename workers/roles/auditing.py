"""What the roles give to audits: the logs of Kafka, the model, the entity."""

import asyncio
from functools import cache, partial

from psycopg_pool import ConnectionPool
from temporalio.client import Client

from corpus.audit.activities import (
    AuditActivities,
    AuditEndActivities,
    AuditVectorActivities,
)
from corpus.audit.audit import AuditCursor
from corpus.audit.staged import StagedStep
from corpus.audit.vectors import EmbedderOf, VectorStep
from corpus.batch import BatchRef
from corpus.clean.cleaner import Cleaner
from corpus.database import Connection
from corpus.staging.store import StagingStore
from ingest.audit.replay import log_reader
from ingest.audit.steps import AuditSteps
from ingest.consume.compaction import compacted_only, deletes_reconciled
from ingest.consume.positions import partition_logs
from ingest.entity import running_state
from ingest.kafka import Cluster

# Between two looks for a file: a batch that ends in between has removed its own.
_SECOND_LOOK_SECONDS = 2.0


def steps(
    bootstrap: str,
    given: dict[str, str],
    pool: ConnectionPool[Connection],
    cleaner: Cleaner,
) -> AuditActivities:
    """The activities of the preparer. Kafka is asked when the first audit comes.

    Args:
        bootstrap: addresses of Kafka.
        given: the user's properties of clients.
        pool: of connections to PostgreSQL.
        cleaner: cleans documents in processes of its own.
    """

    @cache
    def cluster() -> Cluster:
        return Cluster(bootstrap, given)

    audit = AuditSteps(
        pool=pool,
        logs_of=lambda keys: partition_logs(cluster(), keys),
        compacted=lambda topics: compacted_only(cluster(), topics),
        open_reader=partial(log_reader, bootstrap, given),
        cleaner=cleaner,
    )
    return AuditActivities(audit.step)


def vectors(
    pool: ConnectionPool[Connection], embedder_of: EmbedderOf
) -> AuditVectorActivities:
    """The activity of the embedder."""
    return AuditVectorActivities(VectorStep(pool=pool, embedder_of=embedder_of).step)


def ends(
    client: Client, pool: ConnectionPool[Connection], staging: StagingStore
) -> AuditEndActivities:
    """The activities of the storer."""
    step = StagedStep(pool=pool, staging=staging, reconciled=deletes_reconciled)

    async def staged(cursor: AuditCursor) -> AuditCursor:
        missing = await missing_files(client, step, cursor.order.source)
        return await asyncio.to_thread(step.step, cursor, missing)

    return AuditEndActivities(staged=staged, finish=step.finish, fail=step.fail)


async def missing_files(client: Client, step: StagedStep, source: str) -> set[str]:
    """Files that the entity holds and the store lacks, at two looks.

    Raises:
        DependencyError: Temporal, the staging store or PostgreSQL does not answer.
    """
    held = await _held_by(client, source)
    missing = await asyncio.to_thread(step.look, source, held)
    if not missing:
        return missing
    await asyncio.sleep(_SECOND_LOOK_SECONDS)
    held = await _held_by(client, source)
    return missing & await asyncio.to_thread(step.look, source, held)


async def _held_by(client: Client, source: str) -> list[BatchRef]:
    state = await running_state(client, source)
    if state is None:
        return []
    return [*state.pending, *state.in_flight]

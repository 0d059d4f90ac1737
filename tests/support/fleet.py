"""All workers of Freshet in this process, on real Kafka, Temporal and PostgreSQL; the embedder needs no model."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool
from temporalio.client import Client
from temporalio.worker import Worker

from corpus import task_queues
from corpus.activities import EmbedActivities, PrepareActivities, PublishActivities
from corpus.clean.cleaner import Cleaner
from corpus.database import Connection, connect, open_pool
from corpus.embed.spaces import SpaceRegistry
from corpus.embed.step import EmbedStep
from corpus.prepare.preparer import Preparer
from corpus.publish.publisher import Publisher
from corpus.purge.activities import PurgeActivities
from corpus.purge.purger import Purger
from corpus.source import SourceSpec, source_workflow_id
from corpus.staging.store import StagingStore
from freshness.activities import RevalidationActivities
from freshness.revalidate import Revalidator
from ingest.consume.consumer import SourceConsumer
from ingest.consume.positions import Positions
from ingest.consume.services import StagingSpan, without_span
from ingest.decode.references import fetched_content
from ingest.decode.staged_content import content_of, read_row
from ingest.entity import running_state
from ingest.hand_over import hand_over
from ingest.kafka import Cluster, properties
from ingest.workflows import SourceWorkflow
from tests.support.fakes import HashEmbedder
from tests.support.polling import until
from workers import backfilling
from workers.roles import auditing
from workers.roles import orchestrator as deliveries
from workers.temporal import sandbox

BACKFILL_PART = 7  # records: several parts in a small log
_GROUPS = itertools.count(1)


@dataclass
class Fleet:
    """What a test drives."""

    client: Client
    database_url: str
    bootstrap: str
    connection: Connection
    embedder: HashEmbedder
    cluster: Cluster
    store: StagingStore
    consumer: SourceConsumer
    producer: Producer = field(init=False)

    def __post_init__(self) -> None:
        self.producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 0})

    def add_source(self, spec: SourceSpec) -> None:
        """As `freshet apply` does."""
        self.connection.execute(
            "INSERT INTO freshet.source (source, spec) VALUES (%s, %s)",
            (spec.source, Jsonb(spec.to_json())),
        )

    def produce(self, topic: str, events: Iterable[dict[str, Any] | bytes]) -> int:
        """Produce events, keyed by id; returns how many."""
        count = 0
        for event in events:
            key, value = _record(event)
            self.producer.produce(topic, value, key=key)
            count += 1
            self.producer.poll(0)
        assert self.producer.flush(30) == 0
        return count

    async def drained(self, *sources: str, timeout: float = 60) -> None:
        """Wait until the position row of every partition is at its end; of all sources if none is named."""
        last = ""

        def nothing_lags() -> bool:
            nonlocal last
            lags = {row.source: self._lag(row.source, row.spec) for row in self._sources(sources)}
            last = f"records that are not in the corpus: {lags}; {self._sources(sources)}"
            return not any(lags.values())

        try:
            await until(nothing_lags, seconds=timeout)
        except AssertionError as error:
            raise AssertionError(last) from error

    def _sources(self, names: Sequence[str]) -> Sequence[Any]:
        rows = self.rows("SELECT source, state, state_reason, spec FROM freshet.source")
        return [row for row in rows if not names or row.source in names]

    def _lag(self, source: str, spec: dict[str, Any]) -> int:
        topics = self.cluster.topics(SourceSpec.from_json(spec).topics)
        partitions: list[tuple[str, int]] = []
        for topic in topics.values():
            partitions += itertools.product([topic.topic], range(topic.partitions))
        rows = self.rows(
            "SELECT topic, partition, next_offset FROM freshet.source_position WHERE source = %s",
            source,
        )
        positions = {(row.topic, row.partition): row.next_offset for row in rows}
        lag = 0
        for partition, (start, end) in self.cluster.offsets(partitions).items():
            if end > start:
                lag += end - positions.get(partition, 0)
        return lag

    def rows(self, statement: str, *values: Any) -> Sequence[Any]:
        """The rows of a query, by column name."""
        with self.connection.cursor(row_factory=namedtuple_row) as cursor:
            return cursor.execute(statement, values).fetchall()

    def visible(self, source: str) -> dict[str, int]:
        """Document id -> version."""
        rows = self.rows(
            """SELECT document_id, version FROM freshet.document
               WHERE source = %s AND visible_to IS NULL""",
            source,
        )
        return {row.document_id: row.version for row in rows}

    def ranges(self, source: str) -> Sequence[Any]:
        """What the ledger says was published: partition, first_offset, next_offset, in the order of the log."""
        return self.rows(
            """SELECT partition, first_offset, next_offset FROM freshet.batch_range
               WHERE source = %s ORDER BY partition, first_offset""",
            source,
        )

    def epoch(self, source: str) -> int:
        """How often the source was rewound or resumed."""
        [row] = self.rows("SELECT epoch FROM freshet.source WHERE source = %s", source)
        return row.epoch

    def raise_epoch(self) -> None:
        """First half of `source resume`: consumers read again from the position rows."""
        self.connection.execute("UPDATE freshet.source SET epoch = epoch + 1")

    async def status(self, source: str) -> Any:
        """State of the source's entity."""
        handle = self.client.get_workflow_handle(source_workflow_id(source))
        return await handle.query(SourceWorkflow.status)


def check_that_ranges_meet(ranges: Sequence[Any]) -> None:
    """Every offset of every partition belongs to exactly one batch."""
    for _, of_partition in itertools.groupby(ranges, key=lambda row: row.partition):
        expected = 0
        for row in of_partition:
            assert row.first_offset == expected
            expected = row.next_offset


def _record(event: dict[str, Any] | bytes) -> tuple[bytes, bytes]:
    """Key and value of a Kafka record."""
    if isinstance(event, dict):
        return event["id"].encode(), json.dumps(event).encode()
    return b"raw", event


@asynccontextmanager
async def fleet(
    client: Client,
    database_url: str,
    bootstrap: str,
    folder: Path,
    staging_span: StagingSpan = without_span,
    *,
    with_orchestrator: bool = True,
) -> AsyncIterator[Fleet]:
    """Run the fleet: one worker per task queue, and a consumer."""
    store = StagingStore(folder.as_uri())
    embedder = HashEmbedder()
    cluster = Cluster(bootstrap, {})
    async with AsyncExitStack() as stack:
        pool = stack.enter_context(open_pool(database_url, size=12))
        connection = stack.enter_context(connect(database_url))
        cleaner = stack.enter_context(Cleaner(processes=1))
        steps = _steps(store, pool, cleaner, embedder, client, bootstrap)
        for queue, activities in steps.items():
            await stack.enter_async_context(_worker(client, queue, activities))
        if with_orchestrator:
            await stack.enter_async_context(orchestrator(client, pool, cluster=cluster))
        consumer = await stack.enter_async_context(
            consuming(client, database_url, bootstrap, store, cluster, staging_span)
        )
        yield Fleet(client, database_url, bootstrap, connection, embedder, cluster, store, consumer)


def orchestrator(
    client: Client,
    pool: ConnectionPool[Connection],
    workflows: Sequence[type] = deliveries.WORKFLOWS,
    cluster: Cluster | None = None,
    **options: Any,
) -> Worker:
    """The worker that runs the workflows."""
    return _worker(
        client,
        task_queues.WORKFLOWS,
        deliveries.activities(pool, cluster),
        workflows=workflows,
        **({"workflow_runner": sandbox.runner()} | options),
    )


def _worker(client: Client, queue: str, activities: Sequence[Any], **options: Any) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        activities=activities,
        activity_executor=ThreadPoolExecutor(4),
        max_concurrent_activities=4,
        **options,
    )


def _steps(
    store: StagingStore,
    pool: ConnectionPool[Connection],
    cleaner: Cleaner,
    embedder: HashEmbedder,
    client: Client,
    bootstrap: str,
) -> dict[str, Sequence[Any]]:
    """The activities of each task queue that runs a step of a batch, or of an audit."""
    preparer = Preparer(
        store=store,
        pool=pool,
        cleaner=cleaner,
        spaces=SpaceRegistry(),
        content_of=content_of,
        read_row=read_row,
        read_fetched=fetched_content,
    )
    origins = RevalidationActivities(Revalidator(pool).revalidate)
    step = EmbedStep(store=store, pool=pool, embedder_of=embedder.with_fingerprint, shard=64)
    publisher = Publisher(store=store, pool=pool)
    publishing = PublishActivities(
        publisher.publish, publisher.load_source, publisher.rewind_source
    )
    audit = auditing.steps(bootstrap, {}, pool, cleaner)
    ends = auditing.ends(client, pool, store)
    backfill = backfilling.stages(bootstrap, {}, pool, store, part=BACKFILL_PART)
    purger = Purger(pool)
    purge = PurgeActivities(step=purger.step, finish=purger.finish, fail=purger.fail)
    return {
        task_queues.PREPARE: [
            PrepareActivities(preparer.prepare).prepare,
            *(audit.step, backfill.stage, origins.revalidate),
        ],
        task_queues.EMBED: [
            EmbedActivities(step.embed, lambda: step.progress.silent_seconds).embed,
            auditing.vectors(pool, embedder.of).embed,
        ],
        task_queues.STORE: [
            *(publishing.publish, publishing.load_source, publishing.rewind_source),
            *(ends.staged_files, ends.finish, ends.fail),
            *(purge.step, purge.finish, purge.fail),
            *backfilling.part_activities(client, pool, store),
        ],
    }


@asynccontextmanager
async def consuming(
    client: Client,
    database_url: str,
    bootstrap: str,
    store: StagingStore,
    cluster: Cluster,
    staging_span: StagingSpan = without_span,
) -> AsyncIterator[SourceConsumer]:
    """A consumer of its own group."""
    with open_pool(database_url, size=3) as pool:
        kafka = properties(bootstrap, {}, group_id=f"e2e-{next(_GROUPS)}-{time.time_ns()}")
        consumer = SourceConsumer(
            kafka,
            Positions(pool, cluster),
            store,
            lambda ref, spec: hand_over(client, ref, spec),
            lambda source: running_state(client, source),
            staging_span,
        )
        stop = asyncio.Event()
        running = asyncio.create_task(consumer.run(stop))
        try:
            yield consumer
        finally:
            stop.set()
            await running

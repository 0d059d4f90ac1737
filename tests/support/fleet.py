"""All of Freshet's workers in this process, on real Kafka, Temporal and PostgreSQL, with the embedder that needs no model."""

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
from psycopg.types.json import Jsonb
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
from corpus.source import SourceSpec, source_workflow_id
from corpus.staging.store import StagingStore
from ingest.consume.consumer import SourceConsumer
from ingest.consume.positions import Positions
from ingest.decode.staged_content import content_of
from ingest.hand_over import hand_over
from ingest.kafka import Cluster, properties
from ingest.workflows import SourceWorkflow
from tests.support.fakes import HashEmbedder
from workers.roles import orchestrator as deliveries
from workers.temporal import sandbox

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
            key = event["id"].encode() if isinstance(event, dict) else b"raw"
            self.producer.produce(
                topic, json.dumps(event).encode() if isinstance(event, dict) else event, key=key
            )
            count += 1
            self.producer.poll(0)
        assert self.producer.flush(30) == 0
        return count

    async def drained(self, *sources: str, timeout: float = 60) -> None:
        """Wait until every position row stands at its partition's end."""
        end = time.monotonic() + timeout
        while True:
            lag = await asyncio.to_thread(self._lag, sources)
            if lag == 0:
                return
            state = self.connection.execute(
                "SELECT source, state, state_reason FROM freshet.source"
            ).fetchall()
            assert time.monotonic() < end, f"{lag} records are not in the corpus: {state}"
            await asyncio.sleep(0.1)

    def _lag(self, sources: Sequence[str]) -> int:
        rows = self.connection.execute("SELECT source, spec FROM freshet.source").fetchall()
        lag = 0
        for source, spec in rows:
            if sources and source not in sources:
                continue
            topics = self.cluster.topics(SourceSpec.from_json(spec).topics)
            places = [
                (state.topic, partition)
                for state in topics.values()
                for partition in range(state.partitions)
            ]
            positions = {
                (topic, partition): offset
                for topic, partition, offset in self.connection.execute(
                    "SELECT topic, partition, next_offset FROM freshet.source_position WHERE source = %s",
                    (source,),
                ).fetchall()
            }
            lag += sum(
                end - positions.get(place, 0)
                for place, (start, end) in self.cluster.offsets(places).items()
                if end > start
            )
        return lag

    def visible(self, source: str) -> dict[str, int]:
        """Document id -> version."""
        rows = self.connection.execute(
            "SELECT document_id, version FROM freshet.document WHERE source = %s AND visible_to IS NULL",
            (source,),
        ).fetchall()
        return dict(rows)

    async def status(self, source: str) -> Any:
        """State of the source's entity."""
        return await self.client.get_workflow_handle(source_workflow_id(source)).query(
            SourceWorkflow.status
        )


@asynccontextmanager
async def fleet(
    client: Client, database_url: str, bootstrap: str, folder: Path
) -> AsyncIterator[Fleet]:
    """Run the fleet."""
    store = StagingStore(folder.as_uri())
    embedder = HashEmbedder()
    cluster = Cluster(bootstrap, {})
    async with AsyncExitStack() as stack:
        pool = stack.enter_context(open_pool(database_url, size=12))
        connection = stack.enter_context(connect(database_url))
        cleaner = stack.enter_context(Cleaner(processes=1))
        preparer = Preparer(
            store=store, pool=pool, cleaner=cleaner, spaces=SpaceRegistry(), content_of=content_of
        )
        step = EmbedStep(store=store, pool=pool, embedder_of=embedder.with_fingerprint, shard=64)
        publisher = Publisher(store=store, pool=pool)
        publishing = PublishActivities(
            publisher.publish, publisher.load_source, publisher.rewind_source
        )
        for queue, activities in (
            (task_queues.PREPARE, [PrepareActivities(preparer.prepare).prepare]),
            (task_queues.EMBED, [EmbedActivities(step.embed).embed]),
            (
                task_queues.STORE,
                [publishing.publish, publishing.load_source, publishing.rewind_source],
            ),
        ):
            await stack.enter_async_context(
                Worker(
                    client,
                    task_queue=queue,
                    activities=activities,
                    activity_executor=ThreadPoolExecutor(4),
                    max_concurrent_activities=4,
                )
            )
        await stack.enter_async_context(
            Worker(
                client,
                task_queue=task_queues.WORKFLOWS,
                workflows=deliveries.WORKFLOWS,
                activities=deliveries.activities(pool),
                activity_executor=ThreadPoolExecutor(4),
                max_concurrent_activities=4,
                workflow_runner=sandbox.runner(),
            )
        )
        await stack.enter_async_context(consuming(client, database_url, bootstrap, store, cluster))
        yield Fleet(client, database_url, bootstrap, connection, embedder, cluster, store)


@asynccontextmanager
async def consuming(
    client: Client, database_url: str, bootstrap: str, store: StagingStore, cluster: Cluster
) -> AsyncIterator[None]:
    """A consumer of its own group."""
    with open_pool(database_url, size=3) as pool:
        kafka = properties(bootstrap, {}, group_id=f"e2e-{next(_GROUPS)}-{time.time_ns()}")
        consumer = SourceConsumer(
            kafka, Positions(pool, cluster), store, lambda ref, spec: hand_over(client, ref, spec)
        )
        stop = asyncio.Event()
        running = asyncio.create_task(consumer.run(stop))
        try:
            yield
        finally:
            stop.set()
            await running

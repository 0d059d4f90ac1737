"""What the consumer's tests share: a consumer that runs, what it handed over, rows, records."""

import asyncio
import contextlib
import ctypes
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from psycopg_pool import ConnectionPool

from corpus.batch import BatchRef
from corpus.database import open_pool
from corpus.errors import DependencyError
from corpus.source import BatchLimits, SourceSpec
from corpus.staging.store import StagingStore
from ingest.consume.consumer import SourceConsumer
from ingest.consume.positions import Positions
from ingest.kafka import Cluster, properties
from ingest.source_state import SourceState

INSERT_SOURCE = "INSERT INTO freshet.source (source, spec) VALUES (%s, %s)"
UPSERT_POSITION = """
    INSERT INTO freshet.source_position (source, cluster_id, topic, topic_id, partition, next_offset)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (source, topic, partition) DO UPDATE SET next_offset = excluded.next_offset"""


@dataclass
class Ledger:
    """Takes references as the workflow would; can be down; can publish (move position rows)."""

    pool: ConnectionPool[Any]
    refs: list[BatchRef] = field(default_factory=list)
    lost: list[BatchRef] = field(default_factory=list)
    down: bool = False
    publishes: bool = True
    attempts: int = 0

    async def state_of(self, source: str) -> SourceState | None:
        """It holds what it took, unless it has lost it."""
        held = [ref for ref in self.refs if ref.source == source and ref not in self.lost]
        return SourceState(source=source, pending=held)

    async def hand_over(self, ref: BatchRef, spec: SourceSpec) -> None:
        self.attempts += 1
        if self.down:
            raise DependencyError("Temporal is down")
        self.refs.append(ref)
        if self.publishes:
            await asyncio.to_thread(self.publish, ref)

    def publish(self, ref: BatchRef) -> None:
        with self.pool.connection() as connection:
            connection.execute(
                UPSERT_POSITION,
                (
                    ref.source,
                    ref.cluster_id,
                    ref.topic,
                    ref.topic_id,
                    ref.partition,
                    ref.next_offset,
                ),
            )

    def records(self, source: str | None = None) -> int:
        """Records in distinct ranges."""
        return sum(end - start for ranges in self.ranges(source).values() for start, end in ranges)

    def ranges(
        self, source: str | None = None
    ) -> dict[tuple[str, str, int], list[tuple[int, int]]]:
        """What each partition's references cover, joined; one range a partition means no hole."""
        found: dict[tuple[str, str, int], list[tuple[int, int]]] = {}
        for ref in sorted(
            self.refs, key=lambda ref: (ref.source, ref.topic, ref.partition, ref.first_offset)
        ):
            if source is not None and ref.source != source:
                continue
            joined = found.setdefault((ref.source, ref.topic, ref.partition), [])
            if joined and ref.first_offset <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], ref.next_offset))
            else:
                joined.append((ref.first_offset, ref.next_offset))
        return found


@dataclass
class Bench:
    """One database, one broker, a group of its own."""

    url: str
    bootstrap: str
    pool: ConnectionPool[Any]
    staging: Path
    group: str
    ledger: Ledger

    def add_source(self, name: str, *topics: str, **limits: Any) -> SourceSpec:
        spec = SourceSpec(source=name, topics=topics, limits=BatchLimits(**limits))
        self.execute(INSERT_SOURCE, name, json.dumps(spec.to_json()))
        return spec

    def execute(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        with self.pool.connection() as connection:
            cursor = connection.execute(statement, arguments)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def state(self, source: str) -> tuple[str, str | None]:
        ((state, reason),) = self.execute(
            "SELECT state, state_reason FROM freshet.source WHERE source = %s", source
        )
        return state, reason

    def produce(self, topic: str, count: int, *, first: int = 0, size: int = 50) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for number in range(first, first + count):
            value = json.dumps(
                {"id": f"{topic}-{number}", "version": number, "content": "x" * size}
            )
            producer.produce(topic, key=f"{topic}-{number}", value=value)
            producer.poll(0)
        assert producer.flush(30) == 0

    def produce_with_unreadable_header(self, topic: str) -> None:
        """Produce a record with a header whose name is not UTF-8.

        The Python client cannot write one; the C library under it can.
        """
        library = ctypes.CDLL(
            str(
                next(
                    Path(confluent_kafka.__file__)
                    .parents[1]
                    .glob("confluent_kafka.libs/librdkafka*")
                )
            )
        )
        pointer, number, error = ctypes.c_void_p, ctypes.c_int, ctypes.create_string_buffer(500)
        library.rd_kafka_conf_new.restype = library.rd_kafka_new.restype = (
            library.rd_kafka_headers_new.restype
        ) = pointer
        configuration = pointer(library.rd_kafka_conf_new())
        assert (
            library.rd_kafka_conf_set(
                configuration,
                b"bootstrap.servers",
                self.bootstrap.encode(),
                error,
                ctypes.c_size_t(500),
            )
            == 0
        )
        producer = pointer(library.rd_kafka_new(0, configuration, error, ctypes.c_size_t(500)))
        headers = pointer(library.rd_kafka_headers_new(ctypes.c_size_t(1)))
        assert (
            library.rd_kafka_header_add(
                headers, b"n\xe4me", ctypes.c_ssize_t(4), b"x", ctypes.c_ssize_t(1)
            )
            == 0
        )
        # Tags of `rd_kafka_vtype_t`: topic, partition, value, key, message flags (copy), headers, end.
        given: list[Any] = [
            number(1),
            ctypes.c_char_p(topic.encode()),
            number(3),
            ctypes.c_int32(0),
        ]
        given += [
            number(4),
            ctypes.c_char_p(b"{}"),
            ctypes.c_size_t(2),
            number(5),
            ctypes.c_char_p(b"k"),
            ctypes.c_size_t(1),
        ]
        assert (
            library.rd_kafka_producev(
                producer, *given, number(7), number(2), number(10), headers, number(0)
            )
            == 0
        )
        assert library.rd_kafka_flush(producer, 20_000) == 0
        library.rd_kafka_destroy(producer)

    def committed(self, topic: str, partition: int = 0) -> int:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group})
        try:
            return consumer.committed([TopicPartition(topic, partition)], timeout=10)[0].offset
        finally:
            consumer.close()

    def cluster(self) -> Cluster:
        return Cluster(self.bootstrap, {})

    @contextlib.asynccontextmanager
    async def consumer(self, hand_over: Any = None) -> AsyncIterator[SourceConsumer]:
        """A consumer that runs until the block ends, and then stops gracefully."""
        kafka = properties(self.bootstrap, {}, **{"group.id": self.group})
        consumer = SourceConsumer(
            kafka,
            Positions(self.pool, self.cluster()),
            StagingStore(self.staging.as_uri()),
            hand_over or self.ledger.hand_over,
            self.ledger.state_of,
        )
        stop = asyncio.Event()
        running = asyncio.create_task(consumer.run(stop))
        try:
            yield consumer
        finally:
            stop.set()
            await asyncio.wait_for(running, 30)


@contextlib.contextmanager
def bench(url: str, bootstrap: str, staging: Path, group: str) -> Any:
    """Open and close what a test needs."""
    with open_pool(url, size=4, application="test") as pool:
        yield Bench(
            url=url,
            bootstrap=bootstrap,
            pool=pool,
            staging=staging,
            group=group,
            ledger=Ledger(pool),
        )

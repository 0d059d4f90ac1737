"""What the consumer asks PostgreSQL and Kafka: which sources are active, and from where each of them reads."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg.rows import class_row, dict_row
from psycopg_pool import ConnectionPool

from corpus.database import Connection, database_errors_translated
from corpus.source import SourceSpec
from corpus.sql import query
from ingest.consume.partition_state import PartitionLog, Position
from ingest.kafka import Cluster, PartitionKey, TopicState

_CONNECTION_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveSource:
    """A source that is to be consumed."""

    spec: SourceSpec
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionStart:
    """What decides from where the sources of one partition read it."""

    log: PartitionLog
    positions: dict[str, Position] = field(
        default_factory=dict[str, Position]
    )  # by source


# The sources, by name, whose positions in a partition are wanted.
WantedPositions = Mapping[PartitionKey, Mapping[str, ActiveSource]]
# A partition is missing where Kafka does not know its topic.
PartitionStarts = Mapping[PartitionKey, PartitionStart]


def positions_of(connection: Connection, sources: Collection[str]) -> list[Position]:
    """Every position row of these sources."""
    cursor = connection.cursor(row_factory=class_row(Position))
    return cursor.execute(
        query("positions_of_sources"), {"sources": list(sources)}
    ).fetchall()


def partition_logs(
    cluster: Cluster, keys: Iterable[tuple[str, int]]
) -> dict[PartitionKey, PartitionLog]:
    """The logs of those of these partitions that exist.

    Raises:
        DependencyError: Kafka does not answer.
    """
    keys = [PartitionKey(*key) for key in keys]
    topics = cluster.topics(key.topic for key in keys)
    existing = [key for key in keys if _exists(key, topics)]
    logs: dict[PartitionKey, PartitionLog] = {}
    for key, bounds in cluster.offsets(existing).items():
        logs[key] = PartitionLog(
            cluster_id=cluster.cluster_id(),
            topic=key.topic,
            topic_id=topics[key.topic].topic_id,
            partition=key.partition,
            first_offset=bounds.first_offset,
            next_offset=bounds.next_offset,
        )
    return logs


def _exists(key: PartitionKey, topics: Mapping[str, TopicState]) -> bool:
    topic = topics.get(key.topic)
    return topic is not None and key.partition < topic.partitions


class Positions:
    """Asks PostgreSQL and Kafka; every method blocks, and raises DependencyError when its service does not answer."""

    def __init__(self, pool: ConnectionPool[Any], cluster: Cluster) -> None:
        self._pool = pool
        self._cluster = cluster

    def active_sources(self) -> list[ActiveSource]:
        """Every source in state active."""
        with (
            database_errors_translated(),
            self._pool.connection(_CONNECTION_SECONDS) as connection,
        ):
            cursor = connection.cursor(row_factory=dict_row)
            rows = cursor.execute(query("sources_active")).fetchall()
        active: list[ActiveSource] = []
        for row in rows:
            spec = SourceSpec.from_json(row["spec"])
            active.append(ActiveSource(spec=spec, epoch=row["epoch"]))
        return active

    def of_sources(self, sources: Collection[str]) -> list[Position]:
        """Every position row of these sources."""
        with (
            database_errors_translated(),
            self._pool.connection(_CONNECTION_SECONDS) as connection,
        ):
            return positions_of(connection, sources)

    def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """Kafka's id of each of these topics that exists."""
        return {
            name: state.topic_id for name, state in self._cluster.topics(topics).items()
        }

    def read(self, wanted: WantedPositions) -> dict[PartitionKey, PartitionStart]:
        """The logs of these partitions as they are now, and the positions of these sources in them.

        A source that has never read a partition gets a position at its oldest record, written before any record is
        read: from then on the row decides.
        """
        # The positions are read before the logs: a position that moves meanwhile only makes us read something twice.
        sources = sorted(
            {source for of_partition in wanted.values() for source in of_partition}
        )
        positions = self.of_sources(sources)
        logs = partition_logs(self._cluster, wanted)
        starts = _starts(logs, positions)
        new = [
            _first_position(source, start.log)
            for key, start in starts.items()
            for source in wanted[key].keys() - start.positions.keys()
        ]
        if new:
            self._begin(new)
            starts = _starts(logs, self.of_sources(sources))
        return starts

    def _begin(self, positions: Sequence[dict[str, Any]]) -> None:
        with (
            database_errors_translated(),
            self._pool.connection(_CONNECTION_SECONDS) as connection,
            connection.transaction(),
        ):
            for position in positions:
                connection.execute(query("begin_position"), position)

    def halt(self, source: str, epoch: int, reason: str) -> bool:
        """Stop a source; False if it was stopped or its positions were moved meanwhile."""
        arguments = {"source": source, "epoch": epoch, "reason": reason}
        with (
            database_errors_translated(),
            self._pool.connection(_CONNECTION_SECONDS) as connection,
        ):
            return connection.execute(query("halt_source"), arguments).rowcount == 1

    def forget_cluster_id(self) -> None:
        """The address may lead to another cluster now: ask for its id again."""
        self._cluster.forget_cluster_id()


def _starts(
    logs: Mapping[PartitionKey, PartitionLog], positions: Iterable[Position]
) -> dict[PartitionKey, PartitionStart]:
    starts = {key: PartitionStart(log=log) for key, log in logs.items()}
    for position in positions:
        start = starts.get(position.key)
        if start is not None:
            start.positions[position.source] = position
    return starts


def _first_position(source: str, log: PartitionLog) -> dict[str, Any]:
    return {
        "source": source,
        "topic": log.topic,
        "partition": log.partition,
        "cluster_id": log.cluster_id,
        "topic_id": log.topic_id,
        "next_offset": log.first_offset,
    }

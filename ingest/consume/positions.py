"""What the consumer asks PostgreSQL and the cluster: which sources there are, and where each of them stands."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg_pool import ConnectionPool

from corpus.database import database_errors_translated
from corpus.source import SourceSpec
from corpus.sql import query
from ingest.consume.partition_state import PartitionLog, Position
from ingest.kafka import Cluster

Place = tuple[str, int]  # topic, partition


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveSource:
    """A source that is to be consumed."""

    spec: SourceSpec
    epoch: int  # rises when its position is moved by anything but progress


class Positions:
    """Blocking questions; every one raises DependencyError when its service does not answer."""

    def __init__(self, pool: ConnectionPool[Any], cluster: Cluster) -> None:
        self._pool = pool
        self._cluster = cluster

    def active_sources(self) -> list[ActiveSource]:
        """Every source in state active."""
        return [
            ActiveSource(spec=SourceSpec.from_json(spec), epoch=epoch)
            for _, spec, _, epoch in self._rows("sources_active", {})
        ]

    def positions(self, sources: Sequence[str]) -> dict[tuple[str, str, int], Position]:
        """(source, topic, partition) -> position row."""
        rows = self._rows("positions_of_sources", {"sources": list(sources)})
        return {
            (source, topic, partition): Position(cluster, topic_id, offset)
            for source, topic, partition, cluster, topic_id, offset in rows
        }

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        """Kafka's id of every topic that exists."""
        return {name: state.topic_id for name, state in self._cluster.topics(topics).items()}

    def place(
        self, asked: dict[Place, dict[str, ActiveSource]]
    ) -> tuple[dict[Place, PartitionLog], dict[tuple[str, str, int], Position]]:
        """Logs of these partitions as they are now, and the position rows of these sources."""
        # Position rows first: a row that moves on meanwhile only makes us read something twice.
        rows = self.positions(sorted({name for sources in asked.values() for name in sources}))
        states = self._cluster.topics(topic for topic, _ in asked)
        offsets = self._cluster.offsets(self._existing(asked, states.keys()))
        logs = {
            (topic, partition): PartitionLog(
                cluster_id=self._cluster.cluster_id(),
                topic=topic,
                topic_id=states[topic].topic_id,
                partition=partition,
                first_offset=first,
                next_offset=last,
            )
            for (topic, partition), (first, last) in offsets.items()
        }
        missing = [
            {
                "source": name,
                "topic": topic,
                "partition": partition,
                "cluster_id": log.cluster_id,
                "topic_id": log.topic_id,
                "next_offset": log.first_offset,
            }
            for (topic, partition), log in logs.items()
            for name in asked[topic, partition]
            if (name, topic, partition) not in rows
        ]
        if missing:
            self._begin(missing)
            rows = self.positions(sorted({name for sources in asked.values() for name in sources}))
        return logs, rows

    def _begin(self, positions: Sequence[dict[str, Any]]) -> None:
        """Write the position of partitions that were never read, before anything of them is: from then on the row decides."""
        with (
            database_errors_translated(),
            self._pool.connection(timeout=5) as connection,
            connection.transaction(),
        ):
            for position in positions:
                connection.execute(query("begin_position"), position)

    def _existing(self, places: Collection[Place], topics: Collection[str]) -> list[Place]:
        return [place for place in places if place[0] in topics]

    def halt(self, source: str, epoch: int, reason: str) -> bool:
        """Stop a source; False where it was stopped or moved meanwhile."""
        with database_errors_translated(), self._pool.connection(timeout=5) as connection:
            return (
                connection.execute(
                    query("halt_source"), {"source": source, "epoch": epoch, "reason": reason}
                ).rowcount
                == 1
            )

    def forget(self) -> None:
        """The cluster may be another one: ask for its id again."""
        self._cluster.forget_cluster_id()

    def _rows(self, name: str, arguments: dict[str, Any]) -> list[tuple[Any, ...]]:
        with database_errors_translated(), self._pool.connection(timeout=5) as connection:
            return connection.execute(query(name), arguments).fetchall()

"""What an operator may do to a source: pause, resume, accept a gap."""

import logging
from dataclasses import dataclass

from corpus.database import Connection
from corpus.errors import ConfigurationError, DependencyError
from corpus.source import SourceSpec
from corpus.sql import query
from ingest.consume.partition_state import Gap, PartitionLog, Position, start_offset
from ingest.kafka import Cluster

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedGap:
    """A gap that was accepted."""

    topic: str
    partition: int
    was: int
    is_now: int
    reason: str


def pause(connection: Connection, source: str, reason: str) -> None:
    """Let the consumer go of a source.

    Raises:
        ConfigurationError: there is no such source, or it is halted or retired.
    """
    if (
        connection.execute(query("pause_source"), {"source": source, "reason": reason}).rowcount
        == 0
    ):
        raise _not_in_state(connection, source, "paused")


def resume(connection: Connection, source: str) -> None:
    """Go on from the position rows.

    Raises:
        ConfigurationError: there is no such source, or it is retired.
    """
    if connection.execute(query("resume_source"), {"source": source}).rowcount == 0:
        raise _not_in_state(connection, source, "resumed")


def _not_in_state(connection: Connection, source: str, wanted: str) -> ConfigurationError:
    for name, _, _, state, reason in connection.execute(query("sources_configured")).fetchall():
        if name == source:
            why = f" ({reason})" if reason else ""
            return ConfigurationError(f"source {source!r} cannot be {wanted}: it is {state}{why}")
    return ConfigurationError(
        f"there is no source {source!r}; `freshet sources` shows those there are"
    )


def skip_gaps(connection: Connection, cluster: Cluster, source: str) -> list[SkippedGap]:
    """Move position rows that stand in a gap to where the log can be read.

    A recreated topic and a log that was cut start from their oldest record; records removed by retention are jumped. What was
    lost stays visible in the ledger: no batch covers those offsets.

    Raises:
        ConfigurationError: there is no such source.
        DependencyError: Kafka does not answer, or the position moved meanwhile.
    """
    spec = _spec(connection, source)
    rows = {
        (topic, partition): Position(cluster_id, topic_id, offset)
        for _, topic, partition, cluster_id, topic_id, offset in connection.execute(
            query("positions_of_sources"), {"sources": [source]}
        ).fetchall()
    }
    states = cluster.topics(spec.topics)
    offsets = cluster.offsets(
        [place for place in rows if place[0] in states and place[1] < states[place[0]].partitions]
    )
    skipped: list[SkippedGap] = []
    with connection.transaction():
        for (topic, partition), (first, end) in offsets.items():
            row = rows[(topic, partition)]
            at = PartitionLog(
                cluster_id=cluster.cluster_id(),
                topic=topic,
                topic_id=states[topic].topic_id,
                partition=partition,
                first_offset=first,
                next_offset=end,
            )
            gap = start_offset(row, at, source)
            if isinstance(gap, Gap):
                skipped.append(_move(connection, source, row, at, gap))
    return skipped


def _move(
    connection: Connection, source: str, row: Position, at: PartitionLog, gap: Gap
) -> SkippedGap:
    arguments = {
        "source": source,
        "topic": at.topic,
        "partition": at.partition,
        "cluster_id": at.cluster_id,
        "topic_id": at.topic_id,
        "next_offset": at.first_offset,
        "was": row.next_offset,
        "was_topic_id": row.topic_id,
    }
    if connection.execute(query("skip_gap"), arguments).rowcount == 0:
        raise DependencyError(
            f"the position of {source} in {at.topic}/{at.partition} moved meanwhile; try again"
        )
    log.warning("gap accepted: %s", gap.reason, extra={"action": "skip_gap", "source": source})
    return SkippedGap(
        topic=at.topic,
        partition=at.partition,
        was=row.next_offset,
        is_now=at.first_offset,
        reason=gap.reason,
    )


def _spec(connection: Connection, source: str) -> SourceSpec:
    for name, spec, *_ in connection.execute(query("sources_configured")).fetchall():
        if name == source:
            return SourceSpec.from_json(spec)
    raise ConfigurationError(
        f"there is no source {source!r}; `freshet sources` shows those there are"
    )

"""What an operator can do with a source: pause it, resume it, accept a gap."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row

from corpus.access.withholding import show_all_again
from corpus.database import Connection
from corpus.errors import ConfigurationError, DependencyError
from corpus.source import SourceSpec, read_spec
from corpus.sql import query
from ingest.consume.partition_state import Gap, PartitionLog, Position
from ingest.consume.positions import gaps, partition_logs, positions_read
from ingest.kafka import Cluster, PartitionKey

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedGap:
    """A gap that was accepted."""

    topic: str
    partition: int
    was: int  # offset of the position before
    is_now: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredSource:
    """A row of the query `sources_named`."""

    source: str
    spec: dict[str, Any]
    revision: int
    state: str
    state_reason: str | None

    def readable(self) -> SourceSpec:
        """Its specification.

        Raises:
            UnreadableSpecError: it cannot be read.
        """
        return read_spec(self.source, self.spec)


def pause(connection: Connection, source: str, reason: str) -> None:
    """Have the consumer read no more for a source; what was handed over is still published.

    Raises:
        ConfigurationError: there is no such source, or it is halted or retired.
    """
    arguments = {"source": source, "reason": reason}
    if connection.execute(query("pause_source"), arguments).rowcount == 0:
        raise wrong_state(configured_source(connection, source), "paused")


def resume(connection: Connection, source: str) -> None:
    """Have the consumer continue from the position rows.

    Raises:
        ConfigurationError: there is no such source, or it is retired.
    """
    if connection.execute(query("resume_source"), {"source": source}).rowcount == 0:
        raise wrong_state(configured_source(connection, source), "resumed")


def configured_source(connection: Connection, source: str) -> ConfiguredSource:
    """The row of a source.

    Raises:
        ConfigurationError: there is no such source.
    """
    cursor = connection.cursor(row_factory=class_row(ConfiguredSource))
    named = {"sources": [source]}
    configured = cursor.execute(query("sources_named"), named).fetchone()
    if configured is not None:
        return configured
    raise ConfigurationError(
        f"there is no source {source!r}; `freshet sources` lists them"
    )


def wrong_state(configured: ConfiguredSource, wanted: str) -> ConfigurationError:
    """The error for a source whose state rules out what is wanted ("paused", "resumed")."""
    why = ""
    if configured.state_reason:
        why = f" ({configured.state_reason})"
    return ConfigurationError(
        f"source {configured.source!r} cannot be {wanted}: it is {configured.state}{why}"
    )


def skip_gaps(
    connection: Connection, cluster: Cluster, source: str
) -> list[SkippedGap]:
    """Move the positions that are in a gap to where the log can be read.

    A topic that was recreated and a log that was truncated are read from their oldest record; records that retention
    removed are skipped. What was lost stays visible in the ledger: no batch covers those offsets.

    Raises:
        ConfigurationError: there is no such source.
        DependencyError: Kafka does not answer, or a position moved meanwhile.
    """
    configured = configured_source(connection, source)
    spec = SourceSpec.from_json(configured.spec)
    positions = positions_read(connection, spec)
    keys = [position.key for position in positions]
    logs = partition_logs(cluster, keys)
    with connection.transaction():
        skipped = _skip(connection, positions, logs)
    show_all_again(connection, source)
    return skipped


def position_to_skip(
    connection: Connection, source: str, key: PartitionKey, offset: int
) -> Position:
    """The position behind which a source is to pass records.

    Raises:
        ConfigurationError: there is no such source, it does not read the partition, or it has passed the offset.
    """
    spec = configured_source(connection, source).readable()
    for position in positions_read(connection, spec):
        if position.key == key:
            break
    else:
        raise ConfigurationError(
            f"source {source!r} has no position in {key}; `freshet source show {source}` names its topics"
        )
    if offset < position.next_offset:
        raise ConfigurationError(
            f"source {source!r} has passed {key}/{offset}: its position is {position.next_offset}"
        )
    return position


def skip_records(
    connection: Connection,
    position: Position,
    first_offset: int,
    next_offset: int,
    reason: str,
) -> None:
    """Have a source pass some records, and resume it: the consumer makes dead letters of them when it reaches them.

    Raises:
        ConfigurationError: the source is retired.
    """
    arguments = {
        "source": position.source,
        "topic": position.topic,
        "topic_id": position.topic_id,
        "partition": position.partition,
        "first_offset": first_offset,
        "next_offset": next_offset,
        "reason": reason,
    }
    with connection.transaction():
        connection.execute(query("skip_records"), arguments)
        resume(connection, position.source)
    logger.warning("records are passed", extra={"action": "skip_records", **arguments})


def _skip(
    connection: Connection,
    positions: Sequence[Position],
    logs: dict[PartitionKey, PartitionLog],
) -> list[SkippedGap]:
    skipped: list[SkippedGap] = []
    for position, gap in gaps(positions, logs):
        log = logs[position.key]
        _move(connection, position, log)
        logger.warning(
            "gap accepted: %s",
            gap.reason,
            extra={"action": "skip_gap", "source": position.source},
        )
        skipped.append(_skipped(position, log, gap))
    return skipped


def _move(connection: Connection, position: Position, log: PartitionLog) -> None:
    arguments = {
        "source": position.source,
        "topic": log.topic,
        "partition": log.partition,
        "cluster_id": log.cluster_id,
        "topic_id": log.topic_id,
        "next_offset": log.first_offset,
        "was": position.next_offset,
        "was_topic_id": position.topic_id,
    }
    if connection.execute(query("skip_gap"), arguments).rowcount == 0:
        raise DependencyError(
            f"the position of {position.source} in {position.key} moved meanwhile; try again"
        )


def _skipped(position: Position, log: PartitionLog, gap: Gap) -> SkippedGap:
    return SkippedGap(
        topic=log.topic,
        partition=log.partition,
        was=position.next_offset,
        is_now=log.first_offset,
        reason=gap.reason,
    )

"""Prepare the documents of a source again, by reading their records once more; only when an operator asks for it.

The plan says what that costs, and is what is executed: the position rows go back to the oldest record of a document
that was prepared otherwise, in a new epoch, and everything after goes its usual way. Text that stays the same is not
embedded again.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from corpus.database import Connection, fetch_all
from corpus.errors import ConfigurationError
from corpus.preparation import MAIL, PreparationSpec
from corpus.source import SourceStatus
from corpus.sql import query
from ingest.consume.partition_state import PartitionLog, Position
from ingest.consume.positions import gaps, partition_logs, positions_read
from ingest.kafka import Cluster
from ingest.operate import configured_source, wrong_state

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAgain:
    """A partition that is read again."""

    topic: str
    partition: int
    topic_id: str
    first_offset: int  # from here
    next_offset: int  # where the position is now

    @property
    def records(self) -> int:
        """At most so many records are read again; less where Kafka has removed some."""
        return self.next_offset - self.first_offset


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparePlan:
    """What preparing a source again means; the counts are of visible documents."""

    source: str
    preparation: (
        str  # `PreparationSpec.newest_fingerprint`: the preparation as it is now
    )
    documents: int = 0  # prepared otherwise
    of_older_version: int = 0  # of them, by an earlier version with the same settings
    chunks: int = 0  # of the documents that can be prepared again
    gone: int = 0  # documents whose record Kafka has no more; they stay as they are
    example_gone: str | None = None  # id of one of them
    partitions: tuple[ReadAgain, ...] = ()

    @property
    def records(self) -> int:
        """Records that are read again."""
        return sum(partition.records for partition in self.partitions)

    @property
    def reachable(self) -> int:
        """Documents that can be prepared again."""
        return self.documents - self.gone

    def lines(self) -> list[str]:
        """The plan for a person."""
        if not self.documents:
            return ["every document is prepared as it would be now"]
        other = self.documents - self.of_older_version
        lines = [
            f"{self.documents:,} documents were prepared otherwise: {self.of_older_version:,} by an older version, "
            f"{other:,} with other settings",
        ]
        if self.gone:
            lines.append(
                f"{self.gone:,} of them stay as they are: Kafka no longer has their records, for example that of "
                f"{self.example_gone!r}; send them again"
            )
        if self.partitions:
            lines.append(
                f"{self.records:,} records are read again; newer ones of the source wait for them"
            )
            lines.append(
                f"{self.reachable:,} documents with {self.chunks:,} chunks are prepared again; about as many texts are "
                "embedded at most, and none that stays the same"
            )
        elif self.reachable:
            lines.append(
                f"the records of {self.reachable:,} documents are read again already; `freshet sources` has the lag"
            )
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedOtherwise:
    """A row of the query `documents_prepared_otherwise`."""

    topic: str | None
    partition: int | None
    is_older_version: bool
    is_in_log: bool
    documents: int
    chunks: int
    first_offset: int | None
    example: str


def plan(connection: Connection, cluster: Cluster, source: str) -> PreparePlan:
    """What preparing a source again means; nothing is changed.

    Raises:
        ConfigurationError: there is no such source, it is retired, or its position is in a gap.
        UnreadableSpecError: its specification cannot be read.
        DependencyError: Kafka does not answer.
    """
    configured = configured_source(connection, source)
    if configured.state == SourceStatus.RETIRED:
        raise wrong_state(configured, "prepared again")
    spec = configured.readable()
    positions = positions_read(connection, spec)
    keys = [position.key for position in positions]
    logs = partition_logs(cluster, keys)
    for _, gap in gaps(positions, logs):
        raise ConfigurationError(gap.reason)
    otherwise = _prepared_otherwise(connection, source, spec.pipeline, logs.values())
    return make_plan(source, spec.pipeline.newest_fingerprint(), otherwise, positions)


def fingerprints_now(preparation: PreparationSpec) -> dict[str, str]:
    """Parameters of queries for documents that were prepared otherwise: how they would be now."""
    return {
        "preparation": preparation.fingerprint_of(None),
        "of_mails": preparation.fingerprint_of(MAIL),
    }


def _prepared_otherwise(
    connection: Connection,
    source: str,
    preparation: PreparationSpec,
    logs: Iterable[PartitionLog],
) -> list[PreparedOtherwise]:
    logs = list(logs)
    values = {
        "source": source,
        **fingerprints_now(preparation),
        "older": sorted(preparation.older_fingerprints() | {preparation.fingerprint()}),
        "topics": [log.topic for log in logs],
        "partitions": [log.partition for log in logs],
        "topic_ids": [log.topic_id for log in logs],
        "first_offsets": [log.first_offset for log in logs],
    }
    factory = class_row(PreparedOtherwise)
    return fetch_all(connection, factory, "documents_prepared_otherwise", values)


def make_plan(
    source: str,
    preparation: str,
    otherwise: Sequence[PreparedOtherwise],
    positions: Iterable[Position],
) -> PreparePlan:
    """The plan for what the corpus and Kafka have.

    Args:
        source: its name.
        preparation: names the preparation as it is now.
        otherwise: documents that were prepared otherwise.
        positions: of the source.
    """
    older = [row for row in otherwise if row.is_older_version]
    gone = [row for row in otherwise if not row.is_in_log]
    reachable = [row for row in otherwise if row.is_in_log]
    examples = [row.example for row in gone]
    partitions = [_read_again(position, reachable) for position in positions]
    return PreparePlan(
        source=source,
        preparation=preparation,
        documents=_documents(otherwise),
        of_older_version=_documents(older),
        chunks=sum(row.chunks for row in reachable),
        gone=_documents(gone),
        example_gone=min(examples, default=None),
        partitions=tuple(filter(None, partitions)),
    )


def _documents(rows: Iterable[PreparedOtherwise]) -> int:
    return sum(row.documents for row in rows)


def _read_again(
    position: Position, reachable: Iterable[PreparedOtherwise]
) -> ReadAgain | None:
    offsets = [
        row.first_offset
        for row in reachable
        if (row.topic, row.partition) == position.key and row.first_offset is not None
    ]
    first_offset = min(offsets, default=position.next_offset)
    if first_offset >= position.next_offset:
        return None  # it is being read again already
    return ReadAgain(
        topic=position.topic,
        partition=position.partition,
        topic_id=position.topic_id,
        first_offset=first_offset,
        next_offset=position.next_offset,
    )


def carry_out(connection: Connection, planned: PreparePlan) -> None:
    """Move the positions back, in a new epoch, and remember what was asked for.

    A batch that is being published is waited for, since it holds the source's row.

    Raises:
        ConfigurationError: the source was retired meanwhile.
    """
    values = {"source": planned.source, "preparation": planned.preparation}
    with connection.transaction():
        if connection.execute(query("ask_to_prepare_again"), values).rowcount == 0:
            configured = configured_source(connection, planned.source)
            raise wrong_state(configured, "prepared again")
        for partition in planned.partitions:
            move = {
                "source": planned.source,
                "topic": partition.topic,
                "partition": partition.partition,
                "topic_id": partition.topic_id,
                "first_offset": partition.first_offset,
            }
            connection.execute(query("move_position_back"), move)
    logger.warning(
        "source is prepared again",
        extra={
            "action": "prepare_again",
            "source": planned.source,
            "documents": planned.reachable,
            "records": planned.records,
        },
    )

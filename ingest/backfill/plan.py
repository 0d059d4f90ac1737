"""What a backfill would read: the plan that is shown, and that is carried out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from psycopg.rows import class_row, scalar_row

from corpus.audit.audit import AuditedPartition
from corpus.database import Connection, fetch_all, fetch_one
from corpus.errors import ConfigurationError
from corpus.source import SourceStatus
from corpus.sql import query
from ingest.backfill.order import BackfillStatus
from ingest.consume.partition_state import PartitionLog, Position
from ingest.consume.positions import gaps, partition_logs, positions_read
from ingest.kafka import Cluster, PartitionKey
from ingest.operate import configured_source, wrong_state


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """An end of a range: an offset in every partition, or a time."""

    offset: int | None = None
    time_ms: int | None = None  # epoch milliseconds UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRecord:
    """A row of the query `records_of_documents`."""

    document_id: str
    topic: str
    partition: int
    record_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillPlan:
    """What a backfill reads."""

    source: str
    ranges: tuple[AuditedPartition, ...]  # that are not empty
    rate: int
    wanted: int  # offsets in the ranges, or records that are named
    gone: int = 0  # offsets before the oldest record that Kafka has
    records: tuple[NamedRecord, ...] = ()  # only these; empty: all of the ranges
    unknown: tuple[str, ...] = ()  # ids of documents whose records are not known
    by_record: bool = False


def plan_ranges(
    connection: Connection,
    cluster: Cluster,
    source: str,
    first: Bound,
    end: Bound | None,
    *,
    rate: int,
) -> BackfillPlan:
    """Read ranges again: from `first` to `end`, or to the position that the source has now.

    Raises:
        ConfigurationError: there is no such source, it is retired, or its position is in a gap.
        DependencyError: Kafka does not answer.
    """
    positions, logs = _positions(connection, cluster, source)
    firsts = _offsets(cluster, positions, first)
    ends: Mapping[PartitionKey, int] = {}
    if end is not None:
        ends = _offsets(cluster, positions, end)
    ranges: list[AuditedPartition] = []
    gone = 0
    for position in positions:
        key = position.key
        next_offset = min(position.next_offset, ends.get(key, position.next_offset))
        wanted = min(firsts[key], next_offset)
        begin = min(max(wanted, logs[key].first_offset), next_offset)
        if first.offset is not None:
            gone += begin - wanted
        if begin < next_offset:
            ranges.append(_range(position, begin, next_offset))
    return BackfillPlan(
        source=source,
        ranges=tuple(ranges),
        rate=rate,
        wanted=sum(each.next_offset - each.first_offset for each in ranges),
        gone=gone,
    )


def plan_documents(
    connection: Connection,
    cluster: Cluster,
    source: str,
    document_ids: Sequence[str],
    *,
    rate: int,
) -> BackfillPlan:
    """Read the records of some documents again: those of their newest versions, and their dead letters.

    Raises:
        ConfigurationError: as `plan_ranges`.
        DependencyError: Kafka does not answer.
    """
    positions, logs = _positions(connection, cluster, source)
    values = {"source": source, "document_ids": list(document_ids)}
    factory = class_row(NamedRecord)
    found = fetch_all(connection, factory, "records_of_documents", values)
    records: list[NamedRecord] = []
    ranges: list[AuditedPartition] = []
    for position in positions:
        first_kept = logs[position.key].first_offset
        its = [
            record
            for record in found
            if (record.topic, record.partition) == position.key
            and first_kept <= record.record_offset < position.next_offset
        ]
        offsets = [record.record_offset for record in its]
        if offsets:
            ranges.append(_range(position, min(offsets), max(offsets) + 1))
        records += its
    known = {record.document_id for record in records}
    return BackfillPlan(
        source=source,
        ranges=tuple(ranges),
        rate=rate,
        wanted=len(records),
        records=tuple(records),
        unknown=tuple(sorted(set(document_ids) - known)),
        by_record=True,
    )


def begin(connection: Connection, plan: BackfillPlan) -> int:
    """Keep a backfill; its workflow is to be started. Returns its number.

    Raises:
        ConfigurationError: another one of the source runs, or is paused.
    """
    ranges = [asdict(each) for each in plan.ranges]
    values = {
        "source": plan.source,
        "ranges": json.dumps(ranges),
        "wanted": plan.wanted,
        "by_record": plan.by_record,
        "rate": plan.rate,
    }
    with connection.transaction():
        number = fetch_one(connection, scalar_row, "begin_backfill", values)
        if number is None:
            raise ConfigurationError(
                f"a backfill of {plan.source!r} runs or is paused; `freshet backfill status` shows it, "
                "`freshet backfill cancel` ends it"
            )
        records = {
            "backfill": number,
            "topics": [record.topic for record in plan.records],
            "partitions": [record.partition for record in plan.records],
            "offsets": [record.record_offset for record in plan.records],
        }
        connection.execute(query("add_backfill_records"), records)
    return int(number)


def order(connection: Connection, source: str, state: BackfillStatus) -> int:
    """Pause, resume or cancel the backfill of a source; returns its number.

    Raises:
        ConfigurationError: none runs.
    """
    values: dict[str, Any] = {"source": source, "state": state.value}
    number = fetch_one(connection, scalar_row, "order_backfill", values)
    if number is None:
        raise ConfigurationError(f"no backfill of {source!r} runs or is paused")
    return int(number)


def _positions(
    connection: Connection, cluster: Cluster, source: str
) -> tuple[list[Position], Mapping[PartitionKey, PartitionLog]]:
    configured = configured_source(connection, source)
    if configured.state == SourceStatus.RETIRED:
        raise wrong_state(configured, "read again")
    positions = list(positions_read(connection, configured.readable()))
    logs = partition_logs(cluster, [position.key for position in positions])
    for position in positions:
        if position.key not in logs:
            raise ConfigurationError(f"{position.key} is not in Kafka any more")
    for _, gap in gaps(positions, logs):
        raise ConfigurationError(gap.reason)
    return positions, logs


def _offsets(
    cluster: Cluster, positions: Sequence[Position], bound: Bound
) -> Mapping[PartitionKey, int]:
    keys = [position.key for position in positions]
    if bound.time_ms is not None:
        return cluster.offsets_since(keys, bound.time_ms)
    return dict.fromkeys(keys, bound.offset or 0)


def _range(position: Position, first: int, end: int) -> AuditedPartition:
    return AuditedPartition(
        topic=position.topic,
        partition=position.partition,
        topic_id=position.topic_id,
        first_offset=first,
        next_offset=end,
        is_complete=False,
    )

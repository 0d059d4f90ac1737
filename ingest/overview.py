"""State, outcomes and lag of every source."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg.rows import class_row, dict_row

from corpus.database import Connection, fetch_all
from corpus.errors import DependencyError
from corpus.locks import held_up
from corpus.preparation import MAIL
from corpus.source import SourceSpec, SourceStatus, read_specs
from corpus.sql import query
from ingest.condition import (
    STANDSTILL_SECONDS,
    Waiting,
    condition_of,
    deletes_in_vain,
    origins_awaited,
    standing,
)
from ingest.consume.compaction import lost_deletes
from ingest.consume.partition_state import PartitionLog, Position
from ingest.consume.positions import gaps, logs_of, positions_of
from ingest.consume.readable import ReadableRecords
from ingest.consume.waiting import WaitingTimes
from ingest.kafka import Cluster, PartitionKey


def overview(
    connection: Connection, cluster: Cluster, readable: ReadableRecords | None = None
) -> list[dict[str, Any]]:
    """Every source: its state, what it holds, the sums of its outcomes, and how many records it is behind the log.

    `prepared_otherwise` counts visible documents that an earlier version, or other settings, have prepared; None where
    the specification cannot be read. `held_up_by` says which sessions of the database wait for its locks or hold them
    without doing anything.

    Where Kafka does not answer, `lag` is None and `kafka` says why; the other fields are complete. `problems` of a
    source name what keeps it, and no other source, from being read: a specification that cannot be read, topics and
    partitions that Kafka cannot be asked about (their records are not in `lag`), positions that are not in the log.
    `deletes_lost` names the places where compaction may have removed deletes before they were read; `deletes_in_vain`
    says where most deletes name documents that were never there, and is empty elsewhere, as is `origins_awaited` where
    no document waits for its origin.
    `readable` remembers what it saw at the ends of logs, for a caller that asks again.
    `backfilled` has the sums of what backfills read again, which the other sums are without.
    `condition` and `why` say what follows (`ingest.condition`); `stands` says since when nothing is published.
    """
    cursor = connection.cursor(row_factory=dict_row)
    rows = cursor.execute(query("source_overview")).fetchall()
    stored = read_specs((row["source"], row.pop("spec")) for row in rows)
    topics = {topic for spec in stored.specs.values() for topic in spec.topics}
    logs = _read_logs(cluster, topics)
    positions = _positions_of(connection, stored.specs)
    otherwise = _prepared_otherwise(connection, stored.specs)
    lines = held_up(connection)
    if readable is None:
        readable = ReadableRecords(cluster)
    lost = _lost_deletes(connection, cluster, stored.specs, logs)
    for row in rows:
        spec = stored.specs.get(row["source"])
        row["kafka"] = logs.problem
        row["held_up_by"] = lines.get(row["source"], [])
        row["prepared_otherwise"] = otherwise.get(row["source"])
        row["deletes_lost"] = lost.get(row["source"], [])
        row["deletes_in_vain"] = deletes_in_vain(row)
        row["origins_awaited"] = origins_awaited(row)
        if spec is None:
            unreadable = [stored.unreadable[row["source"]]]
            row.update(topics=[], lag=None, problems=unreadable)
        else:
            row["format"] = spec.format
            row["needs_registry"] = bool(spec.schema_kind)
            row.update(_reading(spec, positions[spec.source], logs, readable))
    _add_conditions(cluster, rows)
    return rows


def _add_conditions(cluster: Cluster, rows: Sequence[dict[str, Any]]) -> None:
    active = [row for row in rows if row["state"] == SourceStatus.ACTIVE]
    waiting = {row["source"]: _waiting(row) for row in active if row["lag"]}
    ages = {row["source"]: row.pop("published_seconds_ago", None) for row in rows}
    stands: dict[str, PartitionKey] = {}
    problem = ""
    try:
        stands = standing(cluster, waiting, ages)
    except DependencyError as error:
        problem = str(error)
    for row in rows:
        source = row["source"]
        if problem and source in waiting:
            row["kafka"] = problem
        row["stands"] = _how_it_stands(row, stands.get(source), ages[source])
        row["condition"], row["why"] = condition_of(row)


def _how_it_stands(
    row: Mapping[str, Any], place: PartitionKey | None, age: float | None
) -> str:
    """How long nothing was published while records wait; empty where some are."""
    if place is None:
        return ""
    since = "ever"
    if age is not None:
        since = f"in {age:,.0f} s"
    return (
        f"records that wait: {row['lag']:,} (in {place} for more than {STANDSTILL_SECONDS:.0f} s); "
        f"nothing was published {since}"
    )


def _waiting(row: Mapping[str, Any]) -> list[Waiting]:
    """The partitions of a source in which records wait."""
    return [
        Waiting(key=key, start=partition["end_offset"] - partition["lag"])
        for key, partition in _known_partitions(row)
        if partition["lag"]
    ]


def _known_partitions(
    row: Mapping[str, Any],
) -> Iterator[tuple[PartitionKey, Mapping[str, Any]]]:
    """The partitions of a source whose ends are known."""
    for topic in row["topics"]:
        for partition in topic["partitions"]:
            if partition["lag"] is not None:
                yield PartitionKey(topic["topic"], partition["partition"]), partition


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far sources have read, by source; one whose specification cannot be read is left out."""

    lags: Mapping[str, int]  # records that an active source is behind its topics
    waiting_seconds: Mapping[str, float]  # how long the oldest of them has waited
    deletes_lost: Mapping[str, Sequence[str]]  # see `overview`


def progress(
    connection: Connection,
    cluster: Cluster,
    readable: ReadableRecords,
    times: WaitingTimes | None = None,
) -> Progress:
    """How far every active source has read.

    Args:
        connection: to PostgreSQL.
        cluster: of the topics.
        readable: remembers what it saw at the ends of their logs.
        times: remembers when it saw them; None: nothing is known to have waited yet.

    Raises:
        DependencyError: Kafka does not answer.
    """
    if times is None:
        times = WaitingTimes()
    rows = fetch_all(connection, dict_row, "sources_configured")
    active = [row for row in rows if row["state"] == SourceStatus.ACTIVE]
    specs = read_specs((row["source"], row["spec"]) for row in active).specs
    topics = {topic for spec in specs.values() for topic in spec.topics}
    logs = _read_logs(cluster, topics)
    if logs.problem is not None:
        raise DependencyError(logs.problem)
    positions = _positions_of(connection, specs)
    lags: dict[str, int] = {}
    waiting_seconds: dict[str, float] = {}
    for source, spec in specs.items():
        row = _reading(spec, positions[source], logs, readable)
        lags[source] = row["lag"]
        waiting_seconds[source] = _longest_wait(row, times)
    lost = lost_deletes(connection, cluster, specs, logs.by_partition)
    return Progress(lags=lags, waiting_seconds=waiting_seconds, deletes_lost=lost)


def _longest_wait(row: Mapping[str, Any], times: WaitingTimes) -> float:
    """Of the partitions in which records wait, in seconds; the ends of the others are remembered."""
    longest = 0.0
    for key, partition in _known_partitions(row):
        end = partition["end_offset"]
        seconds = times.seconds(key, end - partition["lag"], end)
        longest = max(longest, seconds)
    return longest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """Visible documents of a source that were prepared in one way (query `preparations`)."""

    source: str
    pipeline: str  # fingerprint of the preparation
    documents: int
    is_mail: bool = False  # by the media type of their events


def _prepared_otherwise(
    connection: Connection, specs: Mapping[str, SourceSpec]
) -> dict[str, int]:
    """Visible documents that were prepared otherwise than their source is prepared now, by source."""
    counts = dict.fromkeys(specs, 0)
    for prepared in fetch_all(connection, class_row(_Prepared), "preparations", {}):
        source = prepared.source
        if source not in counts:
            continue
        content_type = MAIL if prepared.is_mail else None
        current = specs[source].pipeline.fingerprint_of(content_type)
        if prepared.pipeline != current:
            counts[source] += prepared.documents
    return counts


def _lost_deletes(
    connection: Connection, cluster: Cluster, sources: Iterable[str], logs: "_Logs"
) -> dict[str, list[str]]:
    """Where deletes may be lost; nothing where Kafka does not answer, which the row says anyway."""
    if logs.problem is not None:
        return {}
    try:
        return lost_deletes(connection, cluster, sources, logs.by_partition)
    except DependencyError:
        return {}


def _reading(
    spec: SourceSpec,
    positions: Mapping[PartitionKey, Position],
    logs: "_Logs",
    readable: ReadableRecords,
) -> dict[str, Any]:
    """How far a source has read, and what keeps it from reading."""
    offsets = {key: position.next_offset for key, position in positions.items()}
    described = [_topic(topic, offsets, logs, readable) for topic in spec.topics]
    lag = None
    if logs.problem is None:
        lag = _sum_of_lags(described)
    problems = [
        reason for key, reason in logs.refusals.items() if key.topic in spec.topics
    ]
    problems += [
        logs.topic_refusals[topic]
        for topic in spec.topics
        if topic in logs.topic_refusals
    ]
    broken = gaps(positions.values(), logs.by_partition)
    problems += [gap.reason for _, gap in broken]
    return {"topics": described, "lag": lag, "problems": problems}


def _positions_of(
    connection: Connection, specs: Mapping[str, SourceSpec]
) -> dict[str, dict[PartitionKey, Position]]:
    """Position rows by source and partition, in the topics that each source reads now."""
    positions: dict[str, dict[PartitionKey, Position]] = {
        source: {} for source in specs
    }
    for position in positions_of(connection, specs):
        spec = specs[position.source]
        if position.topic in spec.topics:
            positions[position.source][position.key] = position
    return positions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Logs:
    """What Kafka knows of the topics."""

    partitions: dict[str, int] = field(
        default_factory=dict[str, int]
    )  # topic -> how many
    by_partition: dict[PartitionKey, PartitionLog] = field(
        default_factory=dict[PartitionKey, PartitionLog]
    )
    refusals: dict[PartitionKey, str] = field(default_factory=dict[PartitionKey, str])
    topic_refusals: dict[str, str] = field(default_factory=dict[str, str])
    problem: str | None = None  # why nothing is known


def _read_logs(cluster: Cluster, topics: Iterable[str]) -> _Logs:
    partitions: dict[str, int] = {}
    try:
        described = cluster.describe(topics)
        for state in described.answers.values():
            partitions[state.topic] = state.partitions
        keys = [
            PartitionKey(topic, number)
            for topic, count in partitions.items()
            for number in range(count)
        ]
        bounds = cluster.bounds_of(keys)
        by_partition = logs_of(cluster, described.answers, bounds.answers)
    except DependencyError as error:
        return _Logs(partitions=partitions, problem=str(error))
    return _Logs(
        partitions=partitions,
        by_partition=by_partition,
        refusals=bounds.refusals,
        topic_refusals=described.refusals,
    )


def _topic(
    topic: str,
    offsets: Mapping[PartitionKey, int],
    logs: _Logs,
    readable: ReadableRecords,
) -> dict[str, Any]:
    """One topic of a source.

    Args:
        topic: its name.
        offsets: the source's next offsets.
        logs: what Kafka knows.
        readable: looks at the ends of the logs.
    """
    is_refused = topic in logs.topic_refusals
    if logs.problem is None and not is_refused and topic not in logs.partitions:
        return {"topic": topic, "missing": True, "lag": None, "partitions": []}
    partitions: list[dict[str, Any]] = []
    for key in _partitions_of(topic, offsets, logs):
        next_offset = offsets.get(key)
        log = logs.by_partition.get(key)
        partitions.append(_partition(key, next_offset, log, readable))
    lag = None
    if logs.problem is None:
        lag = _sum_of_lags(partitions)
    return {"topic": topic, "missing": False, "lag": lag, "partitions": partitions}


def _partitions_of(
    topic: str, offsets: Mapping[PartitionKey, int], logs: _Logs
) -> list[PartitionKey]:
    """The partitions of a topic; without Kafka's answer, those that were read."""
    count = logs.partitions.get(topic)
    if count is None:
        return sorted(key for key in offsets if key.topic == topic)
    return [PartitionKey(topic, number) for number in range(count)]


def _partition(
    key: PartitionKey,
    next_offset: int | None,
    log: PartitionLog | None,
    readable: ReadableRecords,
) -> dict[str, Any]:
    end_offset = lag = None
    if log is not None:
        end_offset = log.next_offset
        lag = readable.lag(key, _start_of(next_offset, log), end_offset)
    return {
        "partition": key.partition,
        "next_offset": next_offset,
        "end_offset": end_offset,
        "lag": lag,
    }


def _start_of(next_offset: int | None, log: PartitionLog) -> int:
    """Where the source reads next; a partition that it has never read, it reads from the oldest record."""
    if next_offset is None:
        return log.first_offset
    return next_offset


def _sum_of_lags(parts: Iterable[Mapping[str, Any]]) -> int:
    return sum(part["lag"] or 0 for part in parts)

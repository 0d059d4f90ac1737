"""State, outcomes and lag of every source."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg.rows import dict_row

from corpus.database import Connection, fetch_all
from corpus.errors import DependencyError
from corpus.locks import held_up
from corpus.source import SourceSpec, read_specs
from corpus.sql import query
from ingest.consume.positions import positions_of
from ingest.kafka import Cluster, LogBounds, PartitionKey


def overview(connection: Connection, cluster: Cluster) -> list[dict[str, Any]]:
    """Every source: its state, what it holds, the sums of its outcomes, and how many records it is behind the log.

    `held_up_by` says which sessions of the database wait for its locks or hold them without doing anything.

    Where Kafka does not answer, `lag` is None and `kafka` says why; the other fields are complete. `problems` of a
    source name what keeps it, and no other source, from being read: a specification that cannot be read, topics and
    partitions that Kafka cannot be asked about. Their records are not in `lag`.
    """
    cursor = connection.cursor(row_factory=dict_row)
    rows = cursor.execute(query("source_overview")).fetchall()
    stored = read_specs((row["source"], row.pop("spec")) for row in rows)
    topics = {topic for spec in stored.specs.values() for topic in spec.topics}
    logs = _read_logs(cluster, topics)
    offsets = _offsets_of(connection, stored.specs)
    lines = held_up(connection)
    for row in rows:
        spec = stored.specs.get(row["source"])
        row["kafka"] = logs.problem
        row["held_up_by"] = lines.get(row["source"], [])
        if spec is None:
            unreadable = [stored.unreadable[row["source"]]]
            row.update(topics=[], lag=None, problems=unreadable)
        else:
            row.update(_reading(spec, offsets[spec.source], logs))
    return rows


def lags(connection: Connection, cluster: Cluster) -> dict[str, int]:
    """How many records each source is behind its topics; one whose specification cannot be read is left out.

    Raises:
        DependencyError: Kafka does not answer.
    """
    rows = fetch_all(connection, dict_row, "sources_configured")
    specs = read_specs((row["source"], row["spec"]) for row in rows).specs
    topics = {topic for spec in specs.values() for topic in spec.topics}
    logs = _read_logs(cluster, topics)
    if logs.problem is not None:
        raise DependencyError(logs.problem)
    offsets = _offsets_of(connection, specs)
    return {
        source: _reading(spec, offsets[source], logs)["lag"]
        for source, spec in specs.items()
    }


def _reading(
    spec: SourceSpec, offsets: Mapping[PartitionKey, int], logs: "_Logs"
) -> dict[str, Any]:
    """How far a source has read, and what keeps it from reading."""
    described = [_topic(topic, offsets, logs) for topic in spec.topics]
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
    return {"topics": described, "lag": lag, "problems": problems}


def _offsets_of(
    connection: Connection, sources: Collection[str]
) -> dict[str, dict[PartitionKey, int]]:
    """Next offsets by source and partition."""
    offsets: dict[str, dict[PartitionKey, int]] = {source: {} for source in sources}
    for position in positions_of(connection, sources):
        offsets[position.source][position.key] = position.next_offset
    return offsets


@dataclass(frozen=True, slots=True, kw_only=True)
class _Logs:
    """What Kafka knows of the topics."""

    partitions: dict[str, int] = field(
        default_factory=dict[str, int]
    )  # topic -> how many
    bounds: dict[PartitionKey, LogBounds] = field(
        default_factory=dict[PartitionKey, LogBounds]
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
    except DependencyError as error:
        return _Logs(partitions=partitions, problem=str(error))
    return _Logs(
        partitions=partitions,
        bounds=bounds.answers,
        refusals=bounds.refusals,
        topic_refusals=described.refusals,
    )


def _topic(
    topic: str, offsets: Mapping[PartitionKey, int], logs: _Logs
) -> dict[str, Any]:
    """One topic of a source.

    Args:
        topic: its name.
        offsets: the source's next offsets.
        logs: what Kafka knows.
    """
    is_refused = topic in logs.topic_refusals
    if logs.problem is None and not is_refused and topic not in logs.partitions:
        return {"topic": topic, "missing": True, "lag": None, "partitions": []}
    partitions: list[dict[str, Any]] = []
    for key in _partitions_of(topic, offsets, logs):
        next_offset = offsets.get(key)
        bounds = logs.bounds.get(key)
        partitions.append(_partition(key, next_offset, bounds))
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
    key: PartitionKey, next_offset: int | None, bounds: LogBounds | None
) -> dict[str, Any]:
    end_offset = lag = None
    if bounds is not None:
        end_offset = bounds.next_offset
        lag = max(0, end_offset - _start_of(next_offset, bounds))
    return {
        "partition": key.partition,
        "next_offset": next_offset,
        "end_offset": end_offset,
        "lag": lag,
    }


def _start_of(next_offset: int | None, bounds: LogBounds) -> int:
    """Where the source reads next; a partition that it has never read, it reads from the oldest record."""
    if next_offset is None:
        return bounds.first_offset
    return next_offset


def _sum_of_lags(parts: Iterable[Mapping[str, Any]]) -> int:
    return sum(part["lag"] or 0 for part in parts)

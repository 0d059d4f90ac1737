"""State, outcomes and lag of every source."""

from typing import Any

from psycopg.rows import dict_row

from corpus.database import Connection
from corpus.errors import DependencyError
from corpus.source import SourceSpec
from corpus.sql import query
from ingest.kafka import Cluster


def overview(connection: Connection, cluster: Cluster) -> list[dict[str, Any]]:
    """Every source: state, what it holds, the sums of its outcomes, and how far behind the log it is.

    Where Kafka does not answer, `lag` is None and `kafka` says why; the rest still stands.
    """
    rows = connection.cursor(row_factory=dict_row).execute(query("source_overview")).fetchall()
    positions = connection.execute(
        query("positions_of_sources"), {"sources": [row["source"] for row in rows]}
    ).fetchall()
    next_offsets = {
        (source, topic, partition): offset for source, topic, partition, _, _, offset in positions
    }
    specs = {row["source"]: SourceSpec.from_json(row.pop("spec")) for row in rows}
    problem: str | None = None
    ends: dict[tuple[str, int], tuple[int, int]] = {}
    partitions: dict[str, int] = {}
    try:
        states = cluster.topics({topic for spec in specs.values() for topic in spec.topics})
        partitions = {name: state.partitions for name, state in states.items()}
        ends = cluster.offsets(
            (name, number) for name, count in partitions.items() for number in range(count)
        )
    except DependencyError as error:
        problem = str(error)
    for row in rows:
        row["topics"] = [
            _topic(row["source"], topic, next_offsets, ends, partitions, known=problem is None)
            for topic in specs[row["source"]].topics
        ]
        row["lag"] = None if problem else sum(topic["lag"] or 0 for topic in row["topics"])
        row["kafka"] = problem
    return rows


def _topic(
    source: str,
    topic: str,
    next_offsets: dict[tuple[str, str, int], int],
    ends: dict[tuple[str, int], tuple[int, int]],
    partitions: dict[str, int],
    *,
    known: bool,
) -> dict[str, Any]:
    if known and topic not in partitions:
        return {"topic": topic, "missing": True, "lag": None, "partitions": []}
    described: list[dict[str, Any]] = []
    numbers = (
        range(partitions[topic])
        if topic in partitions
        else sorted(number for who, name, number in next_offsets if (who, name) == (source, topic))
    )
    for number in numbers:
        position = next_offsets.get((source, topic, number))
        first, end = ends.get((topic, number), (None, None))
        lag = (
            None
            if end is None or first is None
            else max(0, end - (first if position is None else position))
        )
        described.append(
            {"partition": number, "next_offset": position, "end_offset": end, "lag": lag}
        )
    lags = [entry["lag"] for entry in described if entry["lag"] is not None]
    return {
        "topic": topic,
        "missing": False,
        "lag": sum(lags) if known else None,
        "partitions": described,
    }

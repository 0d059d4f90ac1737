"""Wait until what is in the topics is in the corpus."""

import time
from collections.abc import Callable
from typing import Any

from corpus.database import connect
from corpus.errors import ConfigurationError
from corpus.source import SourceSpec
from corpus.sql import query
from workers.config.settings import Settings

_LOOK_SECONDS = 0.25
# Without progress for so long, it is worth a look whether anything is left to come but holes of the log.
_STANDSTILL_SECONDS = 2.0


def drain(
    settings: Settings,
    *,
    source: str | None,
    timeout: float,
    on_progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Wait for every partition of the sources that are not retired.

    Returns:
        `drained`, `why` (empty when drained), `lag` (records not yet in the corpus), `records` (of the topics), `seconds`.

    Raises:
        ConfigurationError: there is no such source.
        DependencyError: a service does not answer.
    """
    from ingest.kafka import Cluster

    cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
    started = time.monotonic()
    said = ""
    with connect(settings.database_url) as connection:
        rows = connection.execute(query("drain_state"), {"source": source}).fetchall()
        if source and not rows:
            raise ConfigurationError(f"there is no source {source!r}; `freshet sources` lists them")
        goal = _goal(cluster, rows)
        before, since = -1, started
        while True:
            rows = connection.execute(query("drain_state"), {"source": source}).fetchall()
            lags, stopped = _lags(rows, goal)
            lag, seconds = sum(lags.values()), time.monotonic() - started
            result = {
                "drained": False,
                "why": "",
                "lag": lag,
                "records": sum(goal.values()),
                "seconds": round(seconds, 3),
                "sources": lags,
            }
            if not lag:
                return result | {"drained": True}
            if stopped:
                return result | {"why": stopped}
            if seconds >= timeout:
                return result | {
                    "why": f"{lag} records are not in the corpus after {timeout:g} s ({_listed(lags)})"
                }
            if lag != before:
                before, since = lag, time.monotonic()
            elif time.monotonic() - since > _STANDSTILL_SECONDS:
                _leave_out_holes(cluster, rows, goal)
                since = time.monotonic()
            line = f"{lag} records to go ({_listed(lags)})"
            if on_progress and line != said and seconds > 1:
                on_progress(line)
                said = line
            time.sleep(_LOOK_SECONDS)


def _goal(cluster: Any, rows: list[tuple[Any, ...]]) -> dict[tuple[str, int], int]:
    """Next offset of every partition, as the topics stand now."""
    topics = sorted({topic for row in rows for topic in SourceSpec.from_json(row[1]).topics})
    states = cluster.topics(topics)
    places = [
        (state.topic, partition)
        for state in states.values()
        for partition in range(state.partitions)
    ]
    return {place: end for place, (start, end) in cluster.offsets(places).items() if end > start}


def _leave_out_holes(
    cluster: Any, rows: list[tuple[Any, ...]], goal: dict[tuple[str, int], int]
) -> None:
    """Where nothing but transaction markers and aborted records is left before the goal, the furthest source is at the goal."""
    for (topic, partition), end in goal.items():
        positions = [
            row[5][f"{topic}/{partition}"] for row in rows if f"{topic}/{partition}" in row[5]
        ]
        if positions and max(positions) < end:
            found = cluster.next_record(topic, partition, max(positions))
            if found is None or found >= end:
                goal[topic, partition] = max(positions)


def _lags(
    rows: list[tuple[Any, ...]], goal: dict[tuple[str, int], int]
) -> tuple[dict[str, int], str]:
    lags: dict[str, int] = {}
    stopped = ""
    for source, stored, state, reason, _, positions in rows:
        topics = SourceSpec.from_json(stored).topics
        lag = sum(
            max(0, end - positions.get(f"{topic}/{partition}", 0))
            for (topic, partition), end in goal.items()
            if topic in topics
        )
        lags[source] = lag
        if lag and state in ("halted", "paused"):
            stopped = f"source {source!r} is {state}{f': {reason}' if reason else ''}"
    return lags, stopped


def _listed(lags: dict[str, int]) -> str:
    return ", ".join(f"{source}: {lag}" for source, lag in lags.items() if lag)

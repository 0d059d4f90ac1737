"""Wait until all records that are in the topics are in the corpus.

What decides is the position rows. What the batches do meanwhile is read from Temporal and shown, and decides nothing.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from psycopg.rows import class_row

from corpus.database import Connection, connect
from corpus.errors import ConfigurationError, UnreadableSpecError
from corpus.source import SourceSpec
from corpus.sql import query
from ingest.consume.partition_state import Position
from ingest.consume.positions import gaps, partition_logs, positions_of
from ingest.kafka import Cluster
from workers.config.settings import Settings
from workers.stages import (
    StageWatcher,
    counted,
    progress_sentence,
    texts_embedded_after,
)

_LOOK_SECONDS = 0.25
_COUNT_SECONDS = 1.0
# After so long without progress, it is worth a look whether only holes of the log are left.
_STANDSTILL_SECONDS = 2.0
_MOST_LISTED = 20  # sources
_MOST_SHOWN = 5  # sources, in the line that says how far the work is

# Of a topic's partitions, by number.
Goal = dict[str, dict[int, "Range"]]


@dataclass(frozen=True, kw_only=True)
class SourceRow:
    """A source as the database has it."""

    source: str
    spec: dict[str, Any]
    state: str
    state_reason: str | None
    last_batch: int
    positions: dict[str, int]  # "topic/partition" -> next offset

    @cached_property
    def unreadable(self) -> str:
        """Why the specification cannot be read; empty where it can."""
        try:
            SourceSpec.from_json(self.spec)
        except UnreadableSpecError as error:
            return str(error)
        return ""

    @cached_property
    def topics(self) -> frozenset[str]:
        """None where the specification cannot be read: no other source waits for it."""
        if self.unreadable:
            return frozenset()
        return frozenset(SourceSpec.from_json(self.spec).topics)

    def position(self, topic: str, partition: int, default: int) -> int:
        """The next offset to be read; `default` where the partition was never read."""
        return self.positions.get(f"{topic}/{partition}", default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Offsets of a partition when the waiting began."""

    first: int
    end: int  # exclusive


def drain(
    settings: Settings,
    *,
    source: str | None,
    timeout: float,
    on_progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Wait for every partition of the sources that are not retired.

    Args:
        settings: addresses of the services.
        source: only this source; None for all.
        timeout: seconds; 0 looks once.
        on_progress: called several times per second with a line that says how far the work is.

    Returns:
        `drained`; `why` (empty when drained); `lag`, the records that are not in the corpus; `records` of the topics;
        `seconds`; `sources`, the lag of each.

    Raises:
        ConfigurationError: there is no such source.
        DependencyError: a service does not answer.
    """
    cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
    with connect(settings.database_url, application="freshet-drain") as connection:
        waiting = Waiting(connection, cluster, source)
        if on_progress is None:
            return waiting.until(timeout)
        with StageWatcher(settings) as watcher:
            return waiting.until(
                timeout, lambda: on_progress(waiting.progress(watcher))
            )


class Waiting:
    """The records that are waited for, and how many of them are missing."""

    def __init__(
        self, connection: Connection, cluster: Cluster, source: str | None
    ) -> None:
        self._connection = connection
        self._cluster = cluster
        self._source = source
        self._rows = {row.source: row for row in self._read_rows()}
        self._are_all_read = True  # at the last look
        if source and not self._rows:
            raise ConfigurationError(
                f"there is no source {source!r}; `freshet sources` lists them"
            )
        self._goal = self._read_goal()
        self._lags = self._compute_lags()
        self._problem = ""
        self._embedded: dict[str, dict[int, int]] = {}
        self._counted_at = 0.0

    def until(
        self, timeout: float, show: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """Look again and again until nothing is missing, a source has stopped, or the time is over."""
        started = progressed = time.monotonic()
        deadline = started + timeout
        while True:
            now = time.monotonic()
            why = self._end(timeout, is_late=now >= deadline)
            if why is not None:
                return self._result(why, now - started)
            lag = sum(self._lags.values())
            if show is not None:
                show()
            time.sleep(_LOOK_SECONDS)
            if now - progressed > _STANDSTILL_SECONDS:
                self._read_all()
                self._leave_out_holes(deadline)
                self._find_problem()
                progressed = time.monotonic()
            self._look()
            if sum(self._lags.values()) != lag:
                progressed = time.monotonic()

    def _end(self, timeout: float, *, is_late: bool) -> str | None:
        """Why the waiting ends, empty where nothing is missing; None: it goes on."""
        if is_late and not self._are_all_read:
            self._read_all()  # what is said at the end is about all sources
        why = self._stopped()
        if is_late and not why:
            why = self._late(timeout)
        if why:
            return why
        if any(self._lags.values()):
            return None
        self._find_problem()
        return self._problem or self._unreadable()

    def progress(self, watcher: StageWatcher) -> str:
        """One line: how many records are in the corpus, and what the batches of the sources furthest behind do."""
        furthest = _furthest(self._lags)
        unfinished = {
            source: self._rows[source].last_batch
            for source in sorted(furthest[:_MOST_SHOWN])
        }
        self._count_embedded(unfinished)
        stages = watcher.stages(unfinished)
        embedded = {name: self._embedded.get(name, {}) for name in unfinished}
        total = sum(range_.end - range_.first for range_ in self._ranges())
        missing = sum(self._lags.values())
        return progress_sentence(
            done=max(0, total - missing),
            total=total,
            sources=counted(stages, embedded),
            more=len(furthest) - len(unfinished),
        )

    # ── what is read ────────────────────────────────────────────────────────────────────────────────────────────────

    def _look(self) -> None:
        """Read the sources that are behind, and all once none is: thousands may have nothing to wait for."""
        behind = [source for source, lag in self._lags.items() if lag]
        rows = {row.source: row for row in self._read_rows(behind)}
        self._are_all_read = False
        retired = set(behind) - rows.keys()
        self._rows = {
            source: row
            for source, row in (self._rows | rows).items()
            if source not in retired
        }
        self._lags = self._compute_lags()
        if not any(self._lags.values()):
            self._read_all()

    def _read_all(self) -> None:
        self._are_all_read = True
        self._rows = {row.source: row for row in self._read_rows()}
        self._lags = self._compute_lags()

    def _read_rows(self, behind: list[str] | None = None) -> list[SourceRow]:
        values = {"source": self._source, "behind": behind}
        with self._connection.cursor(row_factory=class_row(SourceRow)) as cursor:
            return cursor.execute(query("drain_state"), values).fetchall()

    def _read_goal(self) -> Goal:
        """Offsets of every partition that has records, as the topics are now."""
        states = self._cluster.topics(sorted(self._topics()))
        partitions: list[tuple[str, int]] = []
        for state in states.values():
            partitions += [(state.topic, number) for number in range(state.partitions)]
        goal: Goal = {}
        for (topic, number), (first, end) in self._cluster.offsets(partitions).items():
            if end > first:
                goal.setdefault(topic, {})[number] = Range(first=first, end=end)
        return goal

    def _count_embedded(self, published: Mapping[str, int]) -> None:
        """Texts embedded for batches that are not published; at most once per second."""
        now = time.monotonic()
        if now - self._counted_at < _COUNT_SECONDS:
            return
        self._counted_at = now
        self._embedded = texts_embedded_after(self._connection, published)

    # ── what is missing ─────────────────────────────────────────────────────────────────────────────────────────────

    def _compute_lags(self) -> dict[str, int]:
        return {row.source: self._lag(row) for row in self._rows.values()}

    def _lag(self, row: SourceRow) -> int:
        lag = 0
        for topic in row.topics:
            for number, range_ in self._goal.get(topic, {}).items():
                position = row.position(topic, number, range_.first)
                lag += max(0, range_.end - position)
        return lag

    def _leave_out_holes(self, deadline: float) -> None:
        """Move the goal back to the furthest position where only markers and aborted records are left before it.

        Each partition is a question of its own to Kafka; after `deadline` none is asked.
        """
        furthest: dict[str, int] = {}
        for row in self._rows.values():
            for place, offset in row.positions.items():
                furthest[place] = max(offset, furthest.get(place, 0))
        for topic, ranges in self._goal.items():
            for number, range_ in ranges.items():
                position = furthest.get(f"{topic}/{number}", 0)
                if not 0 < position < range_.end:
                    continue
                if time.monotonic() > deadline:
                    return
                following = self._cluster.next_record(topic, number, position)
                if following is None or following >= range_.end:
                    ranges[number] = Range(first=range_.first, end=position)

    def _stopped(self) -> str:
        """Why no progress can come; empty where it can."""
        for row in self._rows.values():
            is_over = row.state == "halted"
            if is_over or (row.state == "paused" and self._lags[row.source]):
                reason = f": {row.state_reason}" if row.state_reason else ""
                return f"source {row.source!r} is {row.state}{reason}"
        return self._problem

    def _find_problem(self) -> None:
        """Look for positions that say nothing about the topics: these are missing, made anew, or in another cluster."""
        topics = self._topics()
        missing = topics - self._cluster.topics(sorted(topics)).keys()
        for row in self._rows.values():
            for topic in sorted(missing & row.topics):
                self._problem = f"source {row.source!r}: topic {topic} is missing; `freshet apply` creates it"
        positions = self._positions()
        logs = partition_logs(self._cluster, {position.key for position in positions})
        for position, gap in gaps(positions, logs):
            self._problem = f"source {position.source!r}: {gap.reason}"

    def _ranges(self) -> Iterator[Range]:
        for ranges in self._goal.values():
            yield from ranges.values()

    def _topics(self) -> frozenset[str]:
        return frozenset[str]().union(*(row.topics for row in self._rows.values()))

    def _positions(self) -> list[Position]:
        """The position rows of the topics that the sources read now."""
        read = {row.source: row.topics for row in self._rows.values()}
        rows = positions_of(self._connection, list(read))
        return [
            position for position in rows if position.topic in read[position.source]
        ]

    def _unreadable(self) -> str:
        """The sources of which nothing can be said."""
        reasons = [
            f"source {row.source!r} is not known: {row.unreadable}"
            for row in self._rows.values()
            if row.unreadable
        ]
        return "; ".join(reasons)

    def _late(self, timeout: float) -> str:
        lag = sum(self._lags.values())
        if not lag:
            return ""
        per_source = _listed(self._lags)
        return f"{lag} records are not in the corpus after {timeout:g} s ({per_source})"

    def _result(self, why: str, seconds: float) -> dict[str, Any]:
        return {
            "drained": not why,
            "why": why,
            "lag": sum(self._lags.values()),
            "records": sum(range_.end for range_ in self._ranges()),
            "seconds": round(seconds, 3),
            "sources": self._lags,
        }


def _furthest(lags: Mapping[str, int]) -> list[str]:
    """The sources that are behind, the furthest first."""
    return sorted(filter(lags.get, lags), key=lambda source: -lags[source])


def _listed(lags: Mapping[str, int]) -> str:
    behind = _furthest(lags)
    text = ", ".join(f"{source}: {lags[source]}" for source in behind[:_MOST_LISTED])
    more = len(behind) - _MOST_LISTED
    return f"{text} and {more} more" if more > 0 else text

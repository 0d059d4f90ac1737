"""What the consumer asks PostgreSQL and Kafka: which sources are active, and from where each of them reads."""

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg.rows import class_row, dict_row
from psycopg_pool import ConnectionPool

from corpus.database import Connection, database_errors_translated, fetch_all
from corpus.errors import UnreadableSpecError
from corpus.log_limit import LogLimit
from corpus.source import SourceSpec, read_spec
from corpus.sql import query
from corpus.versions.truncation import Truncation
from ingest.answers import Answers
from ingest.consume.partition_state import (
    Gap,
    PartitionLog,
    Position,
    start_offset,
)
from ingest.consume.skips import Skip
from ingest.kafka import Cluster, LogBounds, PartitionKey, TopicState

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

_CONNECTION_SECONDS = 5.0
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveSource:
    """A source that is to be consumed."""

    spec: SourceSpec
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionStart:
    """What decides from where the sources of one partition read it."""

    log: PartitionLog
    positions: dict[str, Position] = field(
        default_factory=dict[str, Position]
    )  # by source
    skips: list[Skip] = field(default_factory=list[Skip])
    decisions: Sequence[Truncation] = ()


# The sources, by name, whose positions in a partition are wanted.
WantedPositions = Mapping[PartitionKey, Mapping[str, ActiveSource]]
# A partition is missing where Kafka does not know its topic.
PartitionStarts = Mapping[PartitionKey, PartitionStart]


def positions_of(connection: Connection, sources: Collection[str]) -> list[Position]:
    """Every position row of these sources."""
    cursor = connection.cursor(row_factory=class_row(Position))
    return cursor.execute(
        query("positions_of_sources"), {"sources": list(sources)}
    ).fetchall()


def decisions_of(connection: Connection, sources: Collection[str]) -> list[Truncation]:
    """What persons decided about truncated tables of these sources."""
    values = {"sources": list(sources)}
    return fetch_all(
        connection, class_row(Truncation), "truncations_of_sources", values
    )


def positions_read(connection: Connection, spec: SourceSpec) -> list[Position]:
    """The position rows of a source in the topics that it reads now."""
    rows = positions_of(connection, [spec.source])
    return [position for position in rows if position.topic in spec.topics]


def gaps(
    positions: Iterable[Position], logs: Mapping[PartitionKey, PartitionLog]
) -> Iterator[tuple[Position, Gap]]:
    """The positions that are not in their log, where that is known."""
    for position in positions:
        log = logs.get(position.key)
        if log is None:
            continue
        gap = start_offset(position, log)
        if isinstance(gap, Gap):
            yield position, gap


def partition_logs(
    cluster: Cluster, keys: Iterable[tuple[str, int]]
) -> dict[PartitionKey, PartitionLog]:
    """The logs of those of these partitions that exist.

    Raises:
        DependencyError: Kafka does not answer, for one of them or for all.
    """
    return ask_partition_logs(cluster, keys).complete()


def ask_partition_logs(
    cluster: Cluster, keys: Iterable[tuple[str, int]]
) -> Answers[PartitionKey, PartitionLog]:
    """The logs of those of these partitions that exist; one that cannot be asked for is named with the reason.

    Raises:
        DependencyError: Kafka does not answer.
    """
    keys = [PartitionKey(*key) for key in keys]
    topics = cluster.describe(key.topic for key in keys)
    logs = Answers[PartitionKey, PartitionLog]()
    for key in keys:
        if key.topic in topics.refusals:
            logs.refusals[key] = topics.refusals[key.topic]
    existing = [key for key in keys if _exists(key, topics.answers)]
    bounds = cluster.bounds_of(existing)
    logs.refusals.update(bounds.refusals)
    logs.answers.update(logs_of(cluster, topics.answers, bounds.answers))
    return logs


def logs_of(
    cluster: Cluster,
    topics: Mapping[str, TopicState],
    bounds: Mapping[PartitionKey, LogBounds],
) -> dict[PartitionKey, PartitionLog]:
    """The logs of partitions, of what the cluster has answered about them.

    Raises:
        DependencyError: Kafka does not answer who it is.
    """
    return {
        key: PartitionLog(
            cluster_id=cluster.cluster_id(),
            topic=key.topic,
            topic_id=topics[key.topic].topic_id,
            partition=key.partition,
            first_offset=known.first_offset,
            next_offset=known.next_offset,
        )
        for key, known in bounds.items()
    }


def _exists(key: PartitionKey, topics: Mapping[str, TopicState]) -> bool:
    topic = topics.get(key.topic)
    return topic is not None and key.partition < topic.partitions


@dataclass(frozen=True, slots=True, kw_only=True)
class _SourceRow:
    """A row of `sources_active`."""

    source: str
    epoch: int
    digest: str = ""  # of the specification
    spec: Any = None  # None: the digest is among those that were given


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownSource:
    """A source as it was read the last time."""

    digest: str
    active: ActiveSource | None  # None: its specification cannot be read


class Positions:
    """Asks PostgreSQL and Kafka; every method blocks, and raises DependencyError when its service does not answer.

    Attributes:
        unreadable: sources whose specification cannot be read, and why; they are not consumed.
        refused: partitions that Kafka could not be asked about the last time, and why; they are asked for again.
    """

    def __init__(self, pool: ConnectionPool[Any], cluster: Cluster) -> None:
        self._pool = pool
        self._cluster = cluster
        self._known: dict[str, _KnownSource] = {}
        self.unreadable: dict[str, str] = {}
        self.refused: dict[PartitionKey, str] = {}

    def active_sources(self) -> list[ActiveSource]:
        """Every source in state active whose specification can be read.

        Only specifications that changed are transferred and read. A source that did not change is the same object as
        the last time.
        """
        known = {"known": [known.digest for known in self._known.values()]}
        with (
            database_errors_translated(),
            self._pool.connection(_CONNECTION_SECONDS) as connection,
        ):
            cursor = connection.cursor(row_factory=dict_row)
            rows = cursor.execute(query("sources_active"), known).fetchall()
        sources: dict[str, _KnownSource] = {}
        for columns in rows:
            row = _SourceRow(**columns)
            sources[row.source] = self._known_source(row)
        self._known = sources
        self.unreadable = {
            source: reason
            for source, reason in self.unreadable.items()
            if source in sources and sources[source].active is None
        }
        return [known.active for known in sources.values() if known.active]

    def _known_source(self, row: _SourceRow) -> _KnownSource:
        before = self._known.get(row.source)
        if before is None or row.spec is not None or before.digest != row.digest:
            return self._read_source(row)
        if before.active is None or before.active.epoch == row.epoch:
            return before
        return replace(before, active=replace(before.active, epoch=row.epoch))

    def _read_source(self, row: _SourceRow) -> _KnownSource:
        active = None
        try:
            spec = _consumable(read_spec(row.source, row.spec))
            active = ActiveSource(spec=spec, epoch=row.epoch)
        except UnreadableSpecError as error:
            self.unreadable[row.source] = str(error)
            logger.error(  # noqa: TRY400 - the message says it all
                "source is not consumed: %s",
                error,
                extra={"action": "spec_unreadable", "source": row.source},
            )
        return _KnownSource(digest=row.digest, active=active)

    def of_sources(self, sources: Collection[str]) -> list[Position]:
        """Every position row of these sources."""
        with (
            database_errors_translated(),
            self._pool.connection(_CONNECTION_SECONDS) as connection,
        ):
            return positions_of(connection, sources)

    def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """Kafka's id of each of these topics that exists."""
        states = self._cluster.describe(topics).answers
        return {name: state.topic_id for name, state in states.items()}

    def read(self, wanted: WantedPositions) -> dict[PartitionKey, PartitionStart]:
        """The logs of these partitions as they are now, and the positions of these sources in them.

        A source that has never read a partition gets a position at its oldest record, written before any record is
        read: from then on the row decides. A partition that Kafka cannot be asked about is
        left out, and is in `refused`.
        """
        # The positions are read before the logs: a position that moves meanwhile only makes us read something twice.
        sources = sorted(
            {source for of_partition in wanted.values() for source in of_partition}
        )
        positions = self.of_sources(sources)
        logs = self._ask_logs(wanted)
        starts = _starts(logs, positions)
        new = [
            _first_position(source, start.log)
            for key, start in starts.items()
            for source in wanted[key].keys() - start.positions.keys()
        ]
        if new:
            self._begin(new)
            starts = _starts(logs, self.of_sources(sources))
        for skip in self._skips(sources):
            start = starts.get(PartitionKey(skip.topic, skip.partition))
            if start is not None and start.log.topic_id == skip.topic_id:
                start.skips.append(skip)
        return self._with_decisions(starts, sources)

    def _with_decisions(
        self, starts: dict[PartitionKey, PartitionStart], sources: Collection[str]
    ) -> dict[PartitionKey, PartitionStart]:
        with (
            database_errors_translated(),
            self._pool.connection(_CONNECTION_SECONDS) as connection,
        ):
            decisions = decisions_of(connection, sources)
        return {
            key: replace(start, decisions=decisions) for key, start in starts.items()
        }

    def _skips(self, sources: Collection[str]) -> list[Skip]:
        with (
            database_errors_translated(),
            self._pool.connection(_CONNECTION_SECONDS) as connection,
        ):
            values = {"sources": list(sources)}
            return fetch_all(connection, class_row(Skip), "skips_of_sources", values)

    def _ask_logs(
        self, wanted: Iterable[PartitionKey]
    ) -> dict[PartitionKey, PartitionLog]:
        asked = ask_partition_logs(self._cluster, wanted)
        for key in wanted:
            self.refused.pop(key, None)
        self.refused.update(asked.refusals)
        for key, reason in asked.refusals.items():
            logger.warning(
                "partition is not read: %s",
                reason,
                extra={"action": "partition_refused", "kind": f"partition/{key}"},
            )
        return asked.answers

    def _begin(self, positions: Sequence[dict[str, Any]]) -> None:
        with (
            database_errors_translated(),
            self._pool.connection(_CONNECTION_SECONDS) as connection,
            connection.transaction(),
        ):
            for position in positions:
                connection.execute(query("begin_position"), position)

    def halt(self, source: str, epoch: int, reason: str) -> bool:
        """Stop a source; False if it was stopped or its positions were moved meanwhile."""
        arguments = {"source": source, "epoch": epoch, "reason": reason}
        with (
            database_errors_translated(),
            self._pool.connection(_CONNECTION_SECONDS) as connection,
        ):
            return connection.execute(query("halt_source"), arguments).rowcount == 1

    def forget_cluster_id(self) -> None:
        """The address may lead to another cluster now: ask for its id again."""
        self._cluster.forget_cluster_id()


def _consumable(spec: SourceSpec) -> SourceSpec:
    """The specification, if Kafka can be asked for its topics; one wrong name would refuse the topics of all sources.

    Raises:
        UnreadableSpecError: it cannot.
    """
    for topic in spec.topics:
        if not _TOPIC.fullmatch(topic):
            raise UnreadableSpecError(
                f"{topic!r} in the stored specification is no name of a topic; write it again with `freshet apply`"
            )
    return spec


def _starts(
    logs: Mapping[PartitionKey, PartitionLog], positions: Iterable[Position]
) -> dict[PartitionKey, PartitionStart]:
    starts = {key: PartitionStart(log=log) for key, log in logs.items()}
    for position in positions:
        start = starts.get(position.key)
        if start is not None:
            start.positions[position.source] = position
    return starts


def _first_position(source: str, log: PartitionLog) -> dict[str, Any]:
    return {
        "source": source,
        "topic": log.topic,
        "partition": log.partition,
        "cluster_id": log.cluster_id,
        "topic_id": log.topic_id,
        "next_offset": log.first_offset,
    }

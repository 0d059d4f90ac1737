"""Deletes that compaction may have removed before a source has read them.

Kafka keeps a tombstone of a compacted topic for `delete.retention.ms`. A source that did not read for longer (its
processes were down, it was paused or halted, its database was restored from a backup) may find a hole in the offsets
where a tombstone was: the document stays visible. A hole is harmless where everything before it was known less than
that time ago. The marker of a transaction is a hole, too, so a topic of a transactional producer that is quiet for long
may be named without need.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from corpus.database import Connection, fetch_all
from corpus.sql import query
from ingest.consume.partition_state import PartitionLog
from ingest.kafka import Cluster, PartitionKey

# Kafka's default, where the topic's own value may not be read.
_DEFAULT_RETENTION_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownDeletes:
    """For how long deletes of one log may be unknown to one source (query `unknown_deletes`)."""

    source: str
    topic: str
    partition: int
    next_offset: int
    unknown_seconds: float | None  # until now; None: not kept yet
    known_until: datetime | None
    hole_seconds: float | None  # until a hole was published; None: there was none
    hole_since: datetime | None

    @property
    def key(self) -> PartitionKey:
        """Of which partition."""
        return PartitionKey(self.topic, self.partition)

    def sentence(self, since: datetime | None) -> str:
        """What a person must know."""
        when = "unknown"
        if since is not None:
            when = since.isoformat(timespec="seconds")
        return (
            f"deletes may be lost since {when} in {self.key}: the topic is compacted, and records were gone before "
            f"they were read; `freshet audit --source {self.source} --repair` compares the corpus with the topic"
        )


def lost_deletes(
    connection: Connection,
    cluster: Cluster,
    sources: Iterable[str],
    logs: Mapping[PartitionKey, PartitionLog],
) -> dict[str, list[str]]:
    """By source, where deletes may be lost; sources without such a place are left out.

    Args:
        connection: to PostgreSQL.
        cluster: of the topics.
        sources: to look at.
        logs: of their partitions, where they are known.

    Raises:
        DependencyError: Kafka does not answer.
    """
    values = {"sources": list(sources)}
    places = fetch_all(connection, class_row(UnknownDeletes), "unknown_deletes", values)
    suspects = [place for place in places if _is_suspect(place, logs)]
    retained = _retained_seconds(cluster, {place.topic for place in suspects})
    sentences: dict[str, list[str]] = {}
    for place in suspects:
        seconds = retained.get(place.topic)
        if seconds is None:
            continue
        sentence = _sentence(place, seconds, cluster)
        if sentence:
            sentences.setdefault(place.source, []).append(sentence)
    return sentences


def _is_suspect(
    place: UnknownDeletes, logs: Mapping[PartitionKey, PartitionLog]
) -> bool:
    """Whether a hole was published, or records wait that may have a hole before them."""
    if place.hole_seconds is not None:
        return True
    log = logs.get(place.key)
    if log is None:
        return False
    is_in_log = log.first_offset <= place.next_offset
    is_behind = place.next_offset < log.next_offset
    return is_in_log and is_behind


def _retained_seconds(cluster: Cluster, topics: Iterable[str]) -> dict[str, float]:
    """How long each of these topics keeps tombstones; those that are not compacted are left out."""
    settings = cluster.topic_settings(topics)
    retained = {
        topic: int(known["delete.retention.ms"]) / 1_000
        for topic, known in settings.answers.items()
        if "compact" in known["cleanup.policy"]
    }
    # Better a warning without need than none.
    unknown = dict.fromkeys(settings.refusals, _DEFAULT_RETENTION_MS / 1_000)
    return retained | unknown


def _sentence(place: UnknownDeletes, retained: float, cluster: Cluster) -> str:
    """What is said of a place; empty where no delete can be lost."""
    hole_seconds = place.hole_seconds or 0
    if hole_seconds > retained:
        return place.sentence(place.hole_since)
    unknown_seconds = place.unknown_seconds or 0
    if unknown_seconds <= retained:
        return ""
    following = cluster.next_record(place.topic, place.partition, place.next_offset)
    if following == place.next_offset:
        return ""
    return place.sentence(place.known_until)


def deletes_reconciled(connection: Connection, source: str, before: datetime) -> None:
    """Note that a source's corpus was compared with its whole topics, and repaired where it differed.

    Args:
        connection: to PostgreSQL.
        source: that was compared.
        before: when the reading of the topics began.
    """
    values = {"source": source, "before": before}
    connection.execute(query("deletes_reconciled"), values)


def compacted_only(cluster: Cluster, topics: Iterable[str]) -> set[str]:
    """Those of the topics that keep the newest record of every key for ever; what is not known is left out.

    Raises:
        DependencyError: Kafka does not answer.
    """
    settings = cluster.topic_settings(topics)
    return {
        topic
        for topic, known in settings.answers.items()
        if known["cleanup.policy"] == "compact"
    }

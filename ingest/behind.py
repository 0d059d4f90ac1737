"""Whether a source is so far behind its topics that what is in the corpus may look older than it is."""

from corpus.database import Connection
from corpus.source import SourceSpec
from ingest.consume.positions import positions_of
from ingest.kafka import Cluster, PartitionKey


def records_that_wait(
    connection: Connection, cluster: Cluster, spec: SourceSpec, before_ms: int
) -> str:
    """Where records of before an instant are not published yet; empty: nowhere.

    Args:
        connection: to PostgreSQL.
        cluster: of the source's topics.
        spec: of the source.
        before_ms: the instant, in epoch milliseconds of Kafka's record times.

    Raises:
        DependencyError: Kafka does not answer.
    """
    topics = cluster.topics(spec.topics).values()
    keys = [
        PartitionKey(topic.topic, number)
        for topic in topics
        for number in range(topic.partitions)
    ]
    published = {
        position.key: position.next_offset
        for position in positions_of(connection, [spec.source])
    }
    first_offsets = cluster.offsets(keys)
    waiting: list[str] = []
    for key, since in cluster.offsets_since(keys, before_ms).items():
        start = published.get(key, first_offsets[key].first_offset)
        if start < since:
            waiting.append(f"{key} has {since - start:,}")
    if not waiting:
        return ""
    return f"{', '.join(waiting)} older records that are not published yet"

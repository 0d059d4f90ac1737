"""Whether records wait that may renew what looks overdue."""

import time
from collections.abc import Callable

from confluent_kafka import Producer

from corpus.database import connect
from corpus.source import SourceSpec
from corpus.sql import query
from ingest.behind import records_that_wait
from ingest.kafka import Cluster

HOUR_MS = 3_600_000


def test_old_records_that_are_not_published_are_named(
    kafka_bootstrap: str, make_topic: Callable[..., str], database_url: str
) -> None:
    topic = make_topic(partitions=2)
    cluster = Cluster(kafka_bootstrap, {})
    spec = SourceSpec(source="s", topics=(topic, "no-such-topic"))
    now_ms = round(time.time() * 1000)
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    for timestamp in (now_ms - HOUR_MS, now_ms - HOUR_MS, now_ms):
        producer.produce(topic, b"value", partition=0, timestamp=timestamp)
    producer.flush(30)
    with connect(database_url) as connection:
        connection.execute(
            b"INSERT INTO freshet.source (source, spec) VALUES ('s', %s::jsonb)",
            ("{}",),
        )

        def waiting(before_ms: int) -> str:
            return records_that_wait(connection, cluster, spec, before_ms)

        before_ms = now_ms - HOUR_MS // 2
        assert waiting(before_ms) == f"{topic}/0 has 2 older records that are not published yet"
        assert waiting(now_ms - 2 * HOUR_MS) == ""
        values = {
            **{"source": "s", "cluster_id": "c", "topic": topic, "topic_id": "t"},
            **{"partition": 0, "next_offset": 1},
        }
        connection.execute(query("begin_position"), values)
        assert "has 1 older" in waiting(before_ms)
        connection.execute(b"UPDATE freshet.source_position SET next_offset = 2")
        # The newest record waits, too, but it came within the time that a source may need.
        assert waiting(before_ms) == ""
        assert "has 1 older" in waiting(now_ms + HOUR_MS)

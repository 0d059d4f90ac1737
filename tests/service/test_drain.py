"""Waiting for many sources, on a real database and broker: what is read at each look, and what ends it."""

import json
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from corpus.database import Connection, connect
from corpus.source import SourceSpec
from corpus.sql import query
from ingest.kafka import Cluster
from workers.drain import drain

STATES = {
    "behind": "active",
    "idle": "active",
    "halted": "halted",
    "paused": "paused",
    "gone": "retired",
}


def add_source(connection: Connection, source: str, topic: str, state: str = "active") -> None:
    spec = SourceSpec(source=source, topics=(topic,))
    connection.execute(
        b"INSERT INTO freshet.source (source, spec, state) VALUES (%s, %s::jsonb, %s)",
        (source, json.dumps(spec.to_json()), state),
    )


def asked(connection: Connection, behind: list[str] | None, source: str | None = None) -> list[str]:
    values = {"source": source, "behind": behind}
    return [row[0] for row in connection.execute(query("drain_state"), values).fetchall()]


def test_a_look_reads_those_behind_and_those_that_have_stopped(database_url: str) -> None:
    with connect(database_url) as connection:
        for name, state in STATES.items():
            add_source(connection, name, "t", state)
        assert asked(connection, None) == ["behind", "halted", "idle", "paused"]
        assert asked(connection, ["behind"]) == ["behind", "halted", "paused"]
        assert asked(connection, ["gone"]) == ["halted", "paused"]
        assert asked(connection, ["idle"], source="idle") == ["idle"]


@pytest.mark.timeout(60)
def test_a_source_that_is_retired_with_its_topic_does_not_end_the_waiting(
    database_url: str, kafka_bootstrap: str, make_topic: Callable[..., str]
) -> None:
    """Another one is behind; it halts at last."""
    topics = make_topic(), make_topic()
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    for topic in topics:
        producer.produce(topic, b"value")
    producer.flush(30)
    cluster = Cluster(kafka_bootstrap, {})
    state = cluster.topics(topics)[topics[0]]
    settings: Any = SimpleNamespace(
        database_url=database_url, kafka_bootstrap=kafka_bootstrap, kafka_properties={}
    )
    with connect(database_url) as connection:
        for name, topic in zip(("done", "slow"), topics, strict=True):
            add_source(connection, name, topic)
        connection.execute(
            b"INSERT INTO freshet.source_position (source, topic, partition, cluster_id, topic_id, next_offset)"
            b" VALUES ('done', %s, 0, %s, %s, 1)",
            (topics[0], cluster.cluster_id(), state.topic_id),
        )
        results: list[dict[str, Any]] = []
        looked = threading.Event()
        waiting = threading.Thread(
            target=lambda: results.append(
                drain(settings, source=None, timeout=30, on_progress=lambda _: looked.set())
            )
        )
        waiting.start()
        assert looked.wait(20)
        connection.execute(b"UPDATE freshet.source SET state = 'retired' WHERE source = 'done'")
        admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
        admin.delete_topics([topics[0]])[topics[0]].result(30)
        waiting.join(5)
        assert waiting.is_alive()
        connection.execute(
            b"UPDATE freshet.source SET state = 'halted', state_reason = 'a gap' WHERE source = 'slow'"
        )
        waiting.join(20)
    [result] = results
    assert result["why"] == "source 'slow' is halted: a gap"

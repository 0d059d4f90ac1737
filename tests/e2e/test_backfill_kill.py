"""kill -9 of the command that begins a backfill, and of each process that works on it: it comes to a fresh ingest."""

import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from confluent_kafka import Producer

from corpus.database import Connection
from tests.bench.converge import drain_patiently
from tests.bench.light_stack import LightStack
from tests.bench.stack import Stack, chaos
from tests.support.polling import wait_until

SEED = 20261126
TOPIC = "notes"
DOCUMENTS = 2_400
_SECONDS = 180.0
_SOURCE = """
[source.%s]
topics = ["notes"]
partitions = 2
format = "json"
model = "all-MiniLM-L6-v2"

[source.%s.mapping]
id = "id"
version = "version"
title = "name"
content = "%s"
"""
_OLD, _NEW = "body", "{body}\\n\\n{note}"
_CHUNKS = b"""
SELECT d.document_id, d.version, d.title, array_agg(c.text ORDER BY place.n)
FROM freshet.document d
CROSS JOIN LATERAL unnest(d.chunk_ids) WITH ORDINALITY AS place (chunk_id, n)
JOIN freshet.chunk c ON c.chunk_id = place.chunk_id AND c.visible_to IS NULL
WHERE d.source = %s AND d.visible_to IS NULL GROUP BY 1, 2, 3
"""
_BACKFILL = (
    b"SELECT state, passed, wanted, gone, error FROM freshet.backfill ORDER BY backfill DESC"
)
_COUNTED = b"""
SELECT sum(records)::integer, count(*) - count(DISTINCT (topic, partition, first_offset))
FROM freshet.batch b JOIN freshet.backfill_part p USING (source, batch)
"""


def row(number: int, version: int = 1) -> dict[str, Any]:
    return {
        "id": f"note-{number}",
        "version": version,
        "name": f"Note {number}",
        "body": f"The body of note {number} in version {version}.",
        "note": f"What was noted beside {number}, in version {version}.",
    }


def produce(stack: Stack, rows: Iterator[dict[str, Any]]) -> None:
    producer = Producer(stack.kafka_client())
    for each in rows:
        producer.produce(TOPIC, json.dumps(each).encode(), key=each["id"].encode())
        producer.poll(0)
    assert producer.flush(30) == 0


def patiently(stack: Stack, look: Callable[[Connection], Any]) -> Any:
    """What the database says, whatever was killed a moment ago."""
    with stack.connect() as connection:
        return look(connection)


def newest(connection: Connection) -> Any:
    return connection.execute(_BACKFILL).fetchone()


def texts(connection: Connection, source: str) -> Mapping[str, Any]:
    rows = connection.execute(_CHUNKS, (source,)).fetchall()
    return {document_id: rest for document_id, *rest in rows}


def kill_command(stack: Stack) -> None:
    """Begin a backfill, and kill its command as soon as the row is there: its workflow may run or not."""
    command = stack.start("backfill", "--source", TOPIC, "--from", "0", "--rate", "250")
    wait_until(lambda: patiently(stack, newest) is not None, _SECONDS, "the backfill has a row")
    command.kill()
    command.wait()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_backfill_goes_on_whatever_is_killed() -> None:
    rng = random.Random(SEED)
    victims = rng.sample(
        ["preparer", "storer", "orchestrator", "consumer", "embedder", "temporal"], 6
    )
    with LightStack() as stack:
        stack.apply(_SOURCE % (TOPIC, TOPIC, _OLD))
        produce(stack, (row(number) for number in range(DOCUMENTS)))
        assert drain_patiently(stack, timeout=_SECONDS)
        stack.apply(_SOURCE % (TOPIC, TOPIC, _NEW))
        kill_command(stack)
        stack.cli("backfill", "resume", TOPIC)
        produce(stack, (row(number, 2) for number in range(0, DOCUMENTS, 40)))
        killed: list[str] = []
        killing = chaos(
            stack, threading.Event(), order=victims, rng=rng, pause=(0.5, 2.0), log=killed
        )
        killing.join(_SECONDS)
        failure = (SEED, killed)

        def has_ended() -> bool:
            return patiently(stack, newest)[0] not in ("running", "paused")

        wait_until(has_ended, _SECONDS, f"the backfill has ended: {failure}")
        assert len(killed) == len(victims), failure
        assert patiently(stack, newest) == ("done", DOCUMENTS, DOCUMENTS, 0, ""), failure
        # Each record is in one part, and each part was published once.
        assert patiently(stack, lambda db: db.execute(_COUNTED).fetchone()) == (DOCUMENTS, 0)
        stack.apply(_SOURCE % (TOPIC, TOPIC, _NEW) + _SOURCE % ("fresh", "fresh", _NEW))
        assert drain_patiently(stack, timeout=_SECONDS), failure
        again, fresh = (patiently(stack, lambda db, s=s: texts(db, s)) for s in (TOPIC, "fresh"))
        assert len(fresh) == DOCUMENTS
        assert again == fresh, failure
        assert "What was noted" in again["note-1"][2][0]

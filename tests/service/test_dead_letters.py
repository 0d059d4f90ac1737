"""Dead letters: to their topic with the reason in headers, and through an operator's hands."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message

from corpus.database import connect, open_pool
from corpus.errors import ConfigurationError
from corpus.preparation import PreparationSpec
from corpus.source import VersionRule
from ingest.dead_letters import outbox as outbox_module
from ingest.dead_letters import redrive
from ingest.dead_letters.first_position import FirstPosition
from ingest.dead_letters.outbox import Outbox
from ingest.dead_letters.waiting import WaitingLetters
from ingest.event import KafkaRecord
from ingest.kafka import MAX_MESSAGE_BYTES, properties
from tests.support.consuming import Bench, bench
from tests.support.pipeline import NOW_MS, Pipeline, make_event

pytestmark = pytest.mark.service
_GROUPS = itertools.count(1)
INSERT_BATCH = """
    INSERT INTO freshet.batch
        (source, batch, kind, state, records, dead_lettered, workflow_id, run_id, staged_at, published_at)
    VALUES (%s, 1, 'ingest', 'published', 3, 3, 'w', 'r', now(), now()) ON CONFLICT DO NOTHING"""
INSERT_DEAD_LETTER = """
    INSERT INTO freshet.dead_letter
        (source, batch, topic, partition, record_offset, reason, detail, key, value, headers)
    VALUES (%s, 1, %s, 0, %s, 'invalid_id', 'id is blank', %s, %s, %s) RETURNING dead_letter"""


@pytest.fixture
def stand(database_url: str, kafka_bootstrap: str, tmp_path: Path) -> Iterator[Bench]:
    with bench(database_url, kafka_bootstrap, tmp_path, f"letters-{next(_GROUPS)}") as made:
        yield made


def add(
    stand: Bench, topic: str, offset: int, value: bytes | None = b"bytes \xff", source: str = "a"
) -> int:
    stand.execute(INSERT_BATCH, source)
    ((number,),) = stand.execute(
        INSERT_DEAD_LETTER,
        source,
        topic,
        offset,
        b"key",
        value,
        json.dumps([["trace", "AQI="], ["none", None]]),
    )
    return int(number)


def read(stand: Bench, topic: str, count: int) -> list[Message]:
    consumer = Consumer(
        {
            "bootstrap.servers": stand.bootstrap,
            "group.id": f"read-{topic}",
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": 100_000_000,
        }
    )
    consumer.subscribe([topic])
    found: list[Message] = []
    end = time.monotonic() + 30
    while len(found) < count and time.monotonic() < end:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append(message)
    consumer.close()
    return found


def test_dead_letters_stand_on_their_topic_with_the_reason_in_headers(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    stand.add_source("a", topic)
    add(stand, topic, 5)
    add(stand, topic, 9, value=None)
    outbox = Outbox(stand.pool, stand.cluster(), properties(stand.bootstrap, {}))
    assert outbox.produce_some() == 2
    assert outbox.produce_some() == 0
    first, second = read(stand, f"{topic}.dead-letters", 2)
    assert (first.key(), first.value(), second.value()) == (b"key", b"bytes \xff", None)
    headers: dict[str, Any] = dict(first.headers() or [])
    assert headers["trace"] == b"\x01\x02"
    assert headers["none"] is None
    assert (headers["freshet.reason"], headers["freshet.detail"], headers["freshet.source"]) == (
        b"invalid_id",
        b"id is blank",
        b"a",
    )
    assert (
        headers["freshet.topic"],
        headers["freshet.partition"],
        headers["freshet.offset"],
        headers["freshet.batch"],
    ) == (
        topic.encode(),
        b"0",
        b"5",
        b"1",
    )


def test_a_value_that_kafka_refuses_becomes_a_pointer(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    stand.add_source("a", topic)
    stand.cluster().create_topic(f"{topic}.dead-letters", 1, {"max.message.bytes": "10000"})
    import random

    number = add(stand, topic, 5, value=random.Random(1).randbytes(50_000))
    outbox = Outbox(stand.pool, stand.cluster(), properties(stand.bootstrap, {}))
    assert outbox.produce_some() == 1
    (pointer,) = read(stand, f"{topic}.dead-letters", 1)
    headers: dict[str, Any] = dict(pointer.headers() or [])
    assert (pointer.value(), headers["freshet.truncated"], headers["freshet.reason"]) == (
        b"",
        str(number).encode(),
        b"invalid_id",
    )


def test_a_topic_that_cannot_be_made_holds_up_its_own_source_only(
    stand: Bench,
    make_topic: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(outbox_module, "_SOURCE_PAUSE_SECONDS", 0.2)
    topic, impossible = make_topic(), "x" * 245  # with `.dead-letters` that is too long
    stand.add_source("a", topic)
    stand.add_source("b", impossible)
    add(stand, topic, 1)
    for offset in range(60):  # more than a round
        add(stand, impossible, offset, source="b")
    add(stand, topic, 2)
    outbox = Outbox(stand.pool, stand.cluster(), properties(stand.bootstrap, {}))
    for _ in range(6):
        outbox.produce_some()
        time.sleep(0.1)
    assert stand.cluster().offsets([(f"{topic}.dead-letters", 0)]) == {
        (f"{topic}.dead-letters", 0): (0, 2)
    }  # each of them once
    waiting = stand.execute(
        "SELECT source, count(*) FROM freshet.dead_letter WHERE produced_at IS NULL GROUP BY source"
    )
    assert waiting == [("b", 60)]
    assert [
        record.getMessage()[:40]
        for record in caplog.records
        if record.name == outbox_module.__name__
    ] == ["dead letters of a source wait: Kafka: cr"]


def test_redriving_sends_the_original_bytes_again_once(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    stand.add_source("a", topic)
    first, second = add(stand, topic, 5), add(stand, topic, 6)
    with connect(stand.url) as connection:
        assert {
            row["dead_letter"]
            for row in redrive.find(connection, redrive.Selection(state="open", source="a"))
        } == {first, second}
        assert redrive.redrive(connection, properties(stand.bootstrap, {}), [first]) == [first]
        assert redrive.redrive(connection, properties(stand.bootstrap, {}), [first]) == []
        assert redrive.settle(connection, [first, second], "discarded") == [second]
        assert redrive.find(connection, redrive.Selection(state="open")) == []
        assert redrive.show(connection, first)["state"] == "redriven"
        with pytest.raises(ConfigurationError, match="no dead letter 999"):
            redrive.show(connection, 999)
    (again,) = read(stand, topic, 1)
    headers: dict[str, Any] = dict(again.headers() or [])
    assert (again.key(), again.value(), headers["trace"]) == (b"key", b"bytes \xff", b"\x01\x02")
    assert headers["freshet.redriven-from"] == f"{topic}/0/5#{first}".encode()
    assert headers["freshet.redriven-timestamp"] == b"none"


def test_what_waits_is_redriven_when_its_time_has_come(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    stand.add_source("a", topic)
    due, later = add(stand, topic, 5), add(stand, topic, 6)
    for number, wait in ((due, "-1 s"), (later, "1 h")):
        stand.execute(
            """INSERT INTO freshet.waiting_fetch
               SELECT %s, 'a', 'h', now(), now() + %s::interval RETURNING dead_letter""",
            number,
            wait,
        )
    with open_pool(stand.url, size=2) as pool:
        letters = WaitingLetters(pool, lambda: properties(stand.bootstrap, {}))
        assert [letters.redrive_some(), letters.redrive_some()] == [1, 0]
    (again,) = read(stand, topic, 1)
    assert dict(again.headers() or [])["freshet.redriven-from"] == f"{topic}/0/5#{due}".encode()
    states = stand.execute("SELECT dead_letter, state FROM freshet.dead_letter ORDER BY 1")
    assert states == [(due, "redriven"), (later, "open")]


def test_redriving_again_tells_the_first_place_and_goes_to_the_same_partition(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(partitions=4)
    stand.add_source("a", topic)
    numbers = []
    for headers in (
        [],
        [["freshet.redriven-from", "dC8yLzMjNA=="], ["freshet.redriven-timestamp", "NQ=="]],
    ):  # t/2/3#4, 5
        numbers.append(add(stand, topic, 7 + len(numbers)))
        stand.execute(
            """UPDATE freshet.dead_letter
               SET partition = 2, headers = %s, record_at = '2026-01-01T00:00:00.123Z' WHERE dead_letter = %s""",
            json.dumps(headers),
            numbers[-1],
        )
    with connect(stand.url) as connection:
        assert redrive.redrive(connection, properties(stand.bootstrap, {}), numbers) == numbers
    again = read(stand, topic, 2)
    assert [message.partition() for message in again] == [2, 2]
    assert [message.headers() for message in again] == [
        [
            ("freshet.redriven-from", f"{topic}/2/7#{numbers[0]}".encode()),
            ("freshet.redriven-timestamp", b"1767225600123"),
        ],
        [
            ("freshet.redriven-from", f"t/2/3#{numbers[1]}".encode()),
            ("freshet.redriven-timestamp", b"5"),
        ],
    ]


def test_redriving_more_than_the_queue_holds(stand: Bench, make_topic: Callable[..., str]) -> None:
    topic = make_topic()
    stand.add_source("a", topic)
    numbers = [add(stand, topic, offset) for offset in range(20)]
    with connect(stand.url) as connection:
        assert (
            redrive.redrive(
                connection,
                {**properties(stand.bootstrap, {}), "queue.buffering.max.messages": 2},
                numbers,
            )
            == numbers
        )


def redriven(pipeline: Pipeline, offset: int) -> KafkaRecord:
    """The dead letter of that offset, as `redrive` sends it, much later."""
    ((number, key, value, headers, at),) = pipeline.connection.execute(
        "SELECT dead_letter, key, value, headers, record_at FROM freshet.dead_letter WHERE record_offset = %s",
        (offset,),
    ).fetchall()
    assert headers == []
    origin = FirstPosition(pipeline.spec.source, 0, offset, round(at.timestamp() * 1000))
    return KafkaRecord(
        topic="",
        partition=0,
        offset=0,
        timestamp_ms=NOW_MS + 86_400_000,
        key=key,
        value=value,
        headers=tuple(origin.headers(number)),
    )


@pytest.mark.parametrize("rule", ["event", "record", "offset"])
def test_a_redriven_event_does_not_replace_a_newer_one_nor_bring_back_a_deleted_document(
    pipeline: Pipeline, rule: str
) -> None:
    pipeline.spec = replace(
        pipeline.spec,
        version_rule=VersionRule(rule),
        pipeline=PreparationSpec(max_document_bytes=1_000),
    )
    pipeline.configure()
    pipeline.ingest(
        make_event("a", None, "old " * 500),
        make_event("b", None, "old " * 500),
        make_event("c", None, "old " * 500),
    )
    pipeline.ingest(make_event("a", None, "new"))
    pipeline.ingest(make_event("b", None, "new"))
    pipeline.ingest(
        KafkaRecord(
            topic="", partition=0, offset=0, timestamp_ms=NOW_MS + 1_000, key=b"b", value=None
        )
    )
    pipeline.spec = replace(pipeline.spec, pipeline=PreparationSpec())
    pipeline.configure()
    report = pipeline.ingest(*(redriven(pipeline, offset) for offset in (0, 1, 2)))
    assert (report.applied, report.superseded) == (1, 2)
    assert {name: text[:3] for name, (_, text) in pipeline.visible().items()} == {
        "a": "new",
        "c": "old",
    }
    ((observed,),) = pipeline.connection.execute(
        "SELECT observed_at FROM freshet.document WHERE document_id = 'c'"
    ).fetchall()
    assert observed <= datetime.fromtimestamp(NOW_MS / 1000 + 1, UTC)


def test_a_redriven_event_with_a_version_is_judged_by_it(pipeline: Pipeline) -> None:
    pipeline.spec = replace(pipeline.spec, pipeline=PreparationSpec(max_document_bytes=1_000))
    pipeline.configure()
    pipeline.ingest(make_event("a", 5, "five " * 500), make_event("b", 5, "five " * 500))
    pipeline.ingest(make_event("a", 4, "four"), make_event("b", 6, "six"))
    pipeline.spec = replace(pipeline.spec, pipeline=PreparationSpec())
    pipeline.configure()
    pipeline.ingest(redriven(pipeline, 0), redriven(pipeline, 1))
    assert {name: version for name, (version, _) in pipeline.visible().items()} == {"a": 5, "b": 6}


def test_the_largest_message_is_sixty_four_megabytes() -> None:
    assert MAX_MESSAGE_BYTES > 64 * 2**20

"""One record that cannot be read, or that is too large to keep, holds up nothing but itself; on a real broker."""

import io
import itertools
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Producer

from compose.local.parts.kafka import Kafka
from corpus.database import connect
from corpus.errors import ConfigurationError
from ingest import kafka_record, operate
from ingest.consume import consumer as consumer_module
from ingest.consume.unreadable import Prober, UnreadableRange
from ingest.kafka import CONSUMER_PROPERTIES, PartitionKey
from tests.support.consuming import Bench, bench
from tests.support.polling import until

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(120)]
_GROUPS = itertools.count(1)
MEGABYTE = 1_000_000
GZIP_MAGIC = b"\x1f\x8b\x08"
Letter = dict[str, Any]


@pytest.fixture
def stand(database_url: str, kafka_bootstrap: str, tmp_path: Path) -> Iterator[Bench]:
    with bench(database_url, kafka_bootstrap, tmp_path, f"unreadable-{next(_GROUPS)}") as made:
        yield made


@pytest.fixture(autouse=True)
def _frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "LOOK_SECONDS", 1.0)


@pytest.fixture
def small_responses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The consumer's limit is lower than in production, so that a test produces less."""
    monkeypatch.setitem(CONSUMER_PROPERTIES, "receive.message.max.bytes", 17_000_000)


def produce(stand: Bench, topic: str, *values: bytes, **options: Any) -> None:
    """Produce values in one record batch."""
    producer = Producer(
        {
            "bootstrap.servers": stand.bootstrap,
            "message.max.bytes": 1_000 * MEGABYTE,
            "batch.size": 1_000 * MEGABYTE,
            "linger.ms": 200,
            **options,
        }
    )
    for value in values:
        producer.produce(topic, value=value, key=b"k")
    assert producer.flush(60) == 0


def event(document_id: str) -> bytes:
    return json.dumps({"id": document_id, "version": 1, "content": "text"}).encode()


def rows(stand: Bench, source: str) -> list[Letter]:
    """What the source was handed over, in the order of the offsets."""
    frames = [
        pl.read_parquet(io.BytesIO((stand.staging / ref.url).read_bytes()))
        for ref in stand.ledger.refs
        if ref.source == source
    ]
    return pl.concat(frames).sort("offset").to_dicts() if frames else []


def damage(server: Kafka, topic: str, mark: bytes, before: int) -> None:
    """Change a byte before a mark in the broker's log; a broker sends what its disk has."""
    log = next(server.home.rglob(f"{topic}-0/*.log"))
    at = log.read_bytes().index(mark) - before
    with log.open("r+b") as file:
        file.seek(at)
        file.write(b"#")


async def halted(stand: Bench, source: str) -> str:
    await until(lambda: stand.state(source)[0] == "halted", seconds=60)
    return stand.state(source)[1] or ""


def skip(stand: Bench, source: str, topic: str, offset: int) -> UnreadableRange:
    """As `freshet source skip` does."""
    key = PartitionKey(topic, 0)
    with connect(stand.url) as connection, Prober({"bootstrap.servers": stand.bootstrap}) as prober:
        position = operate.position_to_skip(connection, source, key, offset)
        found = prober.range_from(key, offset)
        operate.skip_records(connection, position, offset, found.next_offset, "a bomb")
    return found


@pytest.mark.usefixtures("small_responses")
async def test_a_record_batch_that_inflates_beyond_the_limit_halts_its_source_by_name(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    """Nothing is skipped until a person says so, and then no readable record with it."""
    topic, other = make_topic(), make_topic()
    stand.add_source("bombed", topic)
    stand.add_source("calm", other)
    produce(stand, topic, event("before"))
    bomb = bytes(10 * MEGABYTE)
    produce(stand, topic, bomb, bomb, event("inside"), **{"compression.type": "zstd"})
    produce(stand, topic, event("after"))
    async with stand.consumer():
        reason = await halted(stand, "bombed")
        assert f"record at {topic}/0/1 cannot be read: Decompression (codec 0x4)" in reason
        command = f"freshet source skip bombed --topic {topic} --partition 0 --offset 1 --reason"
        assert command in reason
        assert {row["document_id"] for row in rows(stand, "bombed")} <= {"before"}
        stand.produce(other, 5)
        await until(lambda: stand.ledger.records("calm") == 5)
        found = skip(stand, "bombed", topic, 1)
        assert (found.next_offset, "Decompression" in found.why) == (4, True)
        await until(lambda: stand.ledger.records("bombed") == 5, seconds=30)
        assert stand.state("bombed") == ("active", None)
    before, *passed, after = rows(stand, "bombed")
    assert (before["document_id"], after["document_id"]) == ("before", "after")
    assert [row["offset"] for row in passed] == [1, 2, 3]
    for row in passed:
        assert (row["outcome"], row["reason"], row["value"]) == ("dead_letter", "not_read", None)
        assert f"an operator passed it: a bomb; {row['detail']}".endswith(
            f"{topic}/0/{row['offset']}"
        )
    with connect(stand.url) as connection, pytest.raises(ConfigurationError, match="has passed"):
        operate.position_to_skip(connection, "bombed", PartitionKey(topic, 0), 1)


@pytest.mark.usefixtures("small_responses")
async def test_a_record_that_no_answer_can_hold_halts_its_source_and_no_other(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    """The connection ends over it, and the error names no partition."""
    topic, other = make_topic(**{"max.message.bytes": "30000000"}), make_topic()
    stand.add_source("huge", topic)
    stand.add_source("calm", other)
    produce(stand, topic, event("before"))
    produce(stand, topic, random.Random(0).randbytes(18 * MEGABYTE))
    produce(stand, topic, event("after"))
    async with stand.consumer():
        reason = await halted(stand, "huge")
        assert f"record at {topic}/0/1 cannot be read" in reason
        assert "Invalid response size 18" in reason
        stand.produce(other, 5)
        await until(lambda: stand.ledger.records("calm") == 5)
        assert skip(stand, "huge", topic, 1).next_offset == 2
        await until(lambda: stand.ledger.records("huge") == 3, seconds=60)
    _, letter, after = rows(stand, "huge")
    assert (letter["reason"], after["document_id"]) == ("not_read", "after")


NOISE = random.Random(0).randbytes(5_000)  # no codec makes it smaller, so it is not compressed
# What the record batch holds, what is looked for in the log, and how far before that a byte is changed.
DAMAGES = {
    "its compression": (bytes(5_000), GZIP_MAGIC, 0),
    "the length of its record": (NOISE, NOISE[:20], 9),
}


@pytest.mark.parametrize(("value", "mark", "before"), DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_record_batch_is_passed_alone(
    value: bytes,
    mark: bytes,
    before: int,
    stand: Bench,
    make_topic: Callable[..., str],
    kafka_server: Kafka,
) -> None:
    """Of one whose compression is whole, librdkafka says nothing at all."""
    topic = make_topic()
    stand.add_source("damaged", topic)
    produce(stand, topic, event("first"))
    produce(stand, topic, value, **{"compression.type": "gzip"})
    produce(stand, topic, event("third"))
    damage(kafka_server, topic, mark, before)
    async with stand.consumer():
        reason = await halted(stand, "damaged")
        assert f"record at {topic}/0/1 cannot be read: " in reason
        assert {row["document_id"] for row in rows(stand, "damaged")} <= {"first"}
        assert skip(stand, "damaged", topic, 1).next_offset == 2
        await until(lambda: stand.ledger.records("damaged") == 3, seconds=30)
    first, second, third = rows(stand, "damaged")
    assert (first["document_id"], third["document_id"]) == ("first", "third")
    assert (second["reason"], second["value"]) == ("not_read", None)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_a_record_that_inflates_beyond_what_is_kept_is_a_dead_letter_without_bytes(
    codec: str, stand: Bench, make_topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """librdkafka inflates it, as only zstd says before how large it becomes."""
    monkeypatch.setattr(kafka_record, "MAX_MESSAGE_BYTES", 5 * MEGABYTE)
    topic = make_topic()
    stand.add_source("inflated", topic)
    produce(stand, topic, event("before"), bytes(6 * MEGABYTE), **{"compression.type": codec})
    produce(stand, topic, event("after"))
    async with stand.consumer():
        await until(lambda: stand.ledger.records("inflated") == 3)
    before, letter, after = rows(stand, "inflated")
    assert (before["document_id"], after["document_id"]) == ("before", "after")
    kept = (letter["outcome"], letter["reason"], letter["key"], letter["value"])
    assert kept == ("dead_letter", "too_large", None, None)
    assert "the record has 6,000,001 bytes, inflated, more than the 5,000,000" in letter["detail"]
    assert letter["timestamp_ms"] is not None
    assert sum(ref.staged_bytes for ref in stand.ledger.refs) < MEGABYTE


async def test_headers_count_as_what_they_take(
    stand: Bench, make_topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_record, "MAX_MESSAGE_BYTES", 5 * MEGABYTE)
    topic = make_topic(**{"max.message.bytes": "10000000"})
    stand.add_source("many", topic)
    producer = Producer({"bootstrap.servers": stand.bootstrap, "message.max.bytes": 10 * MEGABYTE})
    for count in (1_000, 100_000):
        headers = [(f"h{number}", b"x") for number in range(count)]
        producer.produce(topic, value=event(f"headers-{count}"), key=b"k", headers=headers)
    assert producer.flush(30) == 0
    async with stand.consumer():
        await until(lambda: stand.ledger.records("many") == 2)
    few, letter = rows(stand, "many")
    assert (few["outcome"], letter["outcome"], letter["reason"]) == (
        "event",
        "dead_letter",
        "too_large",
    )

"""A real registry (Apicurio): what Confluent's serializers write is read; while it is down, nothing is lost."""

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from ingest.decode.decoder import decode
from ingest.decode.registry.schemas import RegistryAccess, is_failing, use_registry
from tests.support.apicurio import Apicurio, apicurio
from tests.support.consuming import INSERT_SOURCE, Bench, bench
from tests.support.decoding import changed
from tests.support.polling import until
from tests.support.registered import framed, record, source

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(300)]
_GROUPS = itertools.count(1)
SCHEMA = {
    "type": "record",
    "name": "acme.Doc",
    "fields": [{"name": "id", "type": "string"}, {"name": "body", "type": "string"}],
}
TITLE = {"name": "title", "type": ["null", "string"], "default": None}
NEWER = {**SCHEMA, "fields": [*SCHEMA["fields"], TITLE]}
AUTHOR = 'syntax = "proto3"; package acme; message Author { string name = 1; }'
PROTO = """syntax = "proto3"; package acme; import "author.proto";
message Other { string x = 1; }
message Doc { string id = 1; string body = 2; Author author = 3; }"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apicurio]:
    with apicurio(tmp_path_factory.mktemp("apicurio")) as running:
        yield running


@pytest.fixture
def registry(real: Apicurio) -> Iterator[Apicurio]:
    use_registry(RegistryAccess(url=real.url))
    yield real
    use_registry(None)


@pytest.fixture
def stand(database_url: str, kafka_bootstrap: str, tmp_path: Path) -> Iterator[Bench]:
    group = f"registry-{next(_GROUPS)}"
    with bench(database_url, kafka_bootstrap, tmp_path, group) as made:
        yield made


def serialized(registry: Apicurio, topic: str, schema: Any, value: Any) -> bytes:
    with SchemaRegistryClient({"url": registry.url}) as client:
        serializer = AvroSerializer(client, json.dumps(schema))
        written = serializer(value, SerializationContext(topic, MessageField.VALUE))
    assert written is not None
    return written


def test_confluents_serializer_writes_old_and_new_schemas(registry: Apicurio) -> None:
    old = serialized(registry, "evolving", SCHEMA, {"id": "d1", "body": "old"})
    newer = {"id": "d1", "body": "new", "title": "T"}
    new = serialized(registry, "evolving", NEWER, newer)
    spec = source(mapping={"title": "title?"})
    events = [changed(decode(record(value), spec)) for value in (old, new)]
    assert [event.content for event in events] == ["old", "new"]
    assert [event.title for event in events] == [None, "T"]
    assert old[:5] != new[:5]


def test_protobuf_and_json_schema_are_read(registry: Apicurio) -> None:
    registry.add("author", AUTHOR, "PROTOBUF")
    reference = ("author.proto", "author", 1)
    proto = registry.add("proto-value", PROTO, "PROTOBUF", (reference,))
    payload = b"\x02\x02\x0a\x02d1\x12\x01b\x1a\x03\x0a\x01A"
    event = changed(decode(record(framed(proto, payload)), source("protobuf")))
    assert event.metadata == {"author": {"name": "A"}}
    schema = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    number = registry.add("json-value", json.dumps(schema), "JSON")
    value = framed(number, b'{"id": "d2", "body": "b"}')
    assert changed(decode(record(value), source("json_schema"))).document_id == "d2"


async def test_while_the_registry_is_down_nothing_is_lost_and_others_continue(
    registry: Apicurio, stand: Bench, make_topic: Callable[..., str]
) -> None:
    topic, other = make_topic(), make_topic()
    spec = source(mapping={"title": "title?"}).to_json()
    stand.execute(INSERT_SOURCE, "docs", json.dumps({**spec, "topics": [topic]}))
    stand.add_source("other", other)
    values = [
        serialized(registry, topic, SCHEMA, {"id": f"d{number}", "body": "b"})
        for number in range(20)
    ]
    registry.end()  # its database is a file
    use_registry(RegistryAccess(url=registry.url))  # which knows no schema yet
    produce(stand, topic, [*values, b"no schema"])
    async with stand.consumer():
        await until(is_failing, seconds=60)
        stand.produce(other, 50)
        await until(lambda: stand.ledger.records("other") == 50, seconds=60)
        assert stand.ledger.records("docs") == 0
        assert stand.committed(topic) < 0
        assert stand.state("docs") == ("active", None)
        await asyncio.to_thread(registry.start)
        await until(lambda: stand.ledger.records("docs") == 21, seconds=150)
    assert not is_failing()
    outcomes = staged_outcomes(stand)
    assert outcomes == {"event": 20, "dead_letter": 1}


def produce(stand: Bench, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": stand.bootstrap})
    for number, value in enumerate(values):
        producer.produce(topic, value, key=f"k{number}", partition=0)
    producer.flush(30)


def staged_outcomes(stand: Bench) -> dict[str, int]:
    """How many staged records of the source had which outcome."""
    counts: dict[str, int] = {}
    for ref in stand.ledger.refs:
        if ref.source == "docs":
            for outcome in pl.read_parquet(stand.staging / ref.url)["outcome"]:
                counts[outcome] = counts.get(outcome, 0) + 1
    return counts

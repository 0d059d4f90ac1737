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

from compose.local.checks import make_check
from compose.local.service_checks import SERVICE_CHECKS
from compose.local.state import StackFile, write_stack
from corpus.specs.formats import DebeziumSpec
from ingest.decode.decoder import decode
from ingest.decode.registry.schemas import RegistryAccess, is_failing, use_registry
from tests.support.apicurio import Apicurio, apicurio
from tests.support.commands import CommandLine
from tests.support.consuming import INSERT_SOURCE, Bench, bench
from tests.support.decoding import changed
from tests.support.polling import until
from tests.support.registered import framed, record, source
from workers.config.file import parse

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(300)]
_GROUPS = itertools.count(1)
ADDRESSES = {"kafka_bootstrap": "127.0.0.1:1", "temporal_address": "127.0.0.1:1"}
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


def serialized(registry: Apicurio, topic: str, schema: Any, *values: Any) -> list[bytes]:
    """The values as Confluent's serializer writes them; it asks the registry once for all of them."""
    context = SerializationContext(topic, MessageField.VALUE)
    with SchemaRegistryClient({"url": registry.url}) as client:
        serializer = AvroSerializer(client, json.dumps(schema))
        written = [serializer(value, context) for value in values]
    assert None not in written
    return [value or b"" for value in written]


def test_confluents_serializer_writes_old_and_new_schemas(registry: Apicurio) -> None:
    [old] = serialized(registry, "evolving", SCHEMA, {"id": "d1", "body": "old"})
    newer = {"id": "d1", "body": "new", "title": "T"}
    [new] = serialized(registry, "evolving", NEWER, newer)
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
    events = [{"id": f"d{number}", "body": "b"} for number in range(20)]
    values = serialized(registry, topic, SCHEMA, *events)
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


def test_a_topic_is_tried_by_the_registry(
    registry: Apicurio,
    stand: Bench,
    make_topic: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = make_topic()
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", stand.bootstrap)
    freshet = CommandLine(tmp_path, monkeypatch, capsys)
    events = [{"id": f"d{number}", "body": "Words."} for number in range(3)]
    values = serialized(registry, topic, SCHEMA, *events)
    produce(stand, topic, [*values, framed(2**20, b"\x04d9\x02b")])
    without = freshet("try", "--topic", topic)
    assert without.code == 1
    assert "set FRESHET_SCHEMA_REGISTRY_URL, or give its address as --registry" in without.stdout

    shown = freshet("try", "--topic", topic, "--json", FRESHET_SCHEMA_REGISTRY_URL=registry.url)
    answer = json.loads(shown.stdout)
    assert (shown.code, answer["format"], answer["of_format"]) == (1, "avro", 3)
    assert (answer["counts"]["upsert"], answer["counts"]["dead letter"]) == (3, 1)
    [refused] = [row for row in answer["records"] if row["outcome"] == "dead letter"]
    assert refused["detail"] == f"the schema registry has no schema {2**20}"
    written = freshet("try", "--topic", topic, "--toml", "--registry", registry.url)
    [spec] = parse(written.stdout).sources
    assert (spec.format, spec.mapping.id, spec.mapping.content) == ("avro", "id", "body")

    gone = freshet("try", "--topic", topic, "--registry", "http://127.0.0.1:1")
    assert (gone.code, gone.stderr.count("\n")) == (3, 1), gone.stderr
    assert "the schema registry http://127.0.0.1:1 does not answer" in gone.stderr
    wrong = registry.url.removesuffix("/apis/ccompat/v7")
    other = freshet("try", "--topic", topic, "--registry", wrong)
    assert other.code == 2
    assert "check FRESHET_SCHEMA_REGISTRY_URL" in other.stderr


def test_doctor_names_the_sources_that_need_a_registry(
    stand: Bench, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRESHET_DATABASE_URL", database_url)
    write_stack(tmp_path, StackFile(addresses=ADDRESSES))
    [check] = [each for each in SERVICE_CHECKS if each.name == "schema registry"]
    stand.add_source("other", "other")
    assert make_check(check, tmp_path).observed == "not set, and no source needs one"
    rows = source("debezium", debezium=DebeziumSpec(encoding="avro")).to_json()
    stand.execute(INSERT_SOURCE, "docs", json.dumps(rows))
    result = make_check(check, tmp_path)
    assert (result.ok, result.observed) == (False, "not set, and these sources wait for one: docs")


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

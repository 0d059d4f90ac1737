"""`freshet try` behind a schema registry: what records hold decides, and one that cannot be read has no vote."""

import json
from collections.abc import Iterator, Sequence

import pytest

from corpus.errors import ConfigurationError, DependencyError
from corpus.source import SourceSpec
from ingest.decode.decoder import decode
from ingest.decode.registry.schemas import RegistryAccess, use_registry
from ingest.event import KafkaRecord
from ingest.trial.proposal import proposed_toml
from ingest.trial.topic import Recognised, recognise
from tests.support.decoding import changed
from tests.support.registered import framed, record
from tests.support.registry import RegistryServer, registry_server
from workers.config.file import parse

BODY = "The gauging station at the weir recorded its highest flow of the year."
AVRO = {
    "type": "record",
    "name": "Page",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "body", "type": "string"},
        {"name": "title", "type": ["null", "string"], "default": None},
    ],
}
PROTO = """syntax = "proto3";
message Page { string id = 1; string body = 2; optional string title = 3; }"""
FLAT = {**AVRO, "fields": [*AVRO["fields"], {"name": "__op", "type": "string"}]}
KEY = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "string"}]}
TITLE = b"\x02\x02T"


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with registry_server() as running:
        use_registry(RegistryAccess(url=running.url))
        yield running
        use_registry(None)


def text(words: str) -> bytes:
    """A string, as Avro writes it: its bytes are fewer than 64."""
    written = words.encode()
    assert len(written) < 64
    return bytes([2 * len(written)]) + written


def field(number: int, words: str) -> bytes:
    """A field of a Protobuf message."""
    written = words.encode()
    return bytes([8 * number + 2, len(written)]) + written


def pages(server: RegistryServer, kind: str) -> list[KafkaRecord]:
    """Three pages with an id, a body, and a title in the first."""
    records: list[KafkaRecord] = []
    schemas = {"avro": (AVRO, "AVRO"), "protobuf": (PROTO, "PROTOBUF"), "json_schema": ({}, "JSON")}
    number = server.add(*schemas[kind])
    for n in range(3):
        body = BODY[:60]
        match kind:
            case "avro":
                payload = text(f"p{n}") + text(body) + (b"\0" if n else TITLE)
            case "protobuf":
                payload = b"\0" + field(1, f"p{n}") + field(2, body)
                payload += b"" if n else field(3, "T")
            case _:
                fields = {"id": f"p{n}", "body": body} | ({} if n else {"title": "T"})
                payload = json.dumps(fields).encode()
        records.append(record(framed(number, payload), key=None))
    return records


def proposed(records: Sequence[KafkaRecord]) -> tuple[Recognised, SourceSpec]:
    found = recognise(records, has_registry=True)
    [spec] = parse(proposed_toml("docs", found)).sources
    return found, spec


@pytest.mark.parametrize("kind", ["avro", "protobuf", "json_schema"])
def test_a_mapping_is_proposed_of_what_records_hold(server: RegistryServer, kind: str) -> None:
    records = pages(server, kind)
    found, spec = proposed(records)
    assert (found.format, found.of_format, found.schema_ids) == (kind, 3, ("1",))
    assert (spec.format, spec.mapping.id, spec.mapping.content) == (kind, "id", "body")
    events = [changed(decode(each, spec)) for each in records]
    assert [event.document_id for event in events] == ["p0", "p1", "p2"]
    assert [event.title for event in events] == ["T", None, None]


def test_one_that_cannot_be_read_does_not_stop_the_others(server: RegistryServer) -> None:
    records = [*pages(server, "avro"), record(framed(1, b"\x04p"))]
    records.append(record(framed(77, text("x") * 3)))
    found, _ = proposed(records)
    assert (found.format, found.of_format) == ("avro", 3)
    assert "the schema registry has no schema 77" in found.sentence()
    assert found.schema_ids == ("1", "77")


def test_a_topic_of_unknown_schemas_is_none_that_can_be_read(server: RegistryServer) -> None:
    found = recognise([record(framed(5, text("x") * 3))], has_registry=True)
    assert proposed_toml("docs", found) == ""
    assert "the schema registry has no schema 5" in found.sentence()


def test_rows_of_debezium_are_proposed_with_their_encoding(server: RegistryServer) -> None:
    key, flat = server.add(KEY), server.add(FLAT)
    value = text("p1") + text(BODY[:60]) + TITLE + text("u")
    records = [record(framed(flat, value), key=framed(key, text("p1")))]
    found, spec = proposed(records)
    assert "flattened rows in Avro" in found.sentence()
    assert (spec.format, spec.debezium.encoding, spec.mapping.id) == ("debezium", "avro", None)
    event = changed(decode(records[0], spec))
    assert (event.document_id, event.title) == ("p1", "T")


def test_keys_are_read_by_their_schema(server: RegistryServer) -> None:
    key, value = server.add({"type": "string"}), server.add(AVRO)
    records = [
        record(
            framed(value, text(f"p{n}") + text(BODY[:60]) + TITLE),
            key=framed(key, text(f"p{n}")),
        )
        for n in range(3)
    ]
    found, _ = proposed(records)
    [guess] = [each for each in found.guesses if each.field == "id"]
    assert guess.why == "the same as the record's key in all 3 records"


def test_without_a_registry_the_setting_is_named(server: RegistryServer) -> None:
    found = recognise(pages(server, "avro"))
    assert not found.is_readable
    assert "set FRESHET_SCHEMA_REGISTRY_URL" in found.sentence()


@pytest.mark.parametrize(("status", "error"), [(503, DependencyError), (401, ConfigurationError)])
def test_a_registry_that_refuses_ends_it(
    server: RegistryServer, status: int, error: type[Exception]
) -> None:
    records = pages(server, "avro")
    server.status = status
    with pytest.raises(error, match=f"HTTP {status}"):
        recognise(records, has_registry=True)

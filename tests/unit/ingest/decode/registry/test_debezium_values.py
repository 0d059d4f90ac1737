"""Rows of Debezium whose schemas are in a registry: all that holds of them in JSON, by each of the converters."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from google.protobuf import json_format

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec, VersionRule
from corpus.specs.formats import DebeziumSpec, MappingSpec
from corpus.versions.truncation import UNDECIDED
from ingest.decode.debezium.rows import is_second_half
from ingest.decode.decoder import decode
from ingest.decode.staged_content import read_row
from ingest.event import ChangeEvent, Decoded, Ignored, KafkaRecord, Op
from tests.support.decoding import changed, refused
from tests.support.registered import framed, protobuf_message
from tests.support.registry import RegistryServer

UNAVAILABLE = "__debezium_unavailable_value"
NOW_MS = 1_780_000_000_000
Write = Callable[[RegistryServer, str, Any], bytes]


def spec(encoding: str, **paths: Any) -> SourceSpec:
    debezium: Any = DebeziumSpec(encoding=encoding)  # pyright: ignore[reportArgumentType]
    return SourceSpec(
        source="s",
        topics=("t",),
        format="debezium",
        version_rule=VersionRule.OWN,
        mapping=MappingSpec(**{"content": "body", "title": "title?", **paths}),
        debezium=debezium,
    )


# ── what the converters write ───────────────────────────────────────────────────────────────────────────────────────


def _optional(kind: Any) -> dict[str, Any]:
    return {"type": ["null", kind], "default": None}


_ROW = {
    "type": "record",
    "name": "Value",
    "namespace": "shop.kb.articles",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "title", **_optional("string")},
        {"name": "body", **_optional("string")},
        {"name": "scan", **_optional("bytes")},
        {"name": "counts", **_optional({"type": "array", "items": ["null", "int"]})},
        {
            "name": "price",
            **_optional({"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}),
        },
        {
            "name": "revised_at",
            **_optional({"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"}),
        },
    ],
    "connect.name": "shop.kb.articles.Value",
}
_SOURCE = {
    "type": "record",
    "name": "Source",
    "namespace": "io.debezium.connector.postgresql",
    "fields": [
        {"name": "connector", "type": "string"},
        {"name": "ts_ms", "type": "long"},
        {"name": "lsn", **_optional("long")},
    ],
}
TIME = {"name": "ts_ms", "type": "long"}
_ENVELOPE = {
    "type": "record",
    "name": "Envelope",
    "namespace": "shop.kb.articles",
    "fields": [
        {"name": "before", **_optional(_ROW)},
        {"name": "after", **_optional("Value")},
        {"name": "source", "type": _SOURCE},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", **_optional("long")},
    ],
}
_TRANSACTION = {
    "type": "record",
    "name": "io.debezium.connector.common.TransactionMetadataValue",
    "fields": [
        {"name": "status", "type": "string"},
        {"name": "id", "type": "string"},
        {"name": "event_count", **_optional("long")},
        {"name": "ts_ms", "type": "long"},
    ],
}
_FLAT = {
    **_ROW,
    "fields": [
        *_ROW["fields"],
        {"name": "__op", **_optional("string")},
        {"name": "__lsn", **_optional("long")},
        {"name": "__deleted", **_optional("string")},
    ],
}
_AVRO = {
    "key": {
        "type": "record",
        "name": "shop.kb.articles.Key",
        "fields": [{"name": "id", "type": "long"}],
    },
    "envelope": _ENVELOPE,
    "transaction": _TRANSACTION,
    "heartbeat": {
        "type": "record",
        "name": "io.debezium.connector.common.Heartbeat",
        "fields": [{"name": "ts_ms", "type": "long"}],
    },
    "flat": _FLAT,
    "text": {"type": "string"},
    "mongodb": {
        "type": "record",
        "name": "Envelope",
        "namespace": "kb.pages",
        "fields": [
            {"name": "before", **_optional("string")},
            {"name": "after", **_optional("string")},
            {
                "name": "source",
                "type": {**_SOURCE, "fields": [{"name": "ord", "type": "int"}, TIME]},
            },
            {"name": "op", "type": "string"},
        ],
    },
    "mongodb key": {
        "type": "record",
        "name": "kb.pages.Key",
        "fields": [{"name": "id", "type": "string"}],
    },
    "outbox": {
        "type": "record",
        "name": "outbox.Value",
        "fields": [
            *({"name": name, "type": "string"} for name in ("aggregatetype", "aggregateid")),
            {"name": "payload", "type": "string"},
            {"name": "__op", "type": "string"},
        ],
    },
}
_PROTO = {
    "key": "message Key { int64 id = 1; }",
    "envelope": """message Envelope {
  optional Value before = 1; optional Value after = 2; optional Source source = 3;
  string op = 4; optional int64 ts_ms = 5;
  message Value {
    int64 id = 1; optional string title = 2; optional string body = 3; optional bytes scan = 4;
    repeated int32 counts = 5; optional int64 revised_at = 6;
  }
  message Source { string connector = 1; int64 ts_ms = 2; optional int64 lsn = 3; }
}""",
    "transaction": """message TransactionMetadataValue {
  string status = 1; string id = 2; optional int64 event_count = 3; int64 ts_ms = 4; }""",
    "heartbeat": "message Heartbeat { int64 ts_ms = 1; }",
    "flat": """message Value {
  int64 id = 1; optional string title = 2; optional string body = 3; optional bytes scan = 4;
  repeated int32 counts = 5; optional int64 revised_at = 6;
  optional string __op = 7; optional int64 __lsn = 8; optional string __deleted = 9; }""",
}


def write_avro(server: RegistryServer, name: str, value: Any) -> bytes:
    """As Confluent's AvroConverter."""
    schema = fastavro.parse_schema(json.loads(json.dumps(_AVRO[name])))
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, value)
    return framed(server.add(_AVRO[name]), stream.getvalue())


def write_protobuf(server: RegistryServer, name: str, value: Any) -> bytes:
    """As Confluent's ProtobufConverter with `optional.for.nullables`."""
    text = f'syntax = "proto3";\n{_PROTO[name]}'
    message = protobuf_message(text)()
    json_format.ParseDict(_of_protobuf(value), message)
    return framed(server.add(text, "PROTOBUF"), b"\0" + message.SerializeToString())


def _of_protobuf(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _of_protobuf(each)
            for name, each in value.items()
            if each is not None and name != "price"
        }
    return "AP8=" if isinstance(value, bytes) else value


def write_json(server: RegistryServer, name: str, value: Any) -> bytes:
    """As Confluent's JsonSchemaConverter."""
    text = json.dumps(value, default=lambda _: "AP8=")
    return framed(server.add({"type": ["object", "string"]}, "JSON"), text.encode())


WRITERS: dict[str, Write] = {
    "avro": write_avro,
    "protobuf": write_protobuf,
    "json_schema": write_json,
}
encodings = pytest.mark.parametrize("encoding", WRITERS)


def row(**columns: Any) -> dict[str, Any]:
    empty = {"title": None, "scan": None, "counts": [], "price": None, "revised_at": None}
    return {"id": 7, "body": "text", **empty, **columns}


def envelope(op: str, lsn: int | None = 42, **columns: Any) -> dict[str, Any]:
    """A change of the row."""
    return {
        "before": row(body=None) if op == "d" else None,
        "after": row(**columns) if op in "cur" else None,
        "source": {"connector": "postgresql", "ts_ms": NOW_MS, "lsn": lsn},
        "op": op,
        "ts_ms": NOW_MS,
    }


def sent(server: RegistryServer, encoding: str, name: str, value: Any) -> KafkaRecord:
    """A record, with its key in the same encoding."""
    write = WRITERS[encoding]
    return KafkaRecord(
        topic="t",
        partition=0,
        offset=1,
        timestamp_ms=NOW_MS,
        key=write(server, "key", {"id": 7}),
        value=None if value is None else write(server, name, value),
    )


def rule(decoded: Decoded) -> str:
    assert isinstance(decoded, Ignored), decoded
    return decoded.rule


# ── what they become ────────────────────────────────────────────────────────────────────────────────────────────────


@encodings
@pytest.mark.parametrize("op", ["c", "u", "r"])
def test_a_row_is_a_document(server: RegistryServer, encoding: str, op: str) -> None:
    record = sent(server, encoding, "envelope", envelope(op, title="T"))
    event = changed(decode(record, spec(encoding)))
    assert (event.document_id, event.version, event.content, event.title) == ("7", 42, "text", "T")


@encodings
def test_an_id_may_be_a_path_of_key_and_row(server: RegistryServer, encoding: str) -> None:
    named = spec(encoding, id="article-{id}")
    for name, value in (("envelope", envelope("u")), ("envelope", envelope("d")), ("", None)):
        event = changed(decode(sent(server, encoding, name, value), named))
        assert event.document_id == "article-7"


@encodings
def test_a_deleted_row_and_its_tombstone_are_one(server: RegistryServer, encoding: str) -> None:
    deleted = sent(server, encoding, "envelope", envelope("d", 43))
    tombstone = replace(deleted, value=None)
    source = spec(encoding)
    events = [changed(decode(record, source)) for record in (deleted, tombstone)]
    assert [(event.op, event.document_id) for event in events] == [(Op.DELETE, "7")] * 2
    assert [event.version for event in events] == [43, None]
    assert is_second_half(tombstone, deleted, source)
    updated = replace(sent(server, encoding, "envelope", envelope("u")), key=deleted.key)
    assert not is_second_half(tombstone, updated, source)


@encodings
def test_a_truncated_table_stops_its_source(server: RegistryServer, encoding: str) -> None:
    decoded = decode(sent(server, encoding, "envelope", envelope("t")), spec(encoding))
    assert rule(decoded) == UNDECIDED


@encodings
@pytest.mark.parametrize("count", [None, 1])
def test_what_is_beside_changes_is_ignored(
    server: RegistryServer, encoding: str, count: int | None
) -> None:
    marker = {"status": "BEGIN", "id": "571:1", "event_count": count, "ts_ms": NOW_MS}
    beside = {"transaction": marker, "heartbeat": {"ts_ms": NOW_MS}}
    for name, value in beside.items():
        decoded = decode(sent(server, encoding, name, value), spec(encoding))
        assert rule(decoded) == f"debezium {name}"


@encodings
def test_a_column_that_did_not_change_is_taken_from_before(
    server: RegistryServer, encoding: str
) -> None:
    record = sent(server, encoding, "envelope", envelope("u", body=UNAVAILABLE, title="T"))
    event = changed(decode(record, spec(encoding)))
    assert (event.content, event.unavailable, event.version) == (None, ("body",), 42)
    assert record.value is not None
    read = read_row(spec(encoding), record.key, record.value, "", {"body": "before"})
    assert (read.content, read.columns["body"]) == ("before", "before")


@pytest.mark.parametrize("encoding", ["avro", "json_schema"])
def test_numbers_that_did_not_change_are_recognised(server: RegistryServer, encoding: str) -> None:
    numbers = list(UNAVAILABLE.encode())
    record = sent(server, encoding, "envelope", envelope("u", counts=numbers))
    event = changed(decode(record, spec(encoding, metadata=("counts",))))
    assert event.unavailable == ("counts",)


def test_another_format_refuses_numbers_that_did_not_change(server: RegistryServer) -> None:
    flat = {**row(counts=list(UNAVAILABLE.encode())), "__op": "u", "__lsn": 7, "__deleted": "false"}
    record = sent(server, "avro", "flat", flat)
    source = replace(spec("json", metadata=("counts",)), format="avro")
    dead = refused(decode(record, source), DeadLetterReason.UNAVAILABLE_COLUMN)
    assert "counts" in dead.detail


def test_avros_values_are_plain(server: RegistryServer) -> None:
    columns = {"price": Decimal("12.50"), "scan": b"\0\xff", "revised_at": NOW_MS * 1_000}
    value = envelope("u", **columns)
    metadata = ("price", "scan", "revised_at")
    event = changed(
        decode(sent(server, "avro", "envelope", value), spec("avro", metadata=metadata))
    )
    assert event.metadata == {"price": "12.50", "scan": "AP8=", "revised_at": NOW_MS * 1_000}


@encodings
def test_a_flattened_row_is_a_document(server: RegistryServer, encoding: str) -> None:
    for deleted, op in (("false", Op.UPSERT), ("true", Op.DELETE)):
        value = {**row(), "__op": "u", "__lsn": 44, "__deleted": deleted}
        event = changed(decode(sent(server, encoding, "flat", value), spec(encoding)))
        assert (event.op, event.version, event.document_id) == (op, 44, "7")


@pytest.mark.parametrize("encoding", ["avro", "json_schema"])
def test_an_event_of_an_outbox_is_json_in_a_text(server: RegistryServer, encoding: str) -> None:
    record = sent(server, encoding, "text", '{"body": "of the event"}')
    assert changed(decode(record, spec(encoding))).content == "of the event"


@pytest.mark.parametrize("encoding", ["avro", "json_schema"])
def test_documents_of_mongodb_are_json_in_a_text(server: RegistryServer, encoding: str) -> None:
    after = '{"_id": {"$oid": "5f"}, "body": "text", "n": {"$numberLong": "7"}}'
    value = {"before": None, "after": after, "source": {"ord": 3, "ts_ms": 9_000}, "op": "c"}
    write = WRITERS[encoding]
    record = replace(
        sent(server, encoding, "mongodb", value),
        key=write(server, "mongodb key", {"id": '{"$oid": "5f"}'}),
    )
    event = changed(decode(record, spec(encoding, metadata=("n",))))
    assert (event.document_id, event.content, event.metadata) == ("5f", "text", {"n": 7})
    assert event.version == (9 << 32) + 3


@pytest.mark.parametrize("encoding", ["avro", "json_schema"])
def test_a_row_of_an_outbox_is_its_payload(server: RegistryServer, encoding: str) -> None:
    value = {"aggregatetype": "page", "aggregateid": "p1", "payload": '{"body": "b"}', "__op": "c"}
    record = sent(server, encoding, "outbox", value)
    event = changed(decode(record, spec(encoding, content="payload.body")))
    assert (event.document_id, event.content) == ("p1", "b")


@pytest.mark.parametrize("headers", [True, False])
def test_the_schemas_may_be_in_headers(server: RegistryServer, headers: bool) -> None:
    record = sent(server, "avro", "envelope", envelope("u"))
    assert record.key is not None and record.value is not None
    if headers:
        named = (("__key_schema_id", record.key[:5]), ("__value_schema_id", record.value[:5]))
        record = replace(record, key=record.key[5:], value=record.value[5:], headers=named)
    event = decode(record, spec("avro"))
    assert isinstance(event, ChangeEvent)
    assert (event.document_id, event.content) == ("7", "text")


def test_another_encoding_is_named(server: RegistryServer) -> None:
    record = sent(server, "avro", "envelope", envelope("u"))
    by_json = refused(decode(record, spec("json")), DeadLetterReason.NOT_DECODABLE)
    assert "debezium.encoding says which kind it is" in by_json.detail
    other = refused(decode(record, spec("protobuf")), DeadLetterReason.NOT_DECODABLE)
    assert re.search(r"schema \d+ is AVRO, and the source reads PROTOBUF", other.detail)


def test_a_value_that_is_no_row_is_named(server: RegistryServer) -> None:
    record = sent(server, "avro", "text", "[]")
    assert refused(decode(record, spec("avro")), DeadLetterReason.NOT_DECODABLE)

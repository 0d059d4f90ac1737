"""Avro behind a registry: values, evolution, logical types, hostile schemas and payloads."""

import datetime
import io
import json
import struct
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.dead_letter import DeadLetterReason
from ingest.decode.decoder import decode
from ingest.decode.registry.avro import avro_reader
from ingest.decode.registry.schemas import StoredSchema
from ingest.event import ChangeEvent, Decoded, Op, Undecodable
from tests.support.decoding import changed, refused
from tests.support.inputs import DATA, needs_inputs
from tests.support.registered import framed, record, source
from tests.support.registry import RegistryServer, guid_of

DOC = {
    "type": "record",
    "name": "acme.Doc",
    "fields": [{"name": "id", "type": "string"}, {"name": "body", "type": "string"}],
}
BODY = b"\x04d1\x0ahello"


def written(schema: Any, value: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


def field(kind: Any, name: str = "x") -> dict[str, Any]:
    return {**DOC, "fields": [*DOC["fields"], {"name": name, "type": kind}]}


def unreadable(decoded: Decoded, *words: str) -> Undecodable:
    return refused(decoded, DeadLetterReason.NOT_DECODABLE, *words)


def read(server: RegistryServer, kind: Any, value: Any) -> Any:
    """What a field of a type becomes."""
    schema = field(kind)
    content = written(schema, {"id": "d1", "body": "b", "x": value})
    event = decode(record(framed(server.add(schema), content)), source())
    return changed(event).metadata["x"]


def test_a_value_is_read_by_the_schema_that_its_id_names(server: RegistryServer) -> None:
    event = changed(decode(record(framed(server.add(DOC), BODY)), source()))
    assert (event.document_id, event.content) == ("d1", "hello")


@needs_inputs
def test_a_value_of_confluents_serializer_is_read(server: RegistryServer) -> None:
    wire = DATA / "wire"
    number = server.add((wire / "avro_schema.json").read_text())
    value = (wire / "avro_confluent_wire.bin").read_bytes()
    spec = source(mapping={"updated_at": "updated_at", "acl": "acl"})
    event = changed(decode(record(framed(number, value[5:])), spec))
    assert (event.document_id, event.content, event.acl) == ("d1", "hello", ("hr",))
    assert event.event_at_ms == 1_795_213_843_317


def test_the_schema_may_be_named_in_a_header(server: RegistryServer) -> None:
    number = server.add(DOC)
    by_id = struct.pack(">bI", 0, number)
    by_guid = b"\x01" + UUID(guid_of(number)).bytes
    for name in (by_id, by_guid):
        one = record(BODY, headers=(("__value_schema_id", name),))
        assert changed(decode(one, source())).document_id == "d1"
    assert changed(decode(record(by_guid + BODY), source())).document_id == "d1"


def test_old_and_new_writers_are_read_by_one_mapping(server: RegistryServer) -> None:
    old = server.add(DOC)
    newer = {
        **DOC,
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "text", "type": ["null", "string"]},
            {"name": "title", "type": "string", "default": ""},
        ],
    }
    new = server.add(newer)
    spec = source(mapping={"content": "text || body", "title": "title?"})
    first = changed(decode(record(framed(old, BODY)), spec))
    content = written(newer, {"id": "d1", "text": "hello", "title": "T"})
    second = changed(decode(record(framed(new, content)), spec))
    assert (first.content, first.title) == ("hello", None)
    assert (second.content, second.title) == ("hello", "T")


def test_a_schema_refers_to_others(server: RegistryServer) -> None:
    author = {"type": "record", "name": "acme.Author", "fields": [{"name": "n", "type": "string"}]}
    server.versions["author", 1] = server.add(author)
    number = server.add(field("acme.Author"), references=(("author", 1),))
    event = decode(record(framed(number, BODY + b"\x02A")), source())
    assert changed(event).metadata == {"x": {"n": "A"}}


def test_a_union_of_other_schemas_is_read(server: RegistryServer) -> None:
    for name in ("acme.A", "acme.B"):
        server.versions[name, 1] = server.add({**DOC, "name": name})
    references = (("acme.A", 1), ("acme.B", 1))
    number = server.add(["acme.A", "acme.B"], references=references)
    for branch in (b"\x00", b"\x02"):
        event = changed(decode(record(framed(number, branch + BODY)), source()))
        assert (event.document_id, event.content) == ("d1", "hello")


NOW = datetime.datetime(2026, 11, 26, 12, 0, 0, 123_456, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("kind", "value", "plain"),
    [
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, "12.50", "12.50"),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3},
            "-0.001",
            "-0.001",
        ),
        ({"type": "long", "logicalType": "timestamp-millis"}, NOW, "2026-11-26T12:00:00.123Z"),
        ({"type": "long", "logicalType": "timestamp-micros"}, NOW, "2026-11-26T12:00:00.123456Z"),
        ({"type": "long", "logicalType": "timestamp-millis"}, 2**60, 2**60),
        (
            {"type": "long", "logicalType": "local-timestamp-micros"},
            1,
            "1970-01-01T00:00:00.000001",
        ),
        ({"type": "long", "logicalType": "timestamp-nanos"}, 1, "1970-01-01T00:00:00.000000001Z"),
        ({"type": "int", "logicalType": "date"}, NOW.date(), "2026-11-26"),
        ({"type": "int", "logicalType": "time-millis"}, 1_001, "00:00:01.001"),
        ({"type": "string", "logicalType": "uuid"}, "no uuid", "no uuid"),
        ("bytes", b"\x00\xff", "AP8="),
        ({"type": "fixed", "name": "F", "size": 2}, b"\x00\xff", "AP8="),
        (["null", {"type": "map", "values": "long"}], {"a": 2**62}, {"a": 2**62}),
    ],
    ids=lambda value: str(value)[:30],
)
def test_logical_types_become_plain_values(
    server: RegistryServer, kind: Any, value: Any, plain: Any
) -> None:
    if isinstance(plain, str) and isinstance(kind, dict) and kind.get("logicalType") == "decimal":
        value = Decimal(value)
    assert read(server, kind, value) == plain


def test_a_decimal_keeps_more_digits_than_its_precision(server: RegistryServer) -> None:
    kind = {"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 1}
    number = server.add(field(kind))
    content = BODY + b"\x08" + (123_456).to_bytes(4, "big")
    assert changed(decode(record(framed(number, content)), source())).metadata == {"x": "12345.6"}


@pytest.mark.parametrize(
    "value",
    [BODY[:-1], BODY + b"!", b"", b"\x04\xff\xfe\x0ahello", b"\x03", b"\xff" * 30],
    ids=["short", "long", "empty", "no UTF-8", "negative size", "no number"],
)
def test_an_incompatible_payload_is_a_dead_letter_with_the_id(
    server: RegistryServer, value: bytes
) -> None:
    number = server.add(DOC)
    unreadable(decode(record(framed(number, value)), source()), f"schema {number}")


@pytest.mark.parametrize(
    "value", [b'{"id": 1}', b"\x00\x00", b"\x07abcd", b"\x00\xff\xff\xff\xff1"]
)
def test_a_value_without_a_schema_is_a_dead_letter(server: RegistryServer, value: bytes) -> None:
    unreadable(decode(record(value), source()))
    assert server.questions == []


NODE = {"type": "record", "name": "N", "fields": [{"name": "n", "type": ["null", "N"]}]}
HOSTILE = {
    "no JSON": "{",
    "no schema": {"type": "record", "name": "X"},
    "without end": {"type": "record", "name": "X", "fields": [{"name": "x", "type": "X"}]},
    "a list of nothing": field({"type": "array", "items": "null"}),
    "a map of empty records": field(
        {"type": "array", "items": {"type": "record", "name": "E", "fields": []}}
    ),
    "many nothings": {
        "type": "record",
        "name": "X",
        "fields": [{"name": f"n{i}", "type": "null"} for i in range(101)],
    },
    "deep": json.dumps("string").join(['{"type":"array","items":' * 5_000, "}" * 5_000]),
    "huge": field({"type": "enum", "name": "E", "symbols": ["s" * 1_000_000]}),
    "another one's": field("acme.Nobody"),
    "marked as parsed": {"__fastavro_parsed__": True, "type": "record", "name": "X"},
    "a fixed of no bytes": field(
        {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}
    ),
}


def laughs() -> Any:
    """A short schema of 2^30 values without bytes."""
    inner: Any = {"type": "record", "name": "X0", "fields": [{"name": "f", "type": "null"}]}
    for level in range(1, 30):
        fields = [{"name": "a", "type": inner}, {"name": "b", "type": f"X{level - 1}"}]
        inner = {"type": "record", "name": f"X{level}", "fields": fields}
    return inner


HOSTILE["multiplied"] = laughs()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_is_a_dead_letter_with_the_id(server: RegistryServer, name: str) -> None:
    number = server.add(HOSTILE[name])
    for _ in range(2):
        unreadable(decode(record(framed(number, BODY)), source()), f"schema {number} ")
    asked = [path for path in server.questions if "/ids/" in path]
    assert len(asked) == 1, "a refused schema is not asked for with each record"


def test_nested_records_end_at_a_depth(server: RegistryServer) -> None:
    number = server.add(field(["null", NODE]))
    deep = BODY + b"\x02" * 1_000_000 + b"\x00"
    unreadable(decode(record(framed(number, deep)), source()), "nested too deeply")
    shallow = BODY + b"\x02" * 9 + b"\x00"
    assert changed(decode(record(framed(number, shallow)), source())).document_id == "d1"


ODD = field(
    [
        "null",
        {"type": "map", "values": {"type": "array", "items": ["long", "bytes", NODE]}},
    ]
)


@given(st.binary(max_size=200))
def test_any_payload_is_an_event_or_a_dead_letter(payload: bytes) -> None:
    try:
        avro_reader(StoredSchema("AVRO", json.dumps(ODD), ()))(BODY + payload)
    except Exception as error:
        assert type(error).__name__ == "FieldError"


def test_a_key_may_have_a_schema_of_its_own(server: RegistryServer) -> None:
    number = server.add(DOC)
    keys = {
        framed(server.add('"string"'), b"\x0adoc-1"): "doc-1",
        framed(server.add('"long"'), b"\x54"): "42",
        framed(server.add(field("long")), BODY + b"\x02"): "d1/hello/1",
        b"plain": "plain",
    }
    spec = source(mapping={"id": None})
    for key, name in keys.items():
        assert changed(decode(record(framed(number, BODY), key=key), spec)).document_id == name
        deleted = changed(decode(record(None, key=key), spec))
        assert (deleted.op, deleted.document_id) == (Op.DELETE, name)


def test_the_path_of_the_id_reads_the_key_of_a_tombstone(server: RegistryServer) -> None:
    key = framed(server.add(DOC), BODY)
    assert changed(decode(record(None, key=key), source())).document_id == "d1"
    unreadable(decode(record(None, key=framed(99, BODY)), source()), "no schema 99")


def test_a_value_that_is_no_object_is_a_dead_letter(server: RegistryServer) -> None:
    number = server.add('"string"')
    refusal = unreadable(decode(record(framed(number, b"\x02a")), source()))
    assert refusal.detail == "the value is 'a', not a JSON object"


def test_the_schema_of_another_format_is_a_dead_letter(server: RegistryServer) -> None:
    number = server.add({"type": "object"}, "JSON")
    refusal = unreadable(decode(record(framed(number, b"{}")), source()))
    assert refusal.detail == f"schema {number} is JSON, and the source reads AVRO"


def test_a_field_may_be_the_bytes_of_a_document(server: RegistryServer) -> None:
    schema = field("bytes", "file")
    content = written(schema, {"id": "d1", "body": "b", "file": b"%PDF-1.7 x"})
    spec = source(mapping={"content": None, "content_base64": "file"})
    event = decode(record(framed(server.add(schema), content)), spec)
    assert isinstance(event, ChangeEvent)
    assert event.content == b"%PDF-1.7 x"

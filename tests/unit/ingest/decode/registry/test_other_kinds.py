"""Protobuf and JSON Schema behind a registry."""

import base64
import json
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import given
from hypothesis import strategies as st

from corpus.dead_letter import DeadLetterReason
from ingest.decode.decoder import decode
from ingest.decode.registry.json_schema import json_reader
from ingest.decode.registry.protobuf import protobuf_reader
from ingest.decode.registry.schemas import StoredSchema
from ingest.event import Decoded, Undecodable
from tests.support.decoding import changed, refused
from tests.support.registered import framed, record, source
from tests.support.registry import RegistryServer

PROTO = """
syntax = "proto3";
package acme;
import "author.proto";
import "google/protobuf/timestamp.proto";
import "confluent/type/decimal.proto";
enum State { DRAFT = 0; LIVE = 1; }
message Other { string x = 1; }
message Doc {
  message Inner { string id = 1; string body = 2; }
  string id = 1;
  string body = 2;
  Author author = 3;
  google.protobuf.Timestamp at = 4;
  int64 number = 5;
  bytes raw = 6;
  State state = 7;
  map<string, int32> counts = 8;
  optional string note = 9;
  confluent.type.Decimal price = 10;
  repeated Author readers = 11;
}
"""
AUTHOR = 'syntax = "proto3"; package acme; message Author { string name = 1; }'
SECOND = b"\x02\x02"  # one place: the second message of the file
INNER = b"\x04\x02\x00"
PAYLOAD = (
    b"\x0a\x02d1\x12\x05hello\x1a\x03\x0a\x01A\x22\x02\x08\x01\x28\x80\x80\x80\x80\x80\x80\x80\x80\x40"
    b"\x32\x02\x00\xff\x38\x01\x42\x05\x0a\x01a\x10\x07\x52\x08\x0a\x02\x04\xe2\x10\x09\x18\x02"
)


def unreadable(decoded: Decoded, *words: str) -> Undecodable:
    return refused(decoded, DeadLetterReason.NOT_DECODABLE, *words)


def registered(server: RegistryServer) -> int:
    server.versions["author.proto", 1] = server.add(AUTHOR, "PROTOBUF")
    return server.add(PROTO, "PROTOBUF", references=(("author.proto", 1),))


# ── Protobuf ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_is_a_plain_object(server: RegistryServer) -> None:
    number = registered(server)
    event = changed(decode(record(framed(number, SECOND + PAYLOAD)), source("protobuf")))
    assert (event.document_id, event.content) == ("d1", "hello")
    assert event.metadata == {
        "author": {"name": "A"},
        "at": "1970-01-01T00:00:01Z",
        "number": 2**62,
        "raw": "AP8=",
        "state": "LIVE",
        "counts": {"a": 7},
        "price": "12.50",
        "readers": [],
    }


def test_the_index_names_the_message(server: RegistryServer) -> None:
    number = registered(server)
    inner = changed(
        decode(record(framed(number, INNER + b"\x0a\x01i\x12\x01b")), source("protobuf"))
    )
    assert (inner.document_id, inner.content, inner.metadata) == ("i", "b", {})
    headers = (("__value_schema_id", framed(number, SECOND)),)
    by_header = decode(record(PAYLOAD, headers=headers), source("protobuf"))
    assert changed(by_header).document_id == "d1"


def test_a_descriptor_in_base64_is_a_schema(server: RegistryServer) -> None:
    file = FileDescriptorProto(name="x.proto", syntax="proto3")
    message = file.message_type.add(name="X")
    message.field.add(name="id", number=1, type=9, label=1)
    text = base64.b64encode(file.SerializeToString()).decode()
    number = server.add(text, "PROTOBUF")
    spec = source("protobuf", mapping={"content": "id"})
    event = decode(record(framed(number, b"\x00\x0a\x02d1")), spec)
    assert changed(event).document_id == "d1"


INCOMPATIBLE = {
    SECOND + PAYLOAD[:-1]: "ends too early",
    SECOND + b"\x0a\x02d1\xa2\x06\x01x": "its schema has not",
    b"\x02\x14" + PAYLOAD: "has no message 10",
    b"\x04\x02\x0a" + PAYLOAD: "has no message 1.5",
    b"\x01" + PAYLOAD: "index",
    b"\xfe\xff\xff\xff\x0f": "index",
    b"": "index",
}


def test_an_incompatible_message_is_a_dead_letter_with_the_id(server: RegistryServer) -> None:
    number = registered(server)
    for value, words in INCOMPATIBLE.items():
        decoded = decode(record(framed(number, value)), source("protobuf"))
        unreadable(decoded, f"schema {number}", words)


@pytest.mark.parametrize(
    "text",
    [
        'syntax = "proto3"; message {',
        'syntax = "proto3"; import "/etc/hostname"; message X {}',
        'syntax = "proto3"; import "../../x.proto"; message X {}',
        'syntax = "proto3"; ' + "message X { " * 5_000 + "}" * 5_000,
        "",
    ],
    ids=["syntax", "absolute import", "import above", "deep", "empty"],
)
def test_a_hostile_protobuf_schema_is_a_dead_letter_with_the_id(
    server: RegistryServer, text: str
) -> None:
    number = server.add(text, "PROTOBUF")
    unreadable(decode(record(framed(number, b"\x00")), source("protobuf")), f"schema {number}")


def test_a_reference_names_no_file_of_the_machine(server: RegistryServer) -> None:
    server.versions["../../x.proto", 1] = server.add(AUTHOR, "PROTOBUF")
    number = server.add(AUTHOR, "PROTOBUF", references=(("../../x.proto", 1),))
    unreadable(decode(record(framed(number, b"\x00")), source("protobuf")), "name is none")


def test_any_message_is_an_object_or_a_dead_letter() -> None:
    read = protobuf_reader(StoredSchema("PROTOBUF", PROTO, (("author.proto", AUTHOR),)))

    @given(st.binary(max_size=100))
    def try_one(payload: bytes) -> None:
        try:
            json.dumps(read(SECOND + payload, None, True))
        except Exception as error:
            assert type(error).__name__ == "FieldError"

    try_one()


# ── JSON Schema ─────────────────────────────────────────────────────────────────────────────────────────────────────

SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "n": {"type": "integer", "minimum": 1}},
    "required": ["id"],
}


def json_event(server: RegistryServer, schema: Any, value: bytes, **spec: Any) -> Decoded:
    number = server.add(schema, "JSON")
    return decode(record(framed(number, value)), source("json_schema", **spec))


def test_a_value_that_its_schema_allows_is_read(server: RegistryServer) -> None:
    event = changed(json_event(server, SCHEMA, b'{"id": "d1", "body": "b", "n": 1}'))
    assert (event.document_id, event.content, event.metadata) == ("d1", "b", {"n": 1})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b'{"id": 1}', "/properties/id/type"),
        (b"{}", "/required"),
        (b'{"id": "a", "n": 0}', "/properties/n/minimum"),
        (b'{"id": "a"', "not JSON"),
        (b'{"id": "a", "id": "b"}', "2 times"),
    ],
)
def test_a_value_that_its_schema_refuses_is_a_dead_letter(
    server: RegistryServer, value: bytes, words: str
) -> None:
    unreadable(json_event(server, SCHEMA, value), "schema 1", words)


def test_a_json_schema_refers_to_others(server: RegistryServer) -> None:
    server.versions["name.json", 1] = server.add({"type": "string"}, "JSON")
    schema = {"properties": {"id": {"$ref": "name.json"}}}
    number = server.add(schema, "JSON", references=(("name.json", 1),))
    for value, is_event in ((b'{"id": "d1"}', True), (b'{"id": 7}', False)):
        decoded = decode(
            record(framed(number, value)), source("json_schema", mapping={"content": "id"})
        )
        assert isinstance(decoded, Undecodable) is not is_event


LAUGHS = {
    "$ref": "#/$defs/d0",
    "$defs": {
        "d40": {"type": "object"},
        **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)},
    },
}


@pytest.mark.parametrize(
    "schema",
    [
        "{",
        "7",
        {"type": "nothing"},
        {"$ref": "http://127.0.0.1:9/x.json"},
        LAUGHS,
        '{"not":' * 50_000 + "{}" + "}" * 50_000,
        {"description": "x" * 1_000_001},
    ],
    ids=["no JSON", "no schema", "unknown type", "remote", "multiplied", "deep", "huge"],
)
def test_a_hostile_json_schema_is_a_dead_letter_with_the_id(
    server: RegistryServer, schema: Any
) -> None:
    unreadable(json_event(server, schema, b"{}"), "schema 1")


def test_a_pattern_takes_linear_time() -> None:
    schema = StoredSchema("JSON", json.dumps({"pattern": "^(a+)+$"}), ())
    with pytest.raises(Exception, match="/pattern"):
        json_reader(schema)(b'"' + b"a" * 50_000 + b'b"', (), "t")

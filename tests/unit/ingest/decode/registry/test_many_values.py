"""A few bytes do not become gigabytes, whatever their schema is; what is large of itself is read."""

import io
import json
from itertools import pairwise
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decode.fields import FieldError
from ingest.decode.registry import avro_limits
from ingest.decode.registry.avro import avro_reader
from ingest.decode.registry.protobuf import protobuf_reader
from ingest.decode.registry.schemas import StoredSchema


def avro(schema: Any, *references: tuple[str, str]) -> Any:
    return avro_reader(StoredSchema("AVRO", json.dumps(schema), references))


def chain(length: int) -> tuple[tuple[str, str], ...]:
    """Records in one another; the innermost has a truth value, which takes a byte."""
    names = ["boolean", *(f"T{number}" for number in range(length))]
    return tuple(
        (
            name,
            json.dumps({"type": "record", "name": name, "fields": [{"name": "f", "type": inner}]}),
        )
        for inner, name in pairwise(names)
    )


def count(items: int) -> bytes:
    """A number as Avro writes it."""
    value = 2 * items
    written = b""
    while value > 127:
        written += bytes([value & 127 | 128])
        value >>= 7
    return written + bytes([value])


def in_array(inner: Any) -> Any:
    return {"type": "array", "items": inner}


TREE = {
    "type": "record",
    "name": "N",
    "fields": [{"name": "x", "type": "T49"}, {"name": "n", "type": in_array("N")}],
}
ITEMS = 100_000
MANY: dict[str, tuple[Any, bytes]] = {
    "records in one another": (in_array("T49"), count(ITEMS) + b"\1" * ITEMS + b"\0"),
    "a block with a size": (
        in_array("T49"),
        b"\xbf\x9a\x0c" + count(ITEMS) + b"\1" * ITEMS + b"\0",
    ),
    "of a union": (in_array(["null", "T49"]), count(ITEMS) + b"\2\1" * ITEMS + b"\0"),
    "in a map": (
        {"type": "map", "values": "T49"},
        count(ITEMS) + b"".join(b"\6%03x\1" % (n % 4096) for n in range(ITEMS)) + b"\0",
    ),
    "lists in lists": (in_array(in_array("T49")), count(ITEMS) + b"\2\1\0" * ITEMS + b"\0"),
    "a tree": (TREE, b"\1" + count(ITEMS) + b"\1\0" * ITEMS + b"\0"),
}


@pytest.mark.parametrize("name", MANY)
def test_a_small_avro_payload_does_not_become_large(name: str) -> None:
    schema, payload = MANY[name]
    read = avro(schema, *chain(50))
    with pytest.raises(FieldError, match="more than 1,000,000 values"):
        read(payload)


WIDE = {
    "type": "record",
    "name": "W",
    "fields": [
        {"name": f"f{number}", "type": ["null", "string", {"type": "long"}]} for number in range(20)
    ],
}
LARGE: dict[str, tuple[Any, Any]] = {
    "numbers": (in_array("long"), [1] * 500_000),
    "texts": (in_array("string"), ["a text of some words"] * 100_000),
    "records": (
        in_array(WIDE),
        [{f"f{number}": "words" for number in range(20)} for _ in range(5_000)],
    ),
    "one text": ("string", "x" * 5_000_000),
    "few": (in_array("T49"), None),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_is_large_of_itself_is_read(name: str) -> None:
    schema, value = LARGE[name]
    if name == "few":
        assert len(avro(schema, *chain(50))(count(1_000) + b"\1" * 1_000 + b"\0")) == 1_000
        return
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    assert avro(schema)(stream.getvalue()) == value


@pytest.mark.parametrize(
    "start",
    [
        b"\xff" * 9 + b"\x01\x02",
        b"\xfe" + b"\xff" * 8 + b"\x01\x02",
        b"\xff" * 60 + b"\x01\x02",
        b"\x01" * 50,
    ],
    ids=["a negative count", "a huge count", "a number without end", "blocks that are too short"],
)
def test_a_count_that_is_none_is_the_payloads_fault(start: bytes) -> None:
    for schema in (in_array("long"), {"type": "map", "values": "long"}):
        with pytest.raises(FieldError):
            avro(schema)(start)


def values_in(value: Any) -> int:
    """As they are counted, at most."""
    if isinstance(value, dict):
        return 5 + len(value) + sum(values_in(each) for each in value.values())
    if isinstance(value, list):
        return 5 + sum(values_in(each) for each in value)
    return 1


SIMPLE = st.sampled_from(["null", "boolean", "long", "string", "double", "T9"])
SCHEMAS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        inner.map(in_array),
        inner.map(lambda kind: {"type": "map", "values": kind}),
        inner.map(
            lambda kind: ["null", kind] if isinstance(kind, str) and kind != "null" else kind
        ),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda kinds: {
                "type": "record",
                "name": "R",
                "fields": [{"name": f"f{n}", "type": kind} for n, kind in enumerate(kinds)],
            }
        ),
    ),
    max_leaves=5,
)


@given(SCHEMAS, st.binary(max_size=400))
def test_no_payload_becomes_more_values_than_there_may_be(schema: Any, payload: bytes) -> None:
    most = 600
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(avro_limits, "MAX_VALUES", most)
        patch.setattr(avro_limits, "_MAX_ONCE", 100)
        try:
            read = avro(_renamed(schema), *chain(10))
        except FieldError:
            return
        for size in range(0, len(payload) + 1, 40):
            try:
                value = read(payload[:size])
            except FieldError:
                continue
            assert values_in(value) <= most


def _renamed(schema: Any) -> Any:
    """The schema with a name of its own for each record."""
    numbers = iter(range(1_000))

    def renamed(part: Any) -> Any:
        if isinstance(part, list):
            return [renamed(each) for each in part]
        if not isinstance(part, dict):
            return part
        named = {name: renamed(each) for name, each in part.items()}
        return named | {"name": f"R{next(numbers)}"} if "fields" in part else named

    return renamed(schema)


PROTO = """
syntax = "proto2";
message Doc {
  message Empty {}
  repeated Empty empty = 1;
  repeated bool truth = 2 [packed = true];
  repeated group Nothing = 3 {}
  map<int32, Empty> named = 4;
}
"""
HALF = 600_000
PROTOBUF: dict[str, bytes] = {
    "empty messages": b"\x0a\x00" * 2 * HALF,
    "packed": b"\x12" + b"\xc0\x9f\x49" + b"\1" * 1_200_064,
    "groups": b"\x1b\x1c" * 2 * HALF,
}


@pytest.mark.parametrize("name", PROTOBUF)
def test_a_protobuf_payload_of_many_values_is_refused(name: str) -> None:
    read = protobuf_reader(StoredSchema("PROTOBUF", PROTO, ()))
    with pytest.raises(FieldError, match="more than 1,000,000 values"):
        read(PROTOBUF[name], b"\0", False)
    assert read(b"\x0a\x00" * 3 + b"\x12\x02\1\0", b"\0", False)["empty"] == [{}] * 3

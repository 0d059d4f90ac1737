"""A number that stands for no branch of a union, or no symbol of an enum, is no value, whatever its sign."""

import io
import json
from functools import cache
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decode.fields import FieldError
from ingest.decode.registry.avro import avro_reader
from ingest.decode.registry.schemas import StoredSchema

READERS = {"type": "enum", "name": "Readers", "symbols": ["board", "staff", "everyone"]}
UNION = ["null", "int", "string"]
REST = b"\x02" * 200


def record_of(*kinds: Any) -> dict[str, Any]:
    fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(kinds)]
    return {"type": "record", "name": "R", "fields": fields}


def linked(kind: Any) -> dict[str, Any]:
    """A record that may contain itself, which is read by Python code."""
    fields = [{"name": "own", "type": kind}, {"name": "next", "type": ["null", "N"]}]
    return {"type": "record", "name": "N", "fields": fields}


def of_references(schema: Any) -> tuple[tuple[str, str], ...]:
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": schema}]}
    return (("inner", json.dumps(inner)),)


# By place: the schema, the schemas that it refers to, and what is before the number.
PLACES: dict[str, tuple[Any, tuple[tuple[str, str], ...], bytes]] = {
    "union": (record_of("string", UNION), (), b"\x02a"),
    "enum": (record_of(READERS), (), b""),
    "enum in a union": (record_of(["null", READERS]), (), b"\x02"),
    "union in a list": (record_of({"type": "array", "items": UNION}), (), b"\x04\x00"),
    "enum in a list": (record_of({"type": "array", "items": READERS}), (), b"\x02"),
    "union in a map": (record_of({"type": "map", "values": UNION}), (), b"\x02\x02k"),
    "enum by its name": (record_of(READERS, "Readers"), (), b"\x00"),
    "record in a record": (record_of({**record_of(UNION), "name": "Q"}), (), b""),
    "type around a type": (record_of({"type": READERS}), (), b""),
    "root union": (UNION, (), b""),
    "root enum": (READERS, (), b""),
    "root list": ({"type": "array", "items": UNION}, (), b"\x02"),
    "root map": ({"type": "map", "values": READERS}, (), b"\x02\x02k"),
    "union in Python code": (linked(UNION), (), b""),
    "enum in Python code": (linked(READERS), (), b""),
    "link in Python code": (linked("int"), (), b"\x02"),
    "union of a reference": (record_of("Inner"), of_references(UNION), b""),
    "enum of a reference": ("Inner", of_references(READERS), b""),
}


@cache
def reader(name: str) -> Any:
    schema, references, _ = PLACES[name]
    return avro_reader(StoredSchema("AVRO", json.dumps(schema), references))


def number_bytes(number: int) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, "long", number)  # pyright: ignore[reportArgumentType]
    return stream.getvalue()


@pytest.mark.parametrize("name", PLACES)
@given(number=st.integers(-4, -1) | st.integers(-(2**63), -1) | st.integers(3, 2**63 - 1))
def test_a_number_beyond_its_schema_is_no_value(name: str, number: int) -> None:
    before = PLACES[name][2]
    with pytest.raises(FieldError, match="it has a number beyond its schema"):
        reader(name)(before + number_bytes(number) + REST)


@pytest.mark.parametrize("name", PLACES)
def test_it_is_none_also_where_it_is_the_last_byte(name: str) -> None:
    with pytest.raises(FieldError, match="it has a number beyond its schema"):
        reader(name)(PLACES[name][2] + b"\x01")


def test_all_others_are_read() -> None:
    kinds = [
        UNION,
        READERS,
        {"type": "array", "items": UNION},
        {"type": "map", "values": "Readers"},
    ]
    schema = record_of(*kinds)
    value = {"f0": "x", "f1": "everyone", "f2": [None, 7, "y", None], "f3": {"k": "board"}}
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    read = avro_reader(StoredSchema("AVRO", json.dumps(schema), ()))
    assert read(stream.getvalue()) == value
    nested = {"own": "staff", "next": {"own": "board", "next": None}}
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(linked(READERS)), nested)
    assert reader("enum in Python code")(stream.getvalue()) == nested
    for name, payload, expected in (
        ("root union", b"\x04\x02a", "a"),
        ("root enum", b"\x04", "everyone"),
        ("root list", b"\x04\x00\x02\x0e\x00", [None, 7]),
        ("enum of a reference", b"\x02", {"x": "staff"}),
    ):
        assert reader(name)(payload) == expected

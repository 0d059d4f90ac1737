"""What a dead letter says outside the database holds no text of the record, in any format."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dead_letter import without_quote
from corpus.source import SourceSpec
from corpus.specs.formats import DebeziumSpec
from ingest.decode.decoder import decode
from ingest.event import KafkaRecord, Undecodable
from tests.support.registered import framed, record, source
from tests.support.registry import RegistryServer

CANARY = "Zq7KanarienvogelX9w"
RUN = 6  # characters of it that are none by chance
MAPPING = {
    "id": "id",
    "content": "body?",
    "version": "version?",
    "acl": "acl?",
    "updated_at": "updated_at?",
    "expires_at": "expires_at?",
    "content_type": "content_type?",
    "title": "{title}",
    "metadata": ("*",),
    "deleted_when": ("deleted? = true",),
}
NAMES = [
    *("id", "body", "version", "acl", "updated_at", "expires_at", "content_type", "title"),
    *("deleted", "op", "before", "after", "source", "schema", "payload", "content", "metadata"),
    *("specversion", "type", "subject", "time", "data", "data_base64", "datacontenttype"),
    *("content_base64", "content_url", "content_sha256", "language", "uri", CANARY),
]
AVRO = {
    "type": "record",
    "name": "acme.Doc",
    "fields": [
        {"name": "id", "type": ["string", "null", "bytes"]},
        {"name": "body", "type": {"type": "map", "values": ["string", "long"]}},
    ],
}
JSON_SCHEMAS: tuple[Any, ...] = (
    {"type": "object"},
    {"properties": {name: {"type": "integer"} for name in NAMES[:8]}},
    {"additionalProperties": {"items": {"type": "string"}, "maxLength": 3}},
    {"patternProperties": {"^.*K": False}, "propertyNames": {"maxLength": 12}},
)
PROTO = """
syntax = "proto3";
message Doc { string id = 1; map<string, string> body = 2; bytes version = 3; repeated Doc acl = 4; }
"""
REGISTERED = ("avro", "protobuf", "json_schema")

# Where the canary can be: as it is, and in pieces around it that parsers stop at.
TEXTS = st.sampled_from(
    [CANARY, f"{CANARY}'", f'"{CANARY}', f"it is {CANARY}; it must be", f"\u0000{CANARY}", "a", "c"]
)
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), TEXTS, st.sampled_from(["1.0", "u"]))
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    ),
    max_leaves=12,
)
RAW = st.one_of(TEXTS.map(str.encode), st.binary(max_size=6))


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """JSON with the canary, perhaps damaged; or pieces that have it."""
    if draw(st.integers(0, 3)) == 0:
        return b"".join(_with_length(piece) for piece in draw(st.lists(RAW, max_size=5)))
    written = json.dumps(draw(VALUES)).encode()
    if draw(st.booleans()):
        return written
    place = draw(st.integers(0, len(written)))
    return written[:place] + draw(RAW) + written[place + draw(st.integers(0, 5)) :]


def _with_length(piece: bytes) -> bytes:
    """As Avro writes a text; 0x0a is a field of Protobuf, too."""
    return bytes([2 * len(piece) & 0x7F]) + piece + b"\x0a" + bytes([len(piece)]) + piece


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["content-type", "content-encoding", "ce_specversion", "ce_type", "ce_time", CANARY]
        ),
        st.one_of(
            RAW,
            st.sampled_from([b"1.0", f"text/html; charset={CANARY}".encode(), b"image/png"]),
        ),
    ),
    max_size=2,
).map(tuple)


def outside(one: KafkaRecord, spec: SourceSpec) -> tuple[str, str]:
    """A dead letter's detail, and what is said of it outside; empty: it is none."""
    decoded = decode(one, spec)
    if not isinstance(decoded, Undecodable):
        return "", ""
    return decoded.detail, without_quote(decoded.detail)


def runs(text: str) -> list[str]:
    """Pieces of the canary in a text."""
    pieces = (CANARY[start : start + RUN] for start in range(len(CANARY) - RUN + 1))
    return [piece for piece in pieces if piece in text]


def spec_of(name: str) -> SourceSpec:
    name, _, encoding = name.partition(" ")
    mapped = name not in ("native", "text")
    if not mapped:
        return SourceSpec(source="docs", topics=("docs",), format=name)  # type: ignore[arg-type]
    debezium = DebeziumSpec(encoding=encoding) if encoding else DebeziumSpec()  # type: ignore[arg-type]
    return source(name, mapping=MAPPING, debezium=debezium)


def schemas(server: RegistryServer, name: str) -> list[int]:
    """Those that a record of a format names."""
    adds: dict[str, Callable[[], list[int]]] = {
        "avro": lambda: [server.add(AVRO)],
        "protobuf": lambda: [server.add(PROTO, "PROTOBUF")],
        "json_schema": lambda: [server.add(one, "JSON") for one in JSON_SCHEMAS],
    }
    kind = name.split(" ")[-1]
    return adds[kind]() if kind in adds else []


@pytest.mark.parametrize(
    "name",
    [
        *("native", "text", "json", "debezium", "cloudevents"),
        *REGISTERED,
        *(f"debezium {kind}" for kind in REGISTERED),
    ],
)
def test_no_text_of_a_record_leaves_the_database(server: RegistryServer, name: str) -> None:
    spec = spec_of(name)
    numbers = schemas(server, name)
    framing = st.sampled_from([None, *numbers]) if numbers else st.none()

    @settings(max_examples=40, deadline=None)
    @given(payloads(), RAW, HEADERS, framing)
    def try_one(value: bytes, key: bytes, headers: Any, number: int | None) -> None:
        content = value if number is None else framed(number, b"\0" + value)
        if number is not None and "proto" not in name:
            content = framed(number, value)
        _, said = outside(record(content, key, headers), spec)
        assert runs(said) == []

    try_one()


@pytest.mark.parametrize(
    "value",
    [
        f'{{"id": 1, "x": "{CANARY}" x "body": "b"}}',
        f'"{CANARY}"',
        f'["{CANARY}"]',
        f'{{"id": {{"x": "{CANARY}"}}}}',
    ],
    ids=["damaged", "a text", "a list", "an id"],
)
@pytest.mark.parametrize("name", ["json", "json_schema", "debezium json_schema"])
def test_a_quote_is_left_out(server: RegistryServer, name: str, value: str) -> None:
    number = server.add({}, "JSON")
    content = value.encode() if name == "json" else framed(number, value.encode())
    kept, said = outside(record(content), spec_of(name))
    assert runs(kept)
    assert runs(said) == []
    assert "(a value)" in said


def test_names_of_fields_that_debezium_left_out_are_a_quote() -> None:
    value = json.dumps({"id": "a", CANARY: "__debezium_unavailable_value"}).encode()
    kept, said = outside(record(value), source("json", mapping={"content": "id"}))
    assert runs(kept)
    assert runs(said) == []

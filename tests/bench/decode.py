"""Rates at which records of each format are decoded, beside `native`, in one run.

Every format carries the same document. The formats take turns, so that a slow moment of the machine is one of all, and
each counts with the least processor time of its turns. A further format is a line in `_cases`. The schemas of what is
behind a registry are read once, before the first turn.
"""

import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import fastavro

from corpus.source import SourceSpec, VersionRule
from corpus.specs.formats import DebeziumSpec, MappingSpec
from ingest.decode.decoder import decode
from ingest.decode.registry.schemas import RegistryAccess, use_registry
from ingest.event import ChangeEvent, KafkaRecord
from tests.support.debezium import read_fixture
from tests.support.inputs import DATA
from tests.support.registered import framed, protobuf_message
from tests.support.registry import RegistryServer, registry_server

TURNS = 100
RECORDS = 200  # per turn: short, so that each format has some turns that nothing else disturbs
GOAL = 0.5  # of native, for these
GOAL_OF = ("debezium", "avro")
_AT_MS = 1_780_000_000_000
_TEXT = "The gauging station at the weir recorded its highest flow of the year. " * 34  # 2.4 KB
_ROW = {
    "id": 1,
    "title": "Levels at the weir",
    "body": _TEXT,
    "acl": ["hydrology"],
    "updated_at": "2026-01-02T08:00:00Z",
}
_NATIVE = {
    **{name: value for name, value in _ROW.items() if name != "body"},
    "content": _TEXT,
    "version": 3,
}
_MAPPING = MappingSpec(content="body", title="title", acl="acl", updated_at="updated_at")
_WITH_ALL = replace(_MAPPING, content="{title}\n\n{body}", metadata=("*",))
_ROW_EVENT = {
    "before": None,
    "after": _ROW,
    "source": {
        "version": "3.6.1.Final",
        "connector": "postgresql",
        "name": "shop",
        "ts_ms": _AT_MS,
        "snapshot": "false",
        "db": "shop",
        "sequence": '["29566856","29566912"]',
        "ts_us": _AT_MS * 1_000,
        "ts_ns": _AT_MS * 1_000_000,
        "schema": "kb",
        "table": "articles",
        "txId": 766,
        "lsn": 29_566_912,
        "xmin": None,
    },
    "transaction": None,
    "op": "u",
    "ts_ms": _AT_MS,
    "ts_us": _AT_MS * 1_000,
    "ts_ns": _AT_MS * 1_000_000,
}
_FLAT = _ROW | {"__op": "u", "__lsn": 29_566_912, "__deleted": "false"}
_ATTRIBUTES = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/levels",
    "type": "org.example.level.changed",
    "time": "2026-01-02T08:00:00Z",
    "subject": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How one format has the document."""

    spec: SourceSpec
    record: KafkaRecord


def run() -> dict[str, Any]:
    """Measure."""
    with registry_server() as server:
        use_registry(RegistryAccess(url=server.url))
        cases = _cases() | _registered_cases(server)
        result = _measured(cases)
        use_registry(None)
    return result


def _measured(cases: Mapping[str, Case]) -> dict[str, Any]:
    seconds = dict.fromkeys(cases, float("inf"))
    for _ in range(TURNS):
        for name, case in cases.items():
            seconds[name] = min(seconds[name], _seconds(case))
    native = seconds["native"]
    formats = {
        name: {
            "bytes": len(cases[name].record.value or b""),
            "records per second": round(1 / each),
            "of native": round(native / each, 2),
        }
        for name, each in seconds.items()
    }
    holds = all(native / seconds[name] >= GOAL for name in GOAL_OF)
    return {"holds": holds, "formats": formats}


def _seconds(case: Case) -> float:
    """Processor time per record."""
    decoded = decode(case.record, case.spec)
    assert isinstance(decoded, ChangeEvent), decoded
    assert decoded.content is not None
    began = time.process_time()
    for _ in range(RECORDS):
        decode(case.record, case.spec)
    return (time.process_time() - began) / RECORDS


def _cases() -> dict[str, Case]:
    event = {**_ATTRIBUTES, "datacontenttype": "application/json", "data": _ROW}
    structured = {"content-type": "application/cloudevents+json"}
    binary = {f"ce_{name}": value for name, value in _ATTRIBUTES.items()}
    binary["content-type"] = "application/json"
    return {
        "native": _case("native", MappingSpec(), _NATIVE),
        "json": _case("json", _MAPPING, _ROW),
        "json, a template and *": _case("json", _WITH_ALL, _ROW),
        "debezium": _case("debezium", _MAPPING, _ROW_EVENT),
        "debezium, with its schema": _case("debezium", _MAPPING, _with_schema(_ROW_EVENT)),
        "debezium, flattened": _case("debezium", _MAPPING, _FLAT),
        "cloudevents, structured": _case("cloudevents", _MAPPING, event, structured),
        "cloudevents, binary": _case("cloudevents", _MAPPING, _ROW, binary),
    }


_AVRO_ROW: Any = {
    "type": "record",
    "name": "Row",
    "fields": [
        {"name": "id", "type": "long"},
        *({"name": name, "type": "string"} for name in ("title", "body", "updated_at")),
        {"name": "acl", "type": {"type": "array", "items": "string"}},
    ],
}
_PROTO_ROW = """syntax = "proto3";
message Row { int64 id = 1; string title = 2; string body = 3; repeated string acl = 4; string updated_at = 5; }"""
_JSON_ROW: Any = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        **{name: {"type": "string"} for name in ("title", "body", "updated_at")},
        "acl": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["id", "title", "body"],
}


def _avro_of(value: Any) -> Any:
    """A schema of Avro for a value as a converter makes it: what is null may be a text."""
    match value:
        case dict():
            fields = cast("dict[str, Any]", value).items()
            named = [{"name": name, "type": _avro_of(each)} for name, each in fields]
            return {"type": "record", "name": f"R{len(named)}", "fields": named}
        case list():
            return _AVRO_ROW["fields"][-1]["type"]
        case int():
            return ["null", "long"]
        case _:
            return ["null", "string"]


def _registered_cases(server: RegistryServer) -> dict[str, Case]:
    avro = _avro(server, _AVRO_ROW, _ROW)
    message = protobuf_message(_PROTO_ROW)(**_ROW)
    protobuf = framed(server.add(_PROTO_ROW, "PROTOBUF"), b"\0" + message.SerializeToString())
    json_schema = framed(server.add(_JSON_ROW, "JSON"), json.dumps(_ROW).encode())
    event = _avro(server, _avro_of(_ROW_EVENT), _ROW_EVENT)
    change = DebeziumSpec(encoding="avro")
    return {
        "avro": _case("avro", _MAPPING, avro),
        "protobuf": _case("protobuf", _MAPPING, protobuf),
        "json_schema": _case("json_schema", _MAPPING, json_schema),
        "debezium, in Avro": _case("debezium", _MAPPING, event, debezium=change),
    }


def _avro(server: RegistryServer, schema: Any, value: Any) -> bytes:
    stream = io.BytesIO()
    parsed = fastavro.parse_schema(json.loads(json.dumps(schema)))
    fastavro.schemaless_writer(stream, parsed, value)
    return framed(server.add(schema), stream.getvalue())


def _case(
    form: Any,
    mapping: MappingSpec,
    value: Mapping[str, Any] | bytes,
    headers: Mapping[str, str] | None = None,
    **parts: Any,
) -> Case:
    rule = VersionRule.OWN if form == "debezium" else VersionRule.EVENT
    spec = SourceSpec(
        source="s", topics=("t",), format=form, mapping=mapping, version_rule=rule, **parts
    )
    written = value if isinstance(value, bytes) else json.dumps(value).encode()
    record = KafkaRecord(
        topic="t",
        partition=0,
        offset=1,
        timestamp_ms=_AT_MS,
        key=b'{"id":1}',
        value=written,
        headers=tuple((name, text.encode()) for name, text in (headers or {}).items()),
    )
    return Case(spec=spec, record=record)


def _with_schema(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The value behind a schema that a real Debezium wrote for another table of as many columns."""
    path = DATA / "wire" / "debezium" / "dbzs.kb.notes.jsonl"
    if not path.exists():
        raise SystemExit(f"{path} is missing; set FRESHET_DATA to the folder of the real inputs")
    written = next(record for record in read_fixture(path) if record.value is not None)
    schema = json.loads(written.value or b"")["schema"]
    return {"schema": schema, "payload": payload}

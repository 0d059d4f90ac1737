"""The example of formats: each of its records becomes what it says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.source import SourceSpec
from ingest.decode.decoder import decode
from ingest.decode.registry.schemas import RegistryAccess, use_registry
from ingest.decode.registry.values import Reading, read_part
from ingest.event import ChangeEvent, Ignored, KafkaRecord, Op, Undecodable
from tests.support.registry import RegistryServer, registry_server
from workers.config.file import parse

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "formats"
SOURCES: dict[str, SourceSpec] = {
    spec.source: spec for spec in parse((FOLDER / "freshet.toml").read_text()).sources
}
RECORDS = [json.loads(line) for line in (FOLDER / "records.jsonl").read_text().splitlines()]
SCHEMAS = [json.loads(line) for line in (FOLDER / "schemas.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module", autouse=True)
def registry() -> Iterator[RegistryServer]:
    """A registry that has the schemas of the example."""
    with registry_server() as running:
        for schema in SCHEMAS:
            assert running.add(schema["schema"], schema["kind"]) == schema["id"]
        use_registry(RegistryAccess(url=running.url))
        yield running
        use_registry(None)


def _bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, str):
        return value if value is None else value.encode()
    return json.dumps(value).encode()


def _written(example: dict[str, Any], name: str, binary: str) -> bytes | None:
    """A key or a value: as hex, where the file has it so."""
    if binary in example:
        return bytes.fromhex(example[binary])
    return _bytes(example.get(name))


def _record(example: dict[str, Any], offset: int) -> KafkaRecord:
    headers = example.get("headers", {}).items()
    return KafkaRecord(
        topic=SOURCES[example["source"]].topics[0],
        partition=0,
        offset=offset,
        timestamp_ms=1_767_225_600_000,
        key=_written(example, "key", "key_hex"),
        value=_written(example, "value", "hex"),
        headers=tuple((name, text.encode()) for name, text in headers),
    )


def _what_it_becomes(event: ChangeEvent) -> dict[str, Any]:
    if event.op is Op.DELETE:
        return {"id": event.document_id, "version": event.version, "deleted": True}
    became = {
        "id": event.document_id,
        "version": event.version,
        "content": event.content,
        "content_url": event.content_url,
        "title": event.title,
        "uri": event.uri,
        "content_type": event.content_type,
        "acl": None if event.acl is None else list(event.acl),
        "language": event.stated_language,
        "metadata": event.metadata or None,
    }
    return {name: value for name, value in became.items() if value is not None}


@pytest.mark.parametrize("number", range(len(RECORDS)))
def test_a_record_becomes_what_it_says(number: int) -> None:
    example = RECORDS[number]
    expected = dict(example["becomes"])
    decoded = decode(_record(example, number), SOURCES[example["source"]])
    if isinstance(decoded, Undecodable):
        assert decoded.detail == expected.get("dead_letter"), expected
    elif isinstance(decoded, Ignored):
        assert decoded.rule == expected.get("ignored"), expected
    else:
        expected.setdefault("version", decoded.version)
        assert _what_it_becomes(decoded) == expected


@pytest.mark.parametrize("number", range(len(RECORDS)))
def test_bytes_are_what_is_written_beside_them(number: int) -> None:
    example = RECORDS[number]
    record = _record(example, number)
    if "key_hex" in example:
        assert read_part(record, "key", record.key or b"", Reading()) == example["key"]
    if "schema" in example and "dead_letter" not in example["becomes"]:
        assert read_part(record, "value", record.value or b"", Reading()) == example["value"]


def test_every_schema_is_of_a_record() -> None:
    used = {int(example["hex"][2:10], 16) for example in RECORDS if "schema" in example}
    used |= {int(example["key_hex"][2:10], 16) for example in RECORDS if "key_hex" in example}
    assert used == {schema["id"] for schema in SCHEMAS}


def test_every_source_has_records() -> None:
    assert {example["source"] for example in RECORDS} == set(SOURCES)

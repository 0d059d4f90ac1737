"""The example of formats: each of its records becomes what it says."""

import json
from pathlib import Path
from typing import Any

import pytest

from corpus.source import SourceSpec
from ingest.decode.decoder import decode
from ingest.event import ChangeEvent, Ignored, KafkaRecord, Op, Undecodable
from workers.config.file import parse

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "formats"
SOURCES: dict[str, SourceSpec] = {
    spec.source: spec for spec in parse((FOLDER / "freshet.toml").read_text()).sources
}
RECORDS = [json.loads(line) for line in (FOLDER / "records.jsonl").read_text().splitlines()]


def _bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, str):
        return value if value is None else value.encode()
    return json.dumps(value).encode()


def _record(example: dict[str, Any], offset: int) -> KafkaRecord:
    value = bytes.fromhex(example["hex"]) if "hex" in example else _bytes(example["value"])
    headers = example.get("headers", {}).items()
    return KafkaRecord(
        topic=SOURCES[example["source"]].topics[0],
        partition=0,
        offset=offset,
        timestamp_ms=1_767_225_600_000,
        key=_bytes(example.get("key")),
        value=value,
        headers=tuple((name, text.encode()) for name, text in headers),
    )


def _what_it_becomes(event: ChangeEvent) -> dict[str, Any]:
    if event.op is Op.DELETE:
        return {"id": event.document_id, "version": event.version, "deleted": True}
    became = {
        "id": event.document_id,
        "version": event.version,
        "content": event.content,
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


def test_every_source_has_records() -> None:
    assert {example["source"] for example in RECORDS} == set(SOURCES)

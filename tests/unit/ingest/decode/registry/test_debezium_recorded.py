"""What a real Debezium 3.6.1 wrote with Apicurio's converter to Avro, in Confluent's wire format.

`debezium_avro.jsonl` has the schemas of the registry, then records of `make debezium ARGS='--encoding avro'`.
"""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from corpus.source import SourceSpec, VersionRule
from corpus.specs.formats import DebeziumSpec, MappingSpec
from corpus.versions.truncation import UNDECIDED
from ingest.decode.debezium.rows import SECOND_HALF
from ingest.decode.registry.schemas import RegistryAccess, use_registry
from ingest.event import KafkaRecord
from ingest.stage import row_of
from ingest.trial.proposal import proposed_toml
from ingest.trial.topic import recognise
from tests.support.registry import RegistryServer, registry_server
from workers.config.file import parse

LINES = [
    json.loads(line)
    for line in Path(__file__).with_name("debezium_avro.jsonl").read_text().splitlines()
]
SPEC = SourceSpec(
    source="s",
    topics=("shop.kb.articles",),
    format="debezium",
    version_rule=VersionRule.OWN,
    mapping=MappingSpec(content="body", title="title", updated_at="revised_at"),
    debezium=DebeziumSpec(encoding="avro"),
)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def _record(line: dict[str, Any]) -> KafkaRecord:
    return KafkaRecord(
        topic=line["topic"],
        partition=0,
        offset=line["offset"],
        timestamp_ms=line["ts"],
        key=_bytes(line["key"]),
        value=_bytes(line["value"]),
        headers=tuple((name, value.encode()) for name, value in line["headers"]),
    )


RECORDS = [_record(line) for line in LINES if "topic" in line]


@pytest.fixture(autouse=True)
def registry() -> Iterator[RegistryServer]:
    with registry_server() as running:
        for line in LINES:
            if "schema" in line:
                assert running.add(line["schema"]) == line["id"]
        use_registry(RegistryAccess(url=running.url))
        yield running
        use_registry(None)


# What happens, the document, its version; columns that did not change, the document that it was before.
EXPECTED: list[tuple[Any, ...]] = [
    ("upsert", "52", 36463832, (), None),
    ("upsert", "48", 37347848, (), None),
    ("upsert", "23", 36625832, (), None),
    ("upsert", "112", 36463888, ("body",), None),
    ("delete", "83", 36474288, (), None),
    (SECOND_HALF, None, None, (), None),
    ("delete", "74", 36524440, (), None),
    (SECOND_HALF, None, None, (), None),
    ("upsert", "90", 36524440, ("body",), "74"),
    (UNDECIDED, None, 97100488, (), None),
    ("debezium transaction", None, None, (), None),
    ("debezium transaction", None, None, (), None),
    ("debezium heartbeat", None, None, (), None),
]


def test_each_record_is_what_the_table_says() -> None:
    seen: list[tuple[Any, ...]] = []
    for before, record in pairwise([None, *RECORDS]):
        assert record is not None
        now_ms = record.timestamp_ms or 0
        row = row_of(record, SPEC, before, topic_id="t", now_ms=now_ms)
        what = row.get("op") or row.get("reason")
        left_out = tuple(row.get("unavailable") or ())
        named = (row.get("document_id"), row.get("version"))
        seen.append((what, *named, left_out, row.get("previous_id")))
    assert seen == EXPECTED


def test_the_table_is_recognised() -> None:
    found = recognise(RECORDS, has_registry=True)
    assert found.schema_ids == ("2", "6", "4")
    assert list(found.forms) == [
        "envelope in Avro",
        "no value (deletes)",
        "markers of transactions",
        "envelope in Avro; a truncated table",
        "heartbeats",
    ]
    [spec] = parse(proposed_toml("shop.kb.articles", found)).sources
    assert (spec.format, spec.debezium.encoding) == ("debezium", "avro")
    assert (spec.mapping.id, spec.mapping.content) == (None, "body")

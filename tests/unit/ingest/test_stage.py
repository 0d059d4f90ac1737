"""A staged file holds exactly the columns that the preparation reads."""

import io
import json
from pathlib import Path

import polars as pl

from corpus.source import SourceSpec
from corpus.staging import EVENT_COLUMNS
from corpus.store import StagingStore
from ingest.event import KafkaRecord
from ingest.stage import EVENT_SCHEMA, OffsetRange, parquet, stage

SPEC = SourceSpec(source="s", topics=("t",))
RANGE = OffsetRange(cluster_id="c", topic="t", topic_id="i", partition=2, first_offset=10, next_offset=15, epoch=3)


def records() -> list[KafkaRecord]:
    values = [json.dumps({"id": "a", "content": "text", "version": 4, "acl": ["x"], "metadata": {"k": "é"}}).encode(), b"{broken", None]
    return [
        KafkaRecord(topic="t", partition=2, offset=10 + number, timestamp_ms=1, key=b"a", value=value, headers=(("h", b"\xff"), ("n", None)))
        for number, value in enumerate(values)
    ]


def test_staged_rows(tmp_path: Path) -> None:
    store = StagingStore(tmp_path.as_uri())
    ref = stage(records(), SPEC, RANGE, store)
    frame = pl.read_parquet(io.BytesIO(store.get(ref)))
    assert tuple(frame.columns) == EVENT_COLUMNS
    assert frame["outcome"].to_list() == ["event", "dead_letter", "event"]
    assert frame["op"].to_list() == ["upsert", None, "delete"]
    assert frame["version"].to_list() == [4, None, None]
    assert frame["reason"].to_list() == [None, "not_decodable", None]
    assert frame["value"].to_list() == [record.value for record in records()]
    assert frame["metadata"][0] == '{"k":"é"}'
    assert json.loads(frame["headers"][1]) == [["h", "/w=="], ["n", None]]
    assert (ref.records, ref.first_offset, ref.next_offset, ref.epoch, ref.partition) == (3, 10, 15, 3, 2)
    assert ref.staged_bytes == sum(len(record.value or b"") for record in records())


def test_the_same_records_are_the_same_file(tmp_path: Path) -> None:
    store = StagingStore(tmp_path.as_uri())
    assert stage(records(), SPEC, RANGE, store).url == stage(records(), SPEC, RANGE, store).url


def test_an_empty_file_has_the_schema() -> None:
    assert dict(pl.read_parquet(io.BytesIO(parquet([]))).schema) == EVENT_SCHEMA

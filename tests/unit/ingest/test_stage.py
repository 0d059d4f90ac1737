"""A staged file holds exactly the columns that the preparation reads."""

import dataclasses
import io
import json
from pathlib import Path
from random import Random
from typing import cast

import polars as pl
import pytest

import ingest.stage as stage_module
from corpus.source import SourceSpec
from corpus.staging.layout import EVENT_COLUMNS
from corpus.staging.store import StagingStore
from ingest.event import ChangeEvent, Decoded, KafkaRecord
from ingest.stage import EVENT_SCHEMA, OffsetRange, parquet, stage

SPEC = SourceSpec(source="s", topics=("t",))
RANGE = OffsetRange(
    cluster_id="c", topic="t", topic_id="i", partition=2, first_offset=10, next_offset=15, epoch=3
)


def records() -> list[KafkaRecord]:
    values = [
        json.dumps(
            {"id": "a", "content": "text", "version": 4, "acl": ["x"], "metadata": {"k": "é"}}
        ).encode(),
        b"{broken",
        None,
    ]
    return [
        KafkaRecord(
            topic="t",
            partition=2,
            offset=10 + number,
            timestamp_ms=1,
            key=b"a",
            value=value,
            headers=(("h", b"\xff"), ("n", None)),
        )
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
    assert (ref.records, ref.first_offset, ref.next_offset, ref.epoch, ref.partition) == (
        3,
        10,
        15,
        3,
        2,
    )
    assert ref.staged_bytes == sum(len(record.value or b"") for record in records())


def test_the_same_records_are_the_same_file(tmp_path: Path) -> None:
    store = StagingStore(tmp_path.as_uri())
    assert stage(records(), SPEC, RANGE, store).url == stage(records(), SPEC, RANGE, store).url


def test_an_empty_file_has_the_schema() -> None:
    assert dict(pl.read_parquet(io.BytesIO(parquet([]))).schema) == EVENT_SCHEMA


def staged(values: list[bytes], store: StagingStore) -> pl.DataFrame:
    made = [
        KafkaRecord(topic="t", partition=2, offset=number, timestamp_ms=1, key=b"a", value=value)
        for number, value in enumerate(values)
    ]
    return pl.read_parquet(io.BytesIO(store.get(stage(made, SPEC, RANGE, store))))


def test_a_bad_byte_in_metadata_costs_a_character(tmp_path: Path) -> None:
    value = '{"id":"a","version":1,"content":"x","metadata":{"author":"José"}}'.encode("latin-1")
    frame = staged([value], StagingStore(tmp_path.as_uri()))
    assert (frame["outcome"].to_list(), frame["metadata"].to_list()) == (
        ["event"],
        ['{"author":"Jos\ufffd"}'],
    )


def test_a_record_that_our_code_fails_on_is_a_dead_letter_and_the_others_are_staged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stage_module.decode

    def mistaken(record: KafkaRecord, spec: SourceSpec) -> Decoded:
        event = real(record, spec)
        if record.offset == 1:
            raise ZeroDivisionError("a mistake")
        if record.offset == 2:
            return dataclasses.replace(cast(ChangeEvent, event), title="half \udc00", version=2**70)
        return event

    monkeypatch.setattr(stage_module, "decode", mistaken)
    frame = staged([b'{"id":"a","version":1,"content":"x"}'] * 4, StagingStore(tmp_path.as_uri()))
    assert frame["outcome"].to_list() == ["event", "dead_letter", "dead_letter", "event"]
    assert "ZeroDivisionError: 'a mistake'" in frame["detail"][1]
    assert frame["value"].null_count() == 0


def test_records_with_flipped_bytes_are_always_staged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is done to an event, staging raises nothing and finds no mistake of its own."""
    random, store = Random(7), StagingStore(tmp_path.as_uri())
    whole = {
        "id": "a",
        "version": 1,
        "content": "x y",
        "title": "é",
        "uri": "u",
        "acl": ["x"],
        "updated_at": 1e9,
        "metadata": {"k": ["é", {"n": 1.5}]},
    }
    events = [json.dumps(whole, ensure_ascii=ascii).encode() for ascii in (True, False)]
    trouble = [
        b"\xff",
        b"\xe9",
        b"\xed\xa0\x80",
        b"\xed\xb0\x80",
        b"\\ud800",
        b"\\u0000",
        b"\x00",
        b'"',
        b"{",
        b"9" * 30,
        b"1e999",
        b"\xc0\x80",
        b"\xf5",
    ]
    for _ in range(40):
        values = []
        for _ in range(100):
            value = bytearray(random.choice(events))
            for _ in range(random.randint(1, 3)):
                at = random.randrange(len(value))
                value[at : at + random.randint(0, 2)] = random.choice(
                    [*trouble, random.randbytes(1)]
                )
            values.append(bytes(value))
        assert len(staged(values, store)) == 100
    assert not caplog.records

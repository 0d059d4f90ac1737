"""A staged file holds exactly the columns that the preparation reads, whatever the records hold."""

import base64
import dataclasses
import io
import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, cast

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ingest.stage as stage_module
from corpus.errors import DependencyError
from corpus.source import SourceSpec, VersionRule, record_version
from corpus.specs.formats import MappingSpec
from corpus.staging.frames import read_frame, schema_of
from corpus.staging.layout import STAGED_EVENTS
from corpus.staging.store import StagingStore
from corpus.versions.truncation import Decision, Truncation
from ingest.dead_letters.first_position import FirstPosition
from ingest.event import ChangeEvent, Decoded, Ignored, KafkaRecord
from ingest.stage import OffsetRange, headers_json, parquet, rows_of, stage

SPEC = SourceSpec(source="s", topics=("t",))
RANGE = OffsetRange(
    cluster_id="c", topic="t", topic_id="i", partition=2, first_offset=10, next_offset=15, epoch=3
)


@pytest.fixture
def store(tmp_path: Path) -> StagingStore:
    return StagingStore(tmp_path.as_uri())


def kafka_record(
    offset: int, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...] = ()
) -> KafkaRecord:
    return KafkaRecord(
        topic="t",
        partition=2,
        offset=offset,
        timestamp_ms=1,
        key=b"a",
        value=value,
        headers=headers,
    )


def records() -> list[KafkaRecord]:
    event = {"id": "a", "content": "text", "version": 4, "acl": ["x"], "metadata": {"k": "é"}}
    headers = (("h", b"\xff"), ("n", None))
    values = [json.dumps(event).encode(), b"{broken", None]
    return [kafka_record(10 + number, value, headers) for number, value in enumerate(values)]


def staged(values: list[bytes], store: StagingStore) -> pl.DataFrame:
    made = [kafka_record(number, value) for number, value in enumerate(values)]
    return read_frame(store, stage(made, SPEC, RANGE, store), STAGED_EVENTS)


def test_staged_rows(store: StagingStore) -> None:
    ref = stage(records(), SPEC, RANGE, store)
    frame = read_frame(store, ref, STAGED_EVENTS)
    assert frame["outcome"].to_list() == ["event", "dead_letter", "event"]
    assert frame["op"].to_list() == ["upsert", None, "delete"]
    assert frame["version"].to_list() == [4, None, None]
    assert frame["reason"].to_list() == [None, "not_decodable", None]
    assert frame["value"].to_list() == [record.value for record in records()]
    assert frame["acl"].to_list() == [["x"], None, None]
    assert frame["metadata"].to_list() == ['{"k":"é"}', None, "{}"]
    assert json.loads(frame["headers"][1]) == [["h", "/w=="], ["n", None]]


def test_the_reference_describes_the_file(store: StagingStore) -> None:
    ref = stage(records(), SPEC, RANGE, store)
    expected = dataclasses.asdict(RANGE) | {"source": "s", "records": 3}
    assert {name: getattr(ref, name) for name in expected} == expected
    assert ref.staged_bytes == sum(len(record.value or b"") for record in records())
    assert ref.url.startswith("events/s/t/2/10-15-")
    assert ref.url in store.names("events")


def test_the_same_records_are_the_same_file(store: StagingStore) -> None:
    assert stage(records(), SPEC, RANGE, store).url == stage(records(), SPEC, RANGE, store).url


def test_an_empty_file_has_the_schema() -> None:
    assert pl.read_parquet(io.BytesIO(parquet([]))).schema == schema_of(STAGED_EVENTS)


def test_no_records_are_a_file_too(store: StagingStore) -> None:
    """A range may consist of holes that Kafka left; the position has to move over it."""
    assert staged([], store).is_empty()


def test_an_ignored_record_keeps_its_rule(
    store: StagingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_module, "decode", lambda *_: Ignored(rule="schema change event"))
    frame = staged([b"x"], store)
    assert frame.row(0, named=True) == {
        **dict.fromkeys(frame.columns),
        "topic": "t",
        "partition": 2,
        "offset": 0,
        "timestamp_ms": 1,
        "outcome": "ignored",
        "reason": "schema change event",
        "key": b"a",
        "value": b"x",
        "headers": "[]",
    }


def test_a_bad_byte_in_metadata_costs_a_character(store: StagingStore) -> None:
    value = '{"id":"a","version":1,"content":"x","metadata":{"author":"José"}}'.encode("latin-1")
    frame = staged([value], store)
    assert frame["outcome"].to_list() == ["event"]
    assert frame["metadata"].to_list() == ['{"author":"Jos\ufffd"}']


def test_a_store_that_refuses_the_file_is_not_a_dead_letter(store: StagingStore) -> None:
    class Full:
        def put(self, name: str, content: bytes, *, rows: int) -> Any:
            raise DependencyError("no space left")

    with pytest.raises(DependencyError, match="no space left"):
        stage(records(), SPEC, RANGE, Full())


@pytest.mark.parametrize("function", ["decode", "parquet"])
def test_a_lack_of_memory_is_not_a_dead_letter(
    function: str, store: StagingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends, and another attempt stages the records."""

    def fail(*_: object) -> Any:
        raise MemoryError

    monkeypatch.setattr(stage_module, function, fail)
    with pytest.raises(MemoryError):
        stage(records(), SPEC, RANGE, store)


def test_a_record_that_our_code_fails_on_is_a_dead_letter_and_the_others_are_staged(
    store: StagingStore, monkeypatch: pytest.MonkeyPatch
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
    frame = staged([b'{"id":"a","version":1,"content":"x"}'] * 4, store)
    assert frame["outcome"].to_list() == ["event", "dead_letter", "dead_letter", "event"]
    assert "ZeroDivisionError in " in frame["detail"][1]
    assert frame["value"].null_count() == 0


NAMES = st.text(max_size=10)
HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=10)), max_size=4)


@given(HEADERS)
def test_headers_come_back_without_nul(headers: list[tuple[str, bytes | None]]) -> None:
    """PostgreSQL's jsonb stores no U+0000."""
    text = headers_json(headers)
    assert "\\u0000" not in text
    read = [
        (name, None if value is None else base64.b64decode(value))
        for name, value in json.loads(text)
    ]
    assert read == [(name.replace("\x00", ""), value) for name, value in headers]


def test_records_with_flipped_bytes_are_always_staged(
    store: StagingStore, caplog: pytest.LogCaptureFixture
) -> None:
    """However the bytes of an event change, staging raises nothing and finds no mistake of its own."""
    random = Random(7)
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


# ── rows of a table ─────────────────────────────────────────────────────────────────────────────────────────────────

TABLE = SourceSpec(
    source="s",
    topics=("t",),
    format="debezium",
    version_rule=VersionRule.RECORD,
    mapping=MappingSpec(id="id", content="text"),
)


def change(op: str, lsn: int, after: Any = None) -> bytes:
    before = {"id": 1} if op == "d" else None
    return json.dumps({"op": op, "before": before, "after": after, "source": {"lsn": lsn}}).encode()


def test_a_row_from_before_a_truncate_stays_deleted_when_it_is_redriven() -> None:
    """A dead letter that is sent again has a new place; what it was first counts."""
    at_ms = 1_700_000_000_000
    truncated = Truncation(
        source="s",
        topic="t",
        topic_id="i",
        partition=2,
        record_offset=11,
        decision=Decision.DELETE,
        own_version=None,
        record_version=record_version(at_ms, 11),
    )
    first = FirstPosition("t", 2, 10, at_ms - 5, "i")
    value = change("c", 1, {"id": 1, "text": "A row."})
    headers = tuple(first.headers(7))
    redriven = replace(kafka_record(50, value, headers), timestamp_ms=at_ms + 1_000)
    unsent = replace(redriven, headers=())
    for record, outcome in ((redriven, "ignored"), (unsent, "event")):
        rows = rows_of([record], TABLE, topic_id="i", now_ms=at_ms + 5_000, decisions=[truncated])
        assert [row["outcome"] for row in rows] == [outcome]


def test_rows_are_the_same_wherever_they_are_cut() -> None:
    """A tombstone behind its delete only repeats it; what reads a log in parts knows the record before."""
    spec = replace(TABLE, version_rule=VersionRule.OWN)
    inserted = {"id": 1, "text": "A row."}
    values = [change("c", 1, inserted), change("d", 2), None, change("c", 4, inserted)]
    made = [kafka_record(at, value) for at, value in enumerate([*values, *values[1:]])]
    together = rows_of(made, spec, topic_id="i", now_ms=5)
    assert [row["outcome"] for row in together].count("ignored") == 2
    for cut in range(1, len(made)):
        parts = rows_of(made[:cut], spec, topic_id="i", now_ms=5)
        parts += rows_of(made[cut:], spec, topic_id="i", now_ms=5, before=made[cut - 1])
        assert parts == together

"""The events of a batch: read from staged files, folded, and written with their outcomes."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from corpus.batch import BatchRef, PreparedFrom
from corpus.errors import StagedFileError
from corpus.prepare import events as events_module
from corpus.prepare.events import JudgedEvents, StagedEvents, read_staged_events
from corpus.staging.frames import schema_of, to_parquet
from corpus.staging.layout import PREPARED_EVENTS, STAGED_EVENTS
from corpus.staging.store import StagingStore


def event(offset: int, document_id: str = "a", version: int | None = 1, **other: Any) -> Any:
    return {
        "topic": "t",
        "partition": 0,
        "offset": offset,
        "outcome": "event",
        "op": "upsert",
        "document_id": document_id,
        "version": version,
        "raw_sha256": b"%d" % offset,
        "key": b"k",
        "value": b"v",
        "headers": "[]",
        **other,
    }


def frame(*events: Any) -> pl.DataFrame:
    rows = [dict.fromkeys(schema_of(STAGED_EVENTS)) | each for each in events]
    return pl.DataFrame(rows, schema=schema_of(STAGED_EVENTS), orient="row")


def outcomes(judged: JudgedEvents) -> list[str]:
    return judged.prepared()["outcome"].to_list()


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Staged:
    """Staged files, and the position that the corpus has reached when each reference is looked up."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = StagingStore(folder.as_uri())
        self.positions: list[int] = []  # one per look; the last one stays
        monkeypatch.setattr(events_module, "_next_offset", self._next_offset)
        monkeypatch.setattr(events_module, "without_erased", self._none_erased)

    def _next_offset(self, _connection: Any, _ref: BatchRef) -> int:
        return self.positions.pop(0) if len(self.positions) > 1 else self.positions[0]

    def _none_erased(self, _connection: Any, _source: str, events: pl.DataFrame) -> pl.DataFrame:
        return events

    def ref(self, offsets: Iterable[int], partition: int = 0) -> BatchRef:
        wanted = list(offsets)
        rows = frame(*(event(offset, partition=partition) for offset in wanted))
        name = f"events/s/t/{partition}/{wanted[0]}"
        file = self.store.put(name, to_parquet(rows), rows=len(wanted))
        return BatchRef(
            source="s",
            cluster_id="c",
            topic="t",
            topic_id="i",
            partition=partition,
            first_offset=wanted[0],
            next_offset=wanted[-1] + 1,
            records=len(wanted),
            staged_bytes=sum(map(len, rows["value"])),
            url=file.url,
            sha256=file.sha256,
            staged_at_ms=0,
        )

    def read(self, *refs: BatchRef, positions: list[int]) -> StagedEvents:
        self.positions = positions
        return read_staged_events(None, self.store, refs)  # type: ignore[arg-type]


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Staged:
    return Staged(tmp_path, monkeypatch)


def start(offset: int, partition: int = 0) -> PreparedFrom:
    return PreparedFrom(topic="t", partition=partition, offset=offset)


def test_overlapping_references_give_each_offset_once(staged: Staged) -> None:
    read = staged.read(staged.ref(range(2, 6)), staged.ref(range(4)), positions=[0])
    assert read.frame["offset"].to_list() == [0, 1, 2, 3, 4, 5]
    assert read.starts == (start(0),)


OTHER_RECORDS: dict[str, dict[str, Any]] = {
    "it ends later": {"next_offset": 9},
    "it begins later": {"first_offset": 3},
    "another topic": {"topic": "u"},
    "another partition": {"partition": 1},
    "more bytes": {"staged_bytes": 1_000},
    "fewer records": {"records": 3},
}


@pytest.mark.parametrize("stated", OTHER_RECORDS.values(), ids=OTHER_RECORDS)
def test_a_file_of_other_records_is_refused(stated: dict[str, Any], staged: Staged) -> None:
    """The position moves to where a reference ends, so nothing may end beyond its records."""
    ref = replace(staged.ref(range(2, 6)), **stated)
    with pytest.raises(StagedFileError, match=re.escape(ref.url)):
        staged.read(ref, positions=[0])


def test_a_record_twice_is_refused(staged: Staged) -> None:
    ref = staged.ref([2, 2, 3])
    with pytest.raises(StagedFileError, match="other records than its name says"):
        staged.read(ref, positions=[0])


def test_kafka_may_leave_holes(staged: Staged) -> None:
    ref = replace(staged.ref([3, 7]), first_offset=1)
    assert staged.read(ref, positions=[1]).frame["offset"].to_list() == [3, 7]


def test_what_is_applied_already_is_left_out(staged: Staged) -> None:
    read = staged.read(staged.ref(range(4)), positions=[3])
    assert read.frame["offset"].to_list() == [3]
    assert read.starts == (start(3),)


def test_each_partition_begins_where_it_is(staged: Staged) -> None:
    refs = (staged.ref(range(5, 7), partition=1), staged.ref(range(2)))
    assert staged.read(*refs, positions=[0]).starts == (start(5, partition=1), start(0))


def test_the_file_of_an_applied_reference_may_be_gone(staged: Staged) -> None:
    ref = staged.ref(range(4))
    staged.store.delete([ref.url])
    read = staged.read(ref, positions=[4])
    assert read.frame.is_empty()
    assert read.frame.schema == schema_of(STAGED_EVENTS)
    assert read.starts == (start(4),)


def test_a_file_that_is_removed_between_two_looks_was_applied(staged: Staged) -> None:
    ref = staged.ref(range(4))
    staged.store.delete([ref.url])
    assert staged.read(ref, positions=[0, 4]).frame.is_empty()


def test_a_missing_file_of_an_unapplied_reference_is_an_error(staged: Staged) -> None:
    ref = staged.ref(range(4))
    staged.store.delete([ref.url])
    with pytest.raises(StagedFileError, match="is missing"):
        staged.read(ref, positions=[0])


def test_no_references_are_no_events(staged: Staged) -> None:
    read = staged.read(positions=[0])
    assert (read.frame.height, read.starts) == (0, ())
    assert JudgedEvents(read.frame).fold() == {}
    assert JudgedEvents(read.frame).prepared().schema == schema_of(PREPARED_EVENTS)


# ── outcomes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_fold_leaves_out_what_is_final(tmp_path: Path) -> None:
    judged = JudgedEvents(
        frame(
            event(0, version=9, outcome="dead_letter", reason="too_large", detail="why"),
            event(1, document_id="", outcome="ignored", reason="rule"),
            event(2, version=1),
            event(3, version=2),
            event(4, document_id="b", version=2),
        )
    )
    documents = judged.fold()
    assert {name: document.winner for name, document in documents.items()} == {"a": 3, "b": 4}
    assert outcomes(judged) == ["dead_letter", "ignored", "superseded", "event", "event"]


def test_a_dead_letter_gives_way_to_the_next_best_event() -> None:
    judged = JudgedEvents(frame(event(0), event(1, version=2), event(2, document_id="b")))
    judged.fold()
    judged.dead_letter(1, "too_large", "why")
    documents = judged.fold(only={"a"})
    assert {name: document.winner for name, document in documents.items()} == {"a": 0}
    assert outcomes(judged) == ["event", "dead_letter", "event"]


def test_only_dead_letters_keep_their_bytes() -> None:
    judged = JudgedEvents(frame(event(0), event(1, document_id="b")))
    judged.dead_letter(1, "too_large", "why")
    prepared = judged.prepared()
    assert prepared.schema == schema_of(PREPARED_EVENTS)
    assert prepared.select("key", "value", "headers").rows() == [
        (None, None, None),
        (b"k", b"v", "[]"),
    ]
    assert prepared.select("reason", "detail").row(1) == ("too_large", "why")


def test_values_by_name_come_without_the_original_bytes() -> None:
    judged = JudgedEvents(frame(event(7, op="delete")))
    assert judged.value("value", 0) == b"v"
    assert not judged.is_upsert(0)
    values = judged.values(0)
    assert values["offset"] == 7
    assert not {"key", "value", "headers"} & values.keys()

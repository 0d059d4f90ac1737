"""Which staged files are removed: by their names, their age, how far their source is, and what its entity holds."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from corpus.staging.layout import (
    BatchFileName,
    StagedRange,
    batch_file_name,
    events_name,
    is_of_batch,
    is_of_records,
    parse_name,
)
from corpus.staging.store import StagingStore, StoredFile
from corpus.staging.sweep import MIN_AGE, OldFiles, SourceProgress, Sweeper, sort_files
from tests.support.fake_database import FakeConnection

DIGEST = "0123456789abcdef" * 4
NOW = datetime.now(UTC)


def events(first: int, end: int, *, source: str = "s", topic: str = "t") -> str:
    return events_name(source, topic, 0, first, end, DIGEST)


def batch(number: int, part: str = "chunks", *, source: str = "s") -> str:
    return batch_file_name(source, number, part, DIGEST)


def stored(*names: str) -> list[StoredFile]:
    return [StoredFile(name=name, file_bytes=10, written_at=NOW) for name in names]


def progress(next_offset: int | None, last_batch: int = 0) -> SourceProgress:
    return SourceProgress(
        source="s", last_batch=last_batch, topic="t", partition=0, next_offset=next_offset
    )


def names_of(files: Sequence[StoredFile]) -> list[str]:
    return [file.name for file in files]


def test_names_say_what_they_hold() -> None:
    assert parse_name(events(5, 9)) == StagedRange(
        source="s", topic="t", partition=0, next_offset=9
    )
    assert parse_name(batch(7)) == BatchFileName(source="s", batch=7)


@pytest.mark.parametrize(
    "name",
    ["", "events/s/t/0/notes.txt", "batches/s/7/chunks.parquet", "other/file", events(1, 2) + "~"],
)
def test_other_names_are_nobodys(name: str) -> None:
    assert parse_name(name) is None
    assert sort_files(stored(name), [progress(100, 100)]) == OldFiles(unknown=1)


def test_what_the_position_has_passed_and_what_was_published_later_is_settled() -> None:
    old = sort_files(
        stored(events(0, 10), events(5, 11), batch(3), batch(4)), [progress(10, last_batch=3)]
    )
    assert names_of(old.settled) == [events(0, 10), batch(3)]
    assert names_of(old.undecided["s"]) == [events(5, 11), batch(4)]


def test_without_a_row_nothing_is_settled() -> None:
    files = stored(events(0, 10), batch(1), events(0, 10, topic="u"), batch(1, source="gone"))
    old = sort_files(files, [progress(None)])
    assert old.settled == []
    assert {source: len(kept) for source, kept in old.undecided.items()} == {"s": 3, "gone": 1}


def test_leftovers_of_a_batch_are_those_of_its_source_and_records() -> None:
    assert is_of_batch(batch(3), "s", up_to=3)
    assert not is_of_batch(batch(4), "s", up_to=3)
    assert not is_of_batch(batch(3), "other", up_to=3)
    assert not is_of_batch(events(0, 1), "s", up_to=3)
    assert is_of_records(events(0, 10), below=10)
    assert not is_of_records(events(0, 11), below=10)
    assert not is_of_records(batch(1), below=10)


@pytest.fixture(params=["folder", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StagingStore:
    return StagingStore(tmp_path.as_uri() if request.param == "folder" else "memory:///")


def sweeper(store: StagingStore, *rows: SourceProgress) -> Sweeper:
    class Pool(FakeConnection):
        def connection(self, timeout: float = 0) -> Any:
            return super().connection(timeout)

    pool: Any = Pool(sweep_progress=list(rows))
    return Sweeper(store, pool)


def later(days: float = 2) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


@pytest.mark.parametrize(
    ("held", "kept"),
    [
        ({"s": None}, [events(10, 20), events(10, 30), batch(4)]),
        ({}, [events(10, 20), events(10, 30), batch(4)]),
        ({"s": [events(10, 30)]}, [events(10, 30)]),
        ({"s": []}, []),
    ],
    ids=["the entity cannot be asked", "it was not asked", "it holds one", "it holds none"],
)
def test_only_what_no_entity_may_hold_is_removed(
    store: StagingStore, held: Any, kept: list[str]
) -> None:
    for name in (events(0, 10), events(10, 20), events(10, 30), batch(3), batch(4)):
        store.put(name, b"content", rows=1)
    sweep = sweeper(store, progress(10, last_batch=3))
    swept = sweep.remove(sweep.find(later()), held)
    assert sorted([*store.names("events"), *store.names("batches")]) == sorted(kept)
    assert (swept.removed, swept.needed) == (5 - len(kept), len(kept))
    assert swept.removed_bytes == swept.removed * len(b"content")


def test_young_files_stay_and_writing_one_again_makes_it_young(store: StagingStore) -> None:
    store.put(events(0, 10), b"content", rows=1)
    written = store.files("events")[0].written_at
    sweep = sweeper(store, progress(10))
    assert sweep.find(written + MIN_AGE - timedelta(seconds=1)).settled == []
    assert len(sweep.find(written + MIN_AGE).settled) == 1
    store.put(events(0, 10), b"content", rows=1)
    assert store.files("events")[0].written_at >= written


def test_an_empty_store_is_swept(store: StagingStore) -> None:
    sweep = sweeper(store)
    assert sweep.remove(sweep.find(later()), {}).removed == 0

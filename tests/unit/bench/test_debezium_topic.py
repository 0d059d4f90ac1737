"""Which deletes of rows are not in a topic: what its own records prove."""

import hashlib
from typing import Any

import pytest

from tests.bench.debezium.topic import RowRecord, deleted_unseen

SECOND = 200  # position of the log at which the snapshot was taken again


def of(offset: int, row: str, op: str | None, lsn: int | None, **other: Any) -> RowRecord:
    said = {"title": f"Row {row}", "body": "Its text."} if op in ("r", "c", "u") else {}
    return RowRecord(partition=0, offset=offset, row=row, op=op, lsn=lsn, **said | other)


def read(offset: int, row: str, lsn: int, marker: str = "true") -> RowRecord:
    return of(offset, row, "r", lsn, snapshot=marker)


FIRST = [read(0, "a", 100, "first"), read(1, "b", 100), read(2, "c", 100)]
AGAIN = [read(10, "a", SECOND, "first"), read(11, "b", SECOND, "last")]


def test_a_row_that_only_the_broken_snapshot_has() -> None:
    [(row, unseen)] = deleted_unseen([*FIRST, *AGAIN]).items()
    assert row == "c"
    assert unseen.shown() == {
        "partition": 0,
        "offset": 2,
        "op": "r",
        "lsn": 100,
        "snapshot_lsn": SECOND,
    }
    assert unseen.digest == hashlib.sha256(b"Row c\n\nIts text.").hexdigest()


@pytest.mark.parametrize(
    "later",
    [
        [of(20, "c", "d", 300), of(21, "c", None, None)],
        [of(20, "c", "d", 150)],
        [of(20, "c", None, None)],
        [of(20, "c", "c", 300)],
        [read(9, "c", SECOND)],
    ],
)
def test_a_row_with_a_delete_or_a_later_record_is_judged_as_any(later: list[RowRecord]) -> None:
    assert deleted_unseen([*FIRST, *AGAIN, *later]) == {}


def test_a_snapshot_that_is_not_whole_proves_nothing() -> None:
    assert deleted_unseen([*FIRST, AGAIN[0]]) == {}
    assert deleted_unseen([*FIRST[:2], read(2, "c", 100, "last"), of(3, "d", "c", 150)]) == {}


def test_a_row_of_a_stream_before_the_snapshot_was_taken_again() -> None:
    """Connect was killed before it had written that its first snapshot was whole."""
    stream = [of(3, "d", "c", 120), of(4, "d", "u", 130, body=None)]
    unseen = deleted_unseen([*FIRST[:2], read(2, "c", 100, "last"), *stream, *AGAIN])
    assert set(unseen) == {"c", "d"}
    # Its last record leaves its text out, which is that of the one before.
    assert unseen["d"].digest == hashlib.sha256(b"Row d\n\nIts text.").hexdigest()

"""What PostgreSQL receives of a staged file."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.publish.copy_in import MAX_EPOCH_MS, MIN_EPOCH_MS, from_epoch_ms, rows_of
from corpus.staging.frames import schema_of
from corpus.staging.layout import CHUNKS, DOCUMENTS, PREPARED_EVENTS, Column, ColumnType


def test_rows_come_in_the_order_of_the_columns() -> None:
    columns = (Column("b", ColumnType.INT8), Column("at_ms", ColumnType.EPOCH_MS, "at"))
    frame = pl.DataFrame({"at_ms": [1_000, None], "a": ["left out", "x"], "b": [1, 2]})
    assert [tuple(row) for row in rows_of(frame, columns)] == [
        (1, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        (2, None),
    ]


@pytest.mark.parametrize("columns", [PREPARED_EVENTS, DOCUMENTS, CHUNKS])
def test_an_empty_file_is_no_rows(columns: tuple[Column, ...]) -> None:
    assert list(rows_of(pl.DataFrame(schema=schema_of(columns)), columns)) == []


@pytest.mark.parametrize(
    ("epoch_ms", "instant"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
        (MIN_EPOCH_MS, datetime(1, 1, 2, tzinfo=UTC)),
        (MAX_EPOCH_MS, datetime(9999, 12, 31, tzinfo=UTC)),
        (MIN_EPOCH_MS - 1, None),
        (MAX_EPOCH_MS + 1, None),
        (1_780_000_000_000_000, None),  # microseconds
        (None, None),
    ],
)
def test_an_instant_that_no_calendar_has_is_null(
    epoch_ms: int | None, instant: datetime | None
) -> None:
    assert from_epoch_ms(epoch_ms) == instant


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_number_is_an_instant_or_null(epoch_ms: int) -> None:
    instant = from_epoch_ms(epoch_ms)
    if instant is not None:
        assert (instant - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1) == epoch_ms
        # Any time zone can show it: no zone is a day from UTC.
        assert instant - timedelta(hours=23)
        assert instant + timedelta(hours=23)

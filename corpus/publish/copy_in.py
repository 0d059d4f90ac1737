"""Copy a prepared batch into the session's tables `incoming_*`, by binary COPY."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from corpus.database import Connection
from corpus.sql import query
from corpus.staging.layout import (
    CHUNKS,
    DOCUMENTS,
    PREPARED_EVENTS,
    Columns,
    ColumnType,
)

# 0001-01-02 and 9999-12-31: Python and PostgreSQL can both hold these in any time zone.
MIN_EPOCH_MS = -62_135_510_400_000
MAX_EPOCH_MS = 253_402_214_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def copy_in(
    connection: Connection,
    events: pl.DataFrame,
    documents: pl.DataFrame,
    chunks: pl.DataFrame,
) -> None:
    """Fill incoming_event, incoming_document and incoming_chunk."""
    _copy(connection, "copy_events", PREPARED_EVENTS, events)
    _copy(connection, "copy_documents", DOCUMENTS, documents)
    _copy(connection, "copy_chunks", CHUNKS, chunks)


def _copy(
    connection: Connection, name: str, columns: Columns, frame: pl.DataFrame
) -> None:
    with connection.cursor() as cursor, cursor.copy(query(name)) as copy:
        copy.set_types([column.type.postgres for column in columns])
        for values in rows_of(frame, columns):
            copy.write_row(values)


def rows_of(frame: pl.DataFrame, columns: Columns) -> Iterator[Sequence[Any]]:
    """The rows of a frame as PostgreSQL receives them: values in the order of the columns."""
    selected = frame.select(column.name for column in columns)
    instants = [
        position
        for position, column in enumerate(columns)
        if column.type is ColumnType.EPOCH_MS
    ]
    for row in selected.iter_rows():
        values = list(row)
        for position in instants:
            values[position] = from_epoch_ms(values[position])
        yield values


def from_epoch_ms(epoch_ms: int | None) -> datetime | None:
    """The instant of milliseconds since 1970 UTC.

    None where no calendar has it: some producers write microseconds instead of milliseconds.
    """
    if epoch_ms is None or not MIN_EPOCH_MS <= epoch_ms <= MAX_EPOCH_MS:
        return None
    return _EPOCH + timedelta(milliseconds=epoch_ms)

"""What was prepared, into the session's tables of the publish transaction: rows of staged Parquet by binary COPY."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from corpus.database import Connection
from corpus.sql import query

# 0001-01-02 and 9999-12-31: what Python and PostgreSQL can both hold in any time zone.
_MIN_MS, _MAX_MS = -62_135_510_400_000, 253_402_214_400_000
_EVENT_TYPES = (
    "text",
    "int4",
    "int8",
    "text",
    "text",
    "text",
    "text",
    "timestamptz",
    "bytea",
    "bytea",
    "text",
)
_DOCUMENT_TYPES = (
    *(
        "text",
        "text",
        "int4",
        "int8",
        "timestamptz",
        "text",
        "int8",
        "int8",
        "int8",
        "int8",
        "text",
        "text",
        "text",
        "text",
        "text[]",
    ),
    *("timestamptz", "timestamptz", "int8", "bytea", "bytea", "bytea"),
)
_CHUNK_TYPES = ("text", "int4", "int4", "bytea", "text", "int4", "bool", "text")


def copy_in(
    connection: Connection, events: pl.DataFrame, documents: pl.DataFrame, chunks: pl.DataFrame
) -> None:
    """Fill incoming_event, incoming_document, incoming_chunk."""
    _copy(connection, "copy_events", _EVENT_TYPES, _event_rows(events))
    _copy(connection, "copy_documents", _DOCUMENT_TYPES, _document_rows(documents))
    _copy(connection, "copy_chunks", _CHUNK_TYPES, chunks.iter_rows())


def _event_rows(events: pl.DataFrame) -> Iterable[tuple[Any, ...]]:
    for row in events.select(
        "topic",
        "partition",
        "offset",
        "outcome",
        "reason",
        "detail",
        "document_id",
        "timestamp_ms",
        "key",
        "value",
        "headers",
    ).iter_rows():
        yield (*row[:7], instant(row[7]), *row[8:])


def _document_rows(documents: pl.DataFrame) -> Iterable[tuple[Any, ...]]:
    columns = (
        *(
            "document_id",
            "topic",
            "partition",
            "offset",
            "timestamp_ms",
            "op",
            "version",
            "tombstone_offset",
            "tombstone_floor",
        ),
        *(
            "reuse_key",
            "uri",
            "title",
            "content_type",
            "metadata",
            "acl",
            "event_at_ms",
            "expires_at_ms",
            "content_bytes",
        ),
        *("content_sha256", "cleaned_sha256", "raw_sha256"),
    )
    for row in documents.select(columns).iter_rows():
        yield (*row[:4], instant(row[4]), *row[5:15], instant(row[15]), instant(row[16]), *row[17:])


def instant(epoch_ms: int | None) -> datetime | None:
    """A time; None where a producer wrote one that no calendar has (microseconds in place of milliseconds)."""
    if epoch_ms is None or not _MIN_MS <= epoch_ms <= _MAX_MS:
        return None
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def _copy(
    connection: Connection, name: str, types: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    with connection.cursor() as cursor, cursor.copy(query(name)) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)

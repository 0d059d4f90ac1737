"""Write a micro-batch to the staging store (claim check) and return its pointer."""

import base64
import hashlib
import io
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from corpus.batch import BatchRef, StagedFile
from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec
from corpus.staging.layout import EVENT_COLUMNS, events_name
from ingest.dead_letters.first_position import as_first_written
from ingest.decode import fields
from ingest.decode.decoder import decode
from ingest.event import ChangeEvent, Decoded, Ignored, KafkaRecord, Undecodable

log = logging.getLogger("freshet.stage")

EVENT_SCHEMA: dict[str, Any] = {
    "topic": pl.String,
    "partition": pl.Int32,
    "offset": pl.Int64,
    "timestamp_ms": pl.Int64,
    "outcome": pl.String,
    "op": pl.String,
    "document_id": pl.String,
    "version": pl.Int64,
    "uri": pl.String,
    "title": pl.String,
    "content_type": pl.String,
    "metadata": pl.String,
    "acl": pl.List(pl.String),
    "event_at_ms": pl.Int64,
    "expires_at_ms": pl.Int64,
    "content_bytes": pl.Int64,
    "content_sha256": pl.Binary,
    "raw_sha256": pl.Binary,
    "reason": pl.String,
    "detail": pl.String,
    "key": pl.Binary,
    "value": pl.Binary,
    "headers": pl.String,
}
assert tuple(EVENT_SCHEMA) == EVENT_COLUMNS


class Store(Protocol):
    """Takes a file (`corpus.store.StagingStore`)."""

    def put(self, name: str, content: bytes, *, rows: int) -> StagedFile: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetRange:
    """Where a micro-batch stands: a contiguous range of one partition, holes that Kafka left included."""

    cluster_id: str
    topic: str
    topic_id: str
    partition: int
    first_offset: int  # inclusive
    next_offset: int  # exclusive
    epoch: int = 0  # of the source, when it was read


def stage(
    records: Sequence[KafkaRecord], spec: SourceSpec, offsets: OffsetRange, store: Store
) -> BatchRef:
    """Decode the records, write them, return the pointer.

    Args:
        records: in offset order, all inside `offsets`.
        spec: the source's; its format, version rule and limits are applied.
        offsets: the range that the batch accounts for.
        store: where to.

    Raises:
        DependencyError: the store does not take the file.
    """
    content = _content([_row(record, spec) for record in records], records)
    digest = hashlib.sha256(content).hexdigest()
    name = events_name(
        spec.source,
        offsets.topic,
        offsets.partition,
        offsets.first_offset,
        offsets.next_offset,
        digest,
    )
    staged = store.put(name, content, rows=len(records))
    return BatchRef(
        source=spec.source,
        cluster_id=offsets.cluster_id,
        topic=offsets.topic,
        topic_id=offsets.topic_id,
        partition=offsets.partition,
        first_offset=offsets.first_offset,
        next_offset=offsets.next_offset,
        records=len(records),
        staged_bytes=sum(len(record.value or b"") for record in records),
        url=staged.url,
        sha256=staged.sha256,
        staged_at_ms=time.time_ns() // 1_000_000,
        epoch=offsets.epoch,
    )


def parquet(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Rows (in the order of EVENT_COLUMNS) as a Parquet file, zstd level 1: fastest, and nearly as small."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(EVENT_SCHEMA)
    frame = pl.DataFrame(
        [
            pl.Series(name, values, dtype=kind)
            for (name, kind), values in zip(EVENT_SCHEMA.items(), columns, strict=True)
        ]
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=1, statistics=False)
    return buffer.getvalue()


def _content(rows: list[tuple[Any, ...]], records: Sequence[KafkaRecord]) -> bytes:
    """The file; a row that does not go into one becomes a dead letter, whatever mistake of ours let it come this far."""
    try:
        return parquet(rows)
    except MemoryError:
        raise
    except Exception:
        return parquet([_checked(row, record) for row, record in zip(rows, records, strict=True)])


def _checked(row: tuple[Any, ...], record: KafkaRecord) -> tuple[Any, ...]:
    try:
        parquet([row])
        return row
    except Exception as error:
        return _refused(record, error)


def _row(record: KafkaRecord, spec: SourceSpec) -> tuple[Any, ...]:
    try:
        return _described(record, decode(record, spec))
    except MemoryError:
        raise
    except (
        Exception
    ) as error:  # a mistake of ours costs one record, which is kept, and not its source
        return _refused(record, error)


def _refused(record: KafkaRecord, error: Exception) -> tuple[Any, ...]:
    log.error(
        "a record cannot be staged",
        exc_info=error,
        extra={"action": "dead_letter", "topic": record.topic, "offset": record.offset},
    )
    detail = f"cannot be staged: {type(error).__name__}: {fields.shown(str(error), 200)}"
    return _described(record, Undecodable(reason=DeadLetterReason.NOT_DECODABLE, detail=detail))


def _described(record: KafkaRecord, event: Decoded) -> tuple[Any, ...]:
    place = (record.topic, record.partition, record.offset, as_first_written(record).timestamp_ms)
    original = (record.key, record.value, headers_json(record.headers))
    if isinstance(event, ChangeEvent):
        metadata = (
            json.dumps(event.metadata, ensure_ascii=False, separators=(",", ":"))
            if event.metadata
            else "{}"
        )
        acl = None if event.acl is None else list(event.acl)
        described = (
            event.uri,
            event.title,
            event.content_type,
            metadata,
            acl,
            event.event_at_ms,
            event.expires_at_ms,
        )
        hashes = (event.content_bytes, event.content_sha256, event.raw_sha256)
        return (
            *place,
            "event",
            event.op.value,
            event.document_id,
            event.version,
            *described,
            *hashes,
            None,
            None,
            *original,
        )
    if isinstance(event, Ignored):
        return (*place, "ignored", *(None,) * 13, event.rule, None, *original)
    return (
        *place,
        "dead_letter",
        None,
        event.document_id,
        *(None,) * 11,
        event.reason.value,
        event.detail,
        *original,
    )


def headers_json(headers: Sequence[tuple[str, bytes | None]]) -> str:
    """[[name, base64 or null], ...]: what a header holds is bytes."""
    if not headers:
        return "[]"
    return json.dumps(
        [
            [name.replace("\x00", ""), None if value is None else base64.b64encode(value).decode()]
            for name, value in headers
        ]
    )

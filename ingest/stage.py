"""Write a micro-batch to the staging store (claim check) and return its pointer."""

import base64
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from corpus.access.stated import StatedReaders
from corpus.batch import BatchRef, StagedFile
from corpus.dead_letter import DeadLetterReason
from corpus.disclosure.error_text import public_text
from corpus.errors import FreshetError
from corpus.log_limit import LogLimit
from corpus.source import SourceSpec
from corpus.staging.frames import schema_of, to_parquet
from corpus.staging.layout import STAGED_EVENTS, events_name
from corpus.versions.truncation import (
    UNDECIDED,
    Place,
    Truncation,
    Written,
    halt_reason,
    settled,
)
from ingest.decode import times
from ingest.decode.debezium.rows import SECOND_HALF, is_second_half
from ingest.decode.decoder import (
    beyond_scale,
    decode,
    from_earlier_log,
    placed,
    without_version,
)
from ingest.decode.staged_values import event_values
from ingest.event import ChangeEvent, Decoded, Ignored, KafkaRecord, Op, Undecodable

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

_SCHEMA = schema_of(STAGED_EVENTS)
_DESCRIPTION = ("uri", "title", "content_type", "acl", "stated_language")

# Values by column name; a column that is missing is null.
Row = Mapping[str, Any]


# Shows what is visible to fewer, as upserts of a log ("topic/partition/topic id") say: `corpus.access.withholding`.
Withhold = Callable[[SourceSpec, str, Sequence[StatedReaders]], None]


class SourceStoppedError(Exception):
    """The source must not go on by itself; the message says why, and what a person can do."""


class Store(Protocol):
    """Takes a file (`corpus.staging.store.StagingStore`)."""

    def put(self, name: str, content: bytes, *, rows: int) -> StagedFile: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetRange:
    """The range of a micro-batch: contiguous, of one partition, including holes that Kafka left."""

    cluster_id: str
    topic: str
    topic_id: str
    partition: int
    first_offset: int  # inclusive
    next_offset: int  # exclusive
    epoch: int = 0  # of the source, when it was read
    traceparent: str = ""  # of the span that stages it; empty: no trace is made
    backfill: int = 0  # that reads it again; 0: the consumer reads it


@dataclass(frozen=True, slots=True)
class _Reading:
    """What records are read with."""

    spec: SourceSpec
    topic_id: str
    now_ms: int
    decisions: Sequence[Truncation] = ()


def stage(
    records: Sequence[KafkaRecord],
    spec: SourceSpec,
    offsets: OffsetRange,
    store: Store,
    before: KafkaRecord | None = None,
    decisions: Sequence[Truncation] = (),
    withhold: Withhold | None = None,
) -> BatchRef:
    """Decode the records, write them, return the pointer.

    Args:
        records: in offset order, all inside `offsets`.
        spec: the source's; its format, version rule and limits are applied.
        offsets: the range that the batch accounts for.
        store: receives the file.
        before: the record before the first one; None: it is not known.
        decisions: about truncated tables of the source.
        withhold: is told, once the file is written, who may read what its upserts are of.

    Raises:
        ConfigurationError: the records' format needs a schema registry, which is not set or refuses the login.
        DependencyError: the store does not accept the file, or the schema registry does not answer.
        SourceStoppedError: a person has to decide about a record.
    """
    staged_at_ms = time.time_ns() // 1_000_000
    reading = _Reading(spec, offsets.topic_id, staged_at_ms, decisions)
    rows = _rows(records, reading, before)
    content = _content(rows, records)
    _log_record_times(records, reading)
    name = _file_name(spec.source, offsets, content)
    staged = store.put(name, content, rows=len(records))
    if withhold is not None:
        log = f"{offsets.topic}/{offsets.partition}/{offsets.topic_id}"
        withhold(spec, log, list(_stated_readers(rows, spec)))
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
        staged_at_ms=staged_at_ms,
        epoch=offsets.epoch,
        traceparent=offsets.traceparent,
        backfill=offsets.backfill,
    )


def _file_name(source: str, offsets: OffsetRange, content: bytes) -> str:
    return events_name(
        source,
        offsets.topic,
        offsets.partition,
        offsets.first_offset,
        offsets.next_offset,
        hashlib.sha256(content).hexdigest(),
        offsets.backfill,
    )


def _stated_readers(rows: Iterable[Row], spec: SourceSpec) -> Iterator[StatedReaders]:
    """What the upserts say; one that says nothing means the source's default, where that is not every reader."""
    for row in rows:
        acl = row.get("acl")
        if acl is None:
            acl = spec.default_acl
        version = row.get("version")
        if row.get("op") == Op.UPSERT and acl is not None and version is not None:
            yield StatedReaders(row["document_id"], version, row["offset"], list(acl))


def parquet(rows: Sequence[Row]) -> bytes:
    """Staged events as a Parquet file."""
    columns = [
        pl.Series(name, [row.get(name) for row in rows], dtype=kind)
        for name, kind in _SCHEMA.items()
    ]
    return to_parquet(pl.DataFrame(columns))


def rows_of(
    records: Sequence[KafkaRecord],
    spec: SourceSpec,
    *,
    topic_id: str,
    now_ms: int,
    before: KafkaRecord | None = None,
    decisions: Sequence[Truncation] = (),
) -> list[Row]:
    """What records are staged as, by column name.

    Args:
        records: as they came.
        spec: the source's.
        topic_id: of the topic that they were read from.
        now_ms: by the reader's clock, epoch milliseconds UTC.
        before: the record before the first one; None: it is not known.
        decisions: about truncated tables of the source.
    """
    reading = _Reading(spec, topic_id, now_ms, decisions)
    return _read_rows(records, reading, before)


def row_of(
    record: KafkaRecord,
    spec: SourceSpec,
    before: KafkaRecord | None,
    *,
    topic_id: str,
    now_ms: int,
) -> Row:
    """Like `rows_of`, of one record.

    Args:
        record: as it came.
        spec: the source's.
        before: the record before it in its partition; None: it is not known.
        topic_id: of the topic that it was read from.
        now_ms: by the reader's clock, epoch milliseconds UTC.
    """
    reading = _Reading(spec, topic_id, now_ms)
    return _row(record, reading, before)


def description_json(row: Row) -> str:
    """What a staged event says about its document, apart from the content, as JSON."""
    said = {name: row.get(name) for name in _DESCRIPTION}
    said["metadata"] = json.loads(row.get("metadata") or "{}")
    return json.dumps(said)


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _rows(
    records: Sequence[KafkaRecord], reading: _Reading, before: KafkaRecord | None
) -> list[Row]:
    rows = _read_rows(records, reading, before)
    if reading.spec.debezium.truncate == "stop":
        _stop_at_truncation(rows, reading.spec.source)
    return rows


def _read_rows(
    records: Sequence[KafkaRecord], reading: _Reading, before: KafkaRecord | None
) -> list[Row]:
    rows: list[Row] = []
    for record in records:
        rows.append(_row(record, reading, before))
        before = record
    return rows


def _content(rows: Sequence[Row], records: Sequence[KafkaRecord]) -> bytes:
    """The file. A row that Parquet cannot hold becomes a dead letter, whichever mistake of ours produced it."""
    try:
        return parquet(rows)
    except MemoryError:
        raise
    except Exception:
        return parquet(
            [_storable(row, record) for row, record in zip(rows, records, strict=True)]
        )


def _stop_at_truncation(rows: Sequence[Row], source: str) -> None:
    """To empty a table deletes every document that came of it, which a person has to want."""
    for row in rows:
        if row.get("reason") == UNDECIDED:
            place = Place(
                topic=row["topic"], partition=row["partition"], offset=row["offset"]
            )
            raise SourceStoppedError(halt_reason(source, place))


def _log_record_times(records: Sequence[KafkaRecord], reading: _Reading) -> None:
    """Say how many records have a time that was not taken as it is."""
    converted, ahead = 0, 0
    for record in records:
        time_ms = times.record_time_ms(record.timestamp_ms)
        converted += time_ms != record.timestamp_ms
        ahead += times.is_ahead(time_ms, reading.now_ms)
    if converted or ahead:
        logger.warning(
            "record times are not in milliseconds, or in the future",
            extra={
                "action": "record_times",
                "kind": f"record_times/{reading.spec.source}",
                "source": reading.spec.source,
                "converted": converted,
                "in_future": ahead,
            },
        )


def _storable(row: Row, record: KafkaRecord) -> Row:
    """The row, or that of a dead letter if Parquet cannot hold it."""
    try:
        parquet([row])
    except Exception as error:
        return _dead_letter_row(record, error)
    return row


def _row(
    record: KafkaRecord, reading: _Reading, before: KafkaRecord | None = None
) -> Row:
    try:
        record_placed = placed(record, reading.topic_id)
        values = _record_values(record)
        values["timestamp_ms"] = record_placed.timestamp_ms
        event = _event(record, record_placed, reading)
        if record.value is None and is_second_half(record, before, reading.spec):
            event = Ignored(rule=SECOND_HALF)
        if isinstance(event, ChangeEvent) and times.is_ahead(
            record_placed.timestamp_ms, reading.now_ms
        ):
            values["timestamp_ms"] = None
        row = values | event_values(event)
        if not reading.decisions:
            return row
        written = Written(
            timestamp_ms=record_placed.timestamp_ms, offset=record_placed.offset
        )
        return settled(row, reading.decisions, reading.topic_id, written)
    except (MemoryError, FreshetError):
        # A schema registry that does not answer is waited for; no record is to blame.
        raise
    except Exception as error:
        # A mistake of ours costs one record, which is kept, and does not stop its source.
        return _dead_letter_row(record, error)


def _event(
    record: KafkaRecord, record_placed: KafkaRecord, reading: _Reading
) -> Decoded:
    """The event, or why the record is none."""
    spec = reading.spec
    decoded = decode(record_placed, spec)
    now_ms = reading.now_ms
    return (
        from_earlier_log(record, spec, reading.topic_id)
        or without_version(record_placed, spec, decoded, now_ms=now_ms)
        or beyond_scale(record_placed, spec, decoded, now_ms=now_ms)
        or decoded
    )


def _dead_letter_row(record: KafkaRecord, error: Exception) -> Row:
    logger.error(
        "a record cannot be staged",
        exc_info=error,
        extra={"action": "dead_letter", "topic": record.topic, "offset": record.offset},
    )
    undecodable = Undecodable(
        reason=DeadLetterReason.NOT_DECODABLE,
        detail=f"cannot be staged: {public_text(error)}",
    )
    return _record_values(record) | event_values(undecodable)


def _record_values(record: KafkaRecord, topic_id: str | None = None) -> dict[str, Any]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": placed(record).timestamp_ms,
        "key": record.key,
        "value": record.value,
        "headers": headers_json(record.headers),
    }


def headers_json(headers: Sequence[tuple[str, bytes | None]]) -> str:
    """Headers as JSON: [[name, base64 or null], ...], since a header's value is bytes."""
    if not headers:
        return "[]"
    return json.dumps(
        [[name.replace("\x00", ""), _base64(value)] for name, value in headers]
    )


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()

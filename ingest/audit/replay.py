"""Read a page of a log, and keep what each record is decoded to now, as ingest decodes it."""

from bisect import bisect_right
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition
from psycopg.rows import class_row

from corpus.audit.audit import AuditedPartition
from corpus.database import Connection, fetch_all
from corpus.errors import ConfigurationError, DependencyError
from corpus.prepare.events import REDRIVEN_FROM
from corpus.source import SourceSpec, record_version
from corpus.sql import query
from ingest.answers import UNREADABLE, next_message
from ingest.consume.positions import decisions_of
from ingest.decode.fields import FieldError
from ingest.decode.record_key import key_as_id
from ingest.decode.registry.values import with_read_key
from ingest.event import KafkaRecord
from ingest.kafka import CONSUMER_PROPERTIES, properties
from ingest.kafka_record import record_of
from ingest.stage import description_json, rows_of

MAX_RECORDS = 5_000
MAX_BYTES = 16_000_000
_ANSWER_SECONDS = 15
_DOCUMENT_ID = 7  # its place in a row
_GONE = (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET)
COLUMN_TYPES = (
    *("int8", "text", "int4", "text", "int8", "text", "text", "text", "int8"),
    *("int8", "bool", "bytea", "text", "int8"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Records of a log, in its order."""

    records: Sequence[KafkaRecord]
    next_offset: int  # where the next page begins; the end: there is none
    # The record before the first one, which says what a tombstone repeats; None: none is needed, or it is gone.
    before: KafkaRecord | None = None


class LogReader:
    """Reads pages of logs, without a group; `log_reader` opens and closes it."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def read(
        self, partition: AuditedPartition, offset: int, *, limit: int = MAX_RECORDS
    ) -> Page:
        """The records from an offset on, up to the audited position.

        A log whose beginning was removed meanwhile gives an empty page up to the end: what it has lost is not known.

        Raises:
            ConfigurationError: a record cannot be read.
            DependencyError: Kafka does not answer.
        """
        start = TopicPartition(partition.topic, partition.partition, offset)
        self._consumer.assign([start])
        records: list[KafkaRecord] = []
        size = 0
        end = partition.next_offset
        while offset < end and len(records) < limit and size < MAX_BYTES:
            message = next_message(self._consumer, _ANSWER_SECONDS)
            if message is None:
                raise DependencyError(
                    f"Kafka: reading {partition.topic}/{partition.partition}@{offset} failed: no answer"
                )
            error = message.error()
            if error is not None:
                if error.code() in (KafkaError._PARTITION_EOF, *_GONE):
                    offset = end
                    break
                if error.code() in UNREADABLE:
                    raise ConfigurationError(
                        f"{partition.topic}/{partition.partition} cannot be read from offset {offset} on, so what the "
                        f"source comes to is not known: {error.str()}. A sample (`--sample`) reads single records"
                    )
                raise DependencyError(
                    f"Kafka: reading {partition.topic} failed: {error.str()}"
                )
            record = record_of(message)
            offset = record.offset
            if offset >= end:
                offset = end
                break
            records.append(record)
            value = record.value or b""
            size += len(value)
            offset += 1
        before = self._before(partition, records)
        return Page(records=records, next_offset=offset, before=before)

    def _before(
        self, partition: AuditedPartition, records: Sequence[KafkaRecord]
    ) -> KafkaRecord | None:
        """The record before the first one, if that is a tombstone."""
        if not records or records[0].value is not None or records[0].offset == 0:
            return None
        offset = records[0].offset - 1
        start = TopicPartition(partition.topic, partition.partition, offset)
        self._consumer.assign([start])
        message = self._consumer.poll(_ANSWER_SECONDS)
        if message is None:
            raise DependencyError(
                f"Kafka: reading {partition.topic}/{partition.partition}@{offset} failed: no answer"
            )
        if message.error() is not None or message.offset() != offset:
            return None
        return record_of(message)


@contextmanager
def log_reader(bootstrap: str, given: dict[str, str]) -> Generator[LogReader]:
    """Open a reader.

    Args:
        bootstrap: addresses of Kafka.
        given: the user's properties of clients.
    """
    ours = {
        "group.id": "freshet-audit",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "queued.max.messages.kbytes": 16_384,
    }
    consumer = Consumer({**CONSUMER_PROPERTIES, **properties(bootstrap, given), **ours})
    try:
        yield LogReader(consumer)
    finally:
        consumer.close()


# ── what they are decoded to ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedTime:
    """When some records were read by ingest (query `staged_times`)."""

    first_offset: int
    next_offset: int
    staged_at_ms: int


def keep(
    connection: Connection,
    audit: int,
    spec: SourceSpec,
    partition: AuditedPartition,
    page: Page,
    *,
    now_ms: int,
) -> int:
    """Keep what records are decoded to; those of an earlier attempt are replaced. Of what is erased nothing is kept.

    Returns:
        How many name another document than their key.

    Args:
        connection: to PostgreSQL.
        audit: its number.
        spec: of the source.
        partition: that they are of.
        page: their records.
        now_ms: for records that no batch has: epoch milliseconds.
    """
    records = page.records
    if not records:
        return 0
    # All of them before the COPY begins: making them asks the database, too.
    rows = list(_rows(connection, audit, spec, partition, page, now_ms))
    offsets = [record.offset for record in records]
    forget = {
        "audit": audit,
        "topic": partition.topic,
        "partition": partition.partition,
        "offsets": offsets,
    }
    with connection.transaction():
        connection.execute(query("forget_audit_records"), forget)
        copy_in(connection, rows)
        connection.execute(query("forget_erased_records"), forget)
    named = zip(records, rows, strict=True)
    return sum(_is_other(record, row[_DOCUMENT_ID], spec) for record, row in named)


def copy_in(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Write rows of `audit_record`, inside a transaction; returns how many."""
    written = 0
    connection.execute(query("create_incoming_audit_record"))
    with (
        connection.cursor() as cursor,
        cursor.copy(query("copy_audit_records")) as copy,
    ):
        copy.set_types(COLUMN_TYPES)
        for row in rows:
            copy.write_row(row)
            written += 1
    connection.execute(query("insert_audit_records"))
    return written


def _is_other(record: KafkaRecord, document_id: str | None, spec: SourceSpec) -> bool:
    """Whether a record's key names another document than the record, or none."""
    if document_id is None:
        return False
    try:
        name = key_as_id(with_read_key(record, spec).key, spec)
    except FieldError:
        return True
    return name != document_id


def _rows(
    connection: Connection,
    audit: int,
    spec: SourceSpec,
    partition: AuditedPartition,
    page: Page,
    now_ms: int,
) -> Iterable[tuple[Any, ...]]:
    """A record whose time lay in the future when it was read is judged by that time, not by now."""
    times = _staged_times(connection, spec.source, partition, page.records)
    decisions = decisions_of(connection, [spec.source])
    before = page.before
    for record in page.records:
        [row] = rows_of(
            [record],
            spec,
            topic_id=partition.topic_id,
            now_ms=_read_at(times, record.offset, now_ms),
            before=before,
            decisions=decisions,
        )
        before = record
        is_redriven = REDRIVEN_FROM in (row.get("headers") or "")
        yield (
            audit,
            record.topic,
            record.partition,
            partition.topic_id,
            record.offset,
            row["outcome"],
            row.get("op"),
            row.get("document_id"),
            row.get("version"),
            record_version(row.get("timestamp_ms"), record.offset),
            is_redriven,
            row.get("content_sha256"),
            description_json(row) if row["outcome"] == "event" else None,
            row.get("expires_at_ms"),
        )


def _staged_times(
    connection: Connection,
    source: str,
    partition: AuditedPartition,
    records: Sequence[KafkaRecord],
) -> list[StagedTime]:
    values = {
        "source": source,
        "topic": partition.topic,
        "partition": partition.partition,
        "topic_id": partition.topic_id,
        "first_offset": records[0].offset,
        "next_offset": records[-1].offset + 1,
    }
    times = fetch_all(connection, class_row(StagedTime), "staged_times", values)
    return sorted(times, key=lambda time: time.first_offset)


def _read_at(times: Sequence[StagedTime], offset: int, now_ms: int) -> int:
    """When a record was read; of several times the last one whose range begins before it."""
    index = bisect_right(times, offset, key=lambda time: time.first_offset)
    for time in reversed(times[:index]):
        if offset < time.next_offset:
            return time.staged_at_ms
    return now_ms

"""The steps of a backfill. Each is a function of its argument and of the database, and may be repeated."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from psycopg.rows import class_row, scalar_row
from psycopg_pool import ConnectionPool
from temporalio.client import Client

from corpus.audit.audit import AuditedPartition
from corpus.batch import BatchRef
from corpus.database import Connection, database_errors_translated, fetch_all, fetch_one
from corpus.errors import ConfigurationError, DependencyError
from corpus.source import SourceSpec, SourceStatus
from corpus.sql import query
from corpus.staging.store import StagingStore
from ingest.audit.replay import MAX_BYTES, LogReader
from ingest.backfill.order import (
    ENDED,
    PART_RECORDS,
    BackfillCursor,
    BackfillEnd,
    BackfillStatus,
    BackfillStep,
    PartResult,
)
from ingest.consume.positions import decisions_of
from ingest.entity import running_state
from ingest.event import KafkaRecord
from ingest.hand_over import hand_over
from ingest.kafka import Cluster, PartitionKey
from ingest.stage import OffsetRange, SourceStoppedError, stage

OpenReader = Callable[[], AbstractContextManager[LogReader]]
# Records of one part that are named, and read one by one.
_NAMED_RECORDS = 200
_WAIT_SECONDS = 20.0
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRow:
    """A row of the query `backfill_row`."""

    backfill: int
    source: str
    state: str
    ranges: list[dict[str, Any]]
    by_record: bool
    rate: int
    passed: int
    gone: int
    spec: dict[str, Any]
    source_state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _PartState:
    """A row of the query `backfill_state`."""

    state: str
    is_published: bool


@dataclass(frozen=True, slots=True)
class _Records:
    """What was read for a part."""

    records: Sequence[KafkaRecord]
    next_offset: int  # where the next part begins
    passed: int  # of what is wanted
    gone: int
    before: KafkaRecord | None = None  # the record before them, where it is needed


class StageStep:
    """Reads the next records and stages them, as the consumer does.

    Args:
        pool: of connections to PostgreSQL.
        store: of staged files.
        cluster: returns the one that is asked for logs.
        open_reader: opens a reader of them.
        part: records of one part.
    """

    def __init__(
        self,
        *,
        pool: ConnectionPool[Connection],
        store: StagingStore,
        cluster: Callable[[], Cluster],
        open_reader: OpenReader,
        part: int = PART_RECORDS,
    ) -> None:
        self._pool = pool
        self._store = store
        self._cluster = cluster
        self._open_reader = open_reader
        self._part = part

    def stage(self, cursor: BackfillCursor) -> BackfillStep:
        """Stage the next part.

        Raises:
            ConfigurationError: the source is retired, its topic was made anew, a record cannot be read, or a person has
                to decide about it.
            DependencyError: Kafka, PostgreSQL or the staging store does not answer.
        """
        with database_errors_translated(), self._pool.connection() as connection:
            row = row_of(connection, cursor.backfill)
            values = {
                "backfill": row.backfill,
                "passed": cursor.passed,
                "gone": cursor.gone,
            }
            connection.execute(query("backfill_moved"), values)
        state = BackfillStatus(row.state)
        if state is not BackfillStatus.RUNNING:
            return BackfillStep(state=state, cursor=cursor)
        if row.source_state == SourceStatus.RETIRED:
            raise ConfigurationError(f"source {row.source!r} is retired")
        if cursor.range >= len(row.ranges):
            return BackfillStep(state=BackfillStatus.DONE, cursor=cursor)
        try:
            return self._stage_part(row, cursor)
        except DependencyError as error:
            _note(self._pool, row.backfill, str(error))
            raise

    def _stage_part(self, row: BackfillRow, cursor: BackfillCursor) -> BackfillStep:
        partition = AuditedPartition(**row.ranges[cursor.range])
        offset = max(cursor.offset, partition.first_offset)
        read = self._read(row, partition, offset)
        following = replace(
            cursor,
            offset=read.next_offset,
            passed=cursor.passed + read.passed,
            gone=cursor.gone + read.gone,
        )
        if read.next_offset >= partition.next_offset:
            following = replace(following, range=cursor.range + 1, offset=0)
        ref = None
        if read.records:
            ref = self._staged(row, partition, read)
        return BackfillStep(
            state=BackfillStatus.RUNNING,
            cursor=following,
            ref=ref,
            records=len(read.records),
            rate=row.rate,
        )

    def _read(
        self, row: BackfillRow, partition: AuditedPartition, offset: int
    ) -> _Records:
        key = PartitionKey(partition.topic, partition.partition)
        topics = self._cluster().topics([partition.topic])
        topic = topics.get(partition.topic)
        if topic is None or topic.topic_id != partition.topic_id:
            raise ConfigurationError(
                f"topic {partition.topic} is gone, or was made anew"
            )
        first_kept = self._cluster().offsets([key])[key].first_offset
        if row.by_record:
            return self._read_named(row, partition, offset, first_kept)
        begin = min(max(offset, first_kept), partition.next_offset)
        with self._open_reader() as reader:
            page = reader.read(partition, begin, limit=self._part)
        passed = page.next_offset - offset
        gone = begin - offset
        return _Records(page.records, page.next_offset, passed, gone, page.before)

    def _read_named(
        self,
        row: BackfillRow,
        partition: AuditedPartition,
        offset: int,
        first_kept: int,
    ) -> _Records:
        values = {
            "backfill": row.backfill,
            "topic": partition.topic,
            "partition": partition.partition,
            "offset": offset,
            "limit": min(self._part, _NAMED_RECORDS),
        }
        with database_errors_translated(), self._pool.connection() as connection:
            offsets: list[int] = fetch_all(
                connection, scalar_row, "backfill_records_from", values
            )
        records: list[KafkaRecord] = []
        size = 0
        done = 0
        with self._open_reader() as reader:
            for wanted in offsets:
                if size >= MAX_BYTES:
                    break
                done += 1
                if wanted < first_kept:
                    continue
                page = reader.read(partition, wanted, limit=1)
                # Compaction may have removed it; then the next one comes.
                for record in page.records:
                    if record.offset == wanted:
                        records.append(record)
                        size += len(record.value or b"")
        next_offset = partition.next_offset
        if done < len(offsets):
            next_offset = offsets[done]
        elif len(offsets) == values["limit"]:
            next_offset = offsets[-1] + 1
        return _Records(records, next_offset, done, done - len(records))

    def _staged(
        self,
        row: BackfillRow,
        partition: AuditedPartition,
        read: _Records,
    ) -> BatchRef:
        records = read.records
        offsets = OffsetRange(
            cluster_id=self._cluster().cluster_id(),
            topic=partition.topic,
            topic_id=partition.topic_id,
            partition=partition.partition,
            first_offset=records[0].offset,
            next_offset=records[-1].offset + 1,
            backfill=row.backfill,
        )
        spec = SourceSpec.from_json(row.spec)
        with database_errors_translated(), self._pool.connection() as connection:
            decisions = decisions_of(connection, [row.source])
        try:
            return stage(
                records,
                spec,
                offsets,
                self._store,
                before=read.before,
                decisions=decisions,
            )
        except SourceStoppedError as error:
            raise ConfigurationError(str(error)) from error


class PartStep:
    """Hands a part over and waits for its batch.

    Args:
        client: of Temporal.
        pool: of connections to PostgreSQL.
        store: of staged files.
        wait_seconds: how long one attempt waits.
    """

    def __init__(
        self,
        *,
        client: Client,
        pool: ConnectionPool[Connection],
        store: StagingStore,
        wait_seconds: float = _WAIT_SECONDS,
    ) -> None:
        self._client = client
        self._pool = pool
        self._store = store
        self._wait_seconds = wait_seconds

    async def publish(self, ref: BatchRef) -> PartResult:
        """Signal the entity, and wait; what it has already is recognised.

        Raises:
            DependencyError: Temporal or PostgreSQL does not answer.
        """
        result = await asyncio.to_thread(self._look, ref)
        if _is_over(result):
            return result
        spec = await asyncio.to_thread(self._spec_of, ref)
        await hand_over(self._client, ref, spec)
        end = time.monotonic() + self._wait_seconds
        while time.monotonic() < end:
            await asyncio.sleep(_LOOK_SECONDS)
            result = await asyncio.to_thread(self._look, ref)
            if _is_over(result):
                return result
        refused, waits_for = await self._why(ref)
        why = refused or waits_for
        await asyncio.to_thread(_note, self._pool, ref.backfill, why)
        return replace(result, refused=refused)

    def end(self, end: BackfillEnd) -> None:
        """Write how it ended, and remove what is staged for it."""
        values = {
            "backfill": end.backfill,
            "state": end.state.value,
            "error": end.error,
        }
        with database_errors_translated(), self._pool.connection() as connection:
            row = row_of(connection, end.backfill)
            connection.execute(query("end_backfill"), values)
        prefix = f"backfills/{row.source}/{row.backfill}"
        self._store.delete(self._store.names(prefix))

    def _look(self, ref: BatchRef) -> PartResult:
        names = ("backfill", "topic", "partition", "first_offset", "next_offset")
        values = {name: getattr(ref, name) for name in names}
        with database_errors_translated(), self._pool.connection() as connection:
            row = fetch_one(connection, class_row(_PartState), "backfill_state", values)
        if row is None:
            raise ConfigurationError(f"backfill {ref.backfill} is not in the database")
        state = BackfillStatus(row.state)
        return PartResult(is_published=row.is_published, state=state)

    def _spec_of(self, ref: BatchRef) -> SourceSpec:
        with database_errors_translated(), self._pool.connection() as connection:
            row = row_of(connection, ref.backfill)
        return SourceSpec.from_json(row.spec)

    async def _why(self, ref: BatchRef) -> tuple[str, str]:
        """Why the batch of a part failed; else what it waits for."""
        try:
            state = await running_state(self._client, ref.source)
        except DependencyError as error:
            return "", str(error)
        if state is None:
            return "", "the source's workflow does not run"
        if ref in state.backfilling:
            return "", "its batch is worked on"
        if ref in state.backfills:
            return "", "the source is paused, halted, or has newer records"
        return state.backfill_refused, ""


def _note(
    pool: ConnectionPool[Connection],
    backfill: int,
    waits_for: str,
) -> None:
    """Write why the part in progress waits."""
    values = {"backfill": backfill, "waits_for": waits_for}
    with database_errors_translated(), pool.connection() as connection:
        connection.execute(query("backfill_waits"), values)


def _is_over(result: PartResult) -> bool:
    return result.is_published or result.state in ENDED


def row_of(connection: Connection, backfill: int) -> BackfillRow:
    """The row of a backfill.

    Raises:
        ConfigurationError: there is none.
    """
    values = {"backfill": backfill}
    row = fetch_one(connection, class_row(BackfillRow), "backfill_row", values)
    if row is None:
        raise ConfigurationError(f"backfill {backfill} is not in the database")
    return row

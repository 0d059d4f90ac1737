"""Publish a batch: one transaction in which readers see all of it, the position moves, and every event is accounted for."""

import io
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl
from psycopg_pool import ConnectionPool

from corpus.batch import (
    BatchInput,
    BatchKind,
    BatchRef,
    BatchReport,
    BatchState,
    Expire,
    LoadedSource,
    PreparedBatch,
    PublishRequest,
    RewindRequest,
    RewoundSource,
    next_state,
    staged_refs,
)
from corpus.database import Connection, database_errors_translated
from corpus.errors import (
    BatchNumberTakenError,
    ConfigurationError,
    DependencyError,
    MassExpiryError,
    MissingVectorError,
    PositionGapError,
    StalePreparationError,
)
from corpus.publish.copy_in import copy_in, instant
from corpus.source import FreshnessSpec, SourceSpec
from corpus.sql import query
from corpus.staging.store import StagingStore

logger = logging.getLogger(__name__)

# The planner guesses temporary tables too small; above this many rows real figures pay.
_ANALYZE_ROWS = 500
_ANALYZE_DECISIONS = 50
_PUBLISHED = next_state(BatchState.EMBEDDED, BatchState.PUBLISHED)  # what this step does to a batch
_OUTCOMES = ("applied", "unchanged", "superseded", "dead_lettered", "ignored")


@dataclass(frozen=True, slots=True)
class PartitionRange:
    """Offsets of one partition that a batch moves the position over."""

    topic: str
    partition: int
    first_offset: int
    next_offset: int


class Publisher:
    """The publish step, and the two small looks that a source's entity takes at the database."""

    def __init__(self, *, store: StagingStore, pool: ConnectionPool[Connection]) -> None:
        self._store = store
        self._pool = pool

    def publish(self, request: PublishRequest) -> BatchReport:
        """Publish one batch; a repeated attempt returns what the first one did.

        1. lock the source; return the ledger's row if this batch stands there
        2. lock the positions; a gap is an error, and what is applied already is none of this batch's
        3. copy the batch in, judge every document against the fence
        4. close what ends, open what begins, all at one instant
        5. write ledger, ranges, positions, dead letters
        6. after the commit, remove the staged files

        Raises:
            PositionGapError: offsets are missing before this batch.
            StalePreparationError, MissingVectorError: prepare or embed again; nothing was changed.
            MassExpiryError: an expiry order would withdraw more than the source allows.
            DependencyError: PostgreSQL or the staging store does not answer.
        """
        batch = request.batch
        with database_errors_translated(), self._pool.connection() as connection:
            # Outside of the transaction: it makes the session's tables once.
            connection.execute(query("create_incoming"))
            with connection.transaction():
                report = self._publish(connection, request)
            subscribers = tuple(
                row[0]
                for row in connection.execute(query("active_subscribers"), {"source": batch.source})
            )
        self._clean_up(request)
        return replace(report, subscribers=subscribers if report.published_at_ms else ())

    def _publish(self, connection: Connection, request: PublishRequest) -> BatchReport:
        batch = request.batch
        # Step 1.
        connection.execute(query("lock_publishing"), {"source": batch.source})
        row = connection.execute(query("lock_source"), {"source": batch.source}).fetchone()
        if row is None:
            raise ConfigurationError(
                f"source {batch.source!r} is not in the database; run `freshet apply`"
            )
        published_at, spec = row[0], SourceSpec.from_json(row[2])
        known = _ledger_report(connection, request)
        if known is not None:
            return known
        if batch.batch <= row[3]:
            # Subscribers read the ledger forwards: what came behind their cursor would never be told.
            raise BatchNumberTakenError(
                f"batch {batch.batch} of source {batch.source!r} comes after batch {row[3]} was published"
            )
        common = {
            "source": batch.source,
            "batch": batch.batch,
            "published_at": published_at,
            "epoch": row[1],
        }
        common |= {"expire_after": spec.freshness.expire_after_seconds}
        order = batch.order
        if isinstance(order, Expire):
            return _expire(connection, request, _as_configured(order, spec.freshness), common)
        assert request.prepared is not None
        # Step 2.
        ranges = [_range(connection, refs) for refs in _by_partition(order.refs)]
        _check_starts(request.prepared, ranges)
        moved = [found for found in ranges if found.next_offset > found.first_offset]
        if not moved:  # everything was applied before: nothing to see, nothing to count
            return BatchReport(
                source=batch.source,
                batch=batch.batch,
                kind=BatchKind.INGEST,
                state=_PUBLISHED,
            )
        # Steps 3, 4.
        events = self._copy(connection, request.prepared)
        common |= {
            "space_id": request.prepared.space_id,
            "pipeline": request.prepared.pipeline,
            "language": spec.text_search_language,
        }
        counts = _write(connection, common)
        # Step 5.
        outcomes = _outcomes(connection)
        _account(connection, request, common, moved, events, outcomes, counts)
        return _report(batch, BatchKind.INGEST, outcomes | counts, published_at)

    # ── step 3 ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _copy(self, connection: Connection, prepared: PreparedBatch) -> pl.DataFrame:
        """Copy in what was prepared."""
        events = pl.read_parquet(io.BytesIO(self._store.get(prepared.events)))
        documents = pl.read_parquet(io.BytesIO(self._store.get(prepared.documents)))
        chunks = pl.read_parquet(io.BytesIO(self._store.get(prepared.chunks)))
        copy_in(connection, events, documents, chunks)
        if max(documents.height, chunks.height, events.height) > _ANALYZE_ROWS:
            connection.execute(query("analyze_incoming"))
        return events

    def _clean_up(self, request: PublishRequest) -> None:
        """Remove the staged files; what stays behind after a crash costs disk, never truth."""
        names = [ref.url for ref in staged_refs(request.batch.order)]
        if request.prepared is not None:
            prepared = request.prepared
            names += [
                file.url
                for file in (prepared.events, prepared.documents, prepared.chunks, prepared.texts)
            ]
        try:
            if names:
                self._store.delete(names)
        except DependencyError as error:
            logger.warning(
                "staged files stay behind",
                extra={"action": "staged_files_kept", "error": str(error)},
            )

    # ── what the entity asks ────────────────────────────────────────────────────────────────────────────────────────

    def load_source(self, source: str) -> LoadedSource:
        """What a source's entity starts from."""
        with database_errors_translated(), self._pool.connection() as connection:
            row = connection.execute(query("load_source"), {"source": source}).fetchone()
        if row is None:
            # Transient: the entity may have been signalled a moment before `freshet apply` committed.
            raise DependencyError(
                f"source {source!r} is not in the database yet; run `freshet apply`"
            )
        limits = SourceSpec.from_json(row[0]).limits
        return LoadedSource(
            last_batch=row[2],
            max_records=limits.max_records,
            max_bytes=limits.max_bytes,
            max_in_flight=limits.max_in_flight,
            epoch=row[1],
        )

    def rewind_source(self, request: RewindRequest) -> RewoundSource:
        """Let consumers seek to the position rows again; with `halt`, stop the source."""
        log = logger.error if request.halt else logger.warning
        log(
            "source rewinds",
            extra={
                "action": "source_rewound",
                "source": request.source,
                "reason": request.reason,
                "halt": request.halt,
            },
        )
        with database_errors_translated(), self._pool.connection() as connection:
            values = {"source": request.source, "reason": request.reason, "halt": request.halt}
            row = connection.execute(query("rewind_source"), values).fetchone()
        if row is None:
            raise ConfigurationError(
                f"source {request.source!r} is not in the database; run `freshet apply`"
            )
        return RewoundSource(epoch=row[0])


# ── step 1 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _ledger_report(connection: Connection, request: PublishRequest) -> BatchReport | None:
    batch = request.batch
    cursor = connection.execute(query("ledger_row"), {"source": batch.source, "batch": batch.batch})
    row = cursor.fetchone()
    if row is None:
        return None
    assert cursor.description is not None
    found = dict(zip((column.name for column in cursor.description), row, strict=True))
    if found["run_id"] != request.run_id:
        raise BatchNumberTakenError(
            f"batch {batch.batch} of source {batch.source!r} was published by workflow run {found['run_id']}, this is {request.run_id}"
        )
    return _report(batch, BatchKind(found["kind"]), found, found["published_at"])


def _report(
    batch: BatchInput, kind: BatchKind, counts: dict[str, Any], published_at: datetime
) -> BatchReport:
    names = set(BatchReport.__dataclass_fields__) - {
        "source",
        "batch",
        "kind",
        "state",
        "published_at_ms",
        "subscribers",
        "detail",
    }
    return BatchReport(
        source=batch.source,
        batch=batch.batch,
        kind=kind,
        state=_PUBLISHED,
        published_at_ms=round(published_at.timestamp() * 1000),
        **{name: counts.get(name, 0) for name in names},
    )


# ── step 2 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _by_partition(refs: Iterable[BatchRef]) -> list[list[BatchRef]]:
    groups: dict[tuple[str, int], list[BatchRef]] = {}
    for ref in sorted(refs, key=lambda ref: (ref.topic, ref.partition, ref.first_offset)):
        groups.setdefault((ref.topic, ref.partition), []).append(ref)
    return list(groups.values())


def _range(connection: Connection, refs: Sequence[BatchRef]) -> PartitionRange:
    """Lock a partition's position and walk its references over it.

    Raises:
        PositionGapError: they do not start where the corpus stands, or belong to another incarnation of the topic.
    """
    first = refs[0]
    where = f"{first.topic}/{first.partition} of source {first.source!r}"
    row = connection.execute(
        query("lock_position"),
        {"source": first.source, "topic": first.topic, "partition": first.partition},
    ).fetchone()
    if row is None:
        raise PositionGapError(
            f"{where} has no position row; the consumer writes one before it reads"
        )
    start, topic_id = row
    position = start
    for ref in refs:
        if ref.topic_id != topic_id:
            raise PositionGapError(
                f"{where}: the topic was recreated (id {topic_id} was read, the batch comes from {ref.topic_id})"
            )
        if ref.first_offset > position:
            raise PositionGapError(
                f"{where}: offsets {position} to {ref.first_offset - 1} are missing"
            )
        position = max(position, ref.next_offset)
    return PartitionRange(first.topic, first.partition, start, position)


def _check_starts(prepared: PreparedBatch, ranges: Sequence[PartitionRange]) -> None:
    """What was prepared must begin where the corpus stands now.

    Another batch may have applied some of it; what a document's events come to is found over all of them, so the rest has to be
    folded anew. Or the corpus stands further back, after a failover; nothing is skipped.

    Raises:
        StalePreparationError: it does not.
    """
    starts = {(start.topic, start.partition): start.offset for start in prepared.starts}
    for found in ranges:
        start = starts.get((found.topic, found.partition))
        if start != found.first_offset:
            raise StalePreparationError(
                f"{found.topic}/{found.partition} stands at {found.first_offset}, what was prepared begins at {start}; prepare again"
            )


# ── steps 4, 5 ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _count(connection: Connection, name: str, values: dict[str, Any]) -> int:
    return connection.execute(query(name), values).rowcount


def _write(connection: Connection, common: dict[str, Any]) -> dict[str, int]:
    """Judge, then change; nothing is changed before everything needed is known to be there."""
    if _count(connection, "decide", common) > _ANALYZE_DECISIONS:
        connection.execute(query("analyze_decided"))
    stale = connection.execute(query("stale_preparation")).fetchone()
    if stale and stale[0]:
        raise StalePreparationError(
            f"{stale[0]} documents changed since they were prepared, {stale[1]!r} among them; prepare again"
        )
    missing = connection.execute(query("missing_vectors"), common).fetchone()
    if missing and missing[0]:
        raise MissingVectorError(
            f"{missing[0]} texts have no vector in embedding space {common['space_id']}; embed again"
        )
    closed = _count(connection, "close_chunks", common)
    opened = _count(connection, "open_chunks", common)
    reused = connection.execute(query("count_reused"), common).fetchone()
    embedded = connection.execute(query("count_embedded"), common).fetchone()
    _count(connection, "close_heads", common)
    written = _count(connection, "open_documents", common)
    deleted = _count(connection, "open_tombstones", common)
    _count(connection, "observe_unchanged", common)
    _count(connection, "settle_events", common)
    return {
        "documents_written": written,
        "documents_deleted": deleted,
        "chunks_opened": opened,
        "chunks_closed": closed,
        "chunks_reused": reused[0] if reused else 0,
        "texts_embedded": embedded[0] if embedded else 0,
    }


def _outcomes(connection: Connection) -> dict[str, int]:
    found = dict(connection.execute(query("count_events")).fetchall())
    outcomes = {
        name: found.pop("dead_letter" if name == "dead_lettered" else name, 0) for name in _OUTCOMES
    }
    if found:
        raise AssertionError(f"events without a final outcome: {found}")
    return outcomes | {"records": sum(outcomes.values())}


def _account(
    connection: Connection,
    request: PublishRequest,
    common: dict[str, Any],
    moved: Sequence[PartitionRange],
    events: pl.DataFrame,
    outcomes: dict[str, int],
    counts: dict[str, int],
) -> None:
    _ledger(
        connection,
        request,
        common,
        outcomes | counts | {"documents_expired": 0},
        BatchKind.INGEST,
        None,
    )
    lengths = events.group_by("topic", "partition").len().iter_rows()
    per_partition = {(topic, partition): rows for topic, partition, rows in lengths}
    for found in moved:
        values = {
            **common,
            "topic": found.topic,
            "partition": found.partition,
            "first_offset": found.first_offset,
            "next_offset": found.next_offset,
            "records": per_partition.get((found.topic, found.partition), 0),
        }
        connection.execute(query("insert_range"), values)
        if connection.execute(query("move_position"), values).rowcount != 1:
            raise AssertionError(
                f"the position of {found.topic}/{found.partition} moved under its lock"
            )
    connection.execute(query("insert_dead_letters"), common)


def _ledger(
    connection: Connection,
    request: PublishRequest,
    common: dict[str, Any],
    counts: dict[str, int],
    kind: BatchKind,
    reason: str | None,
) -> None:
    batch = request.batch
    staged = [ref.staged_at_ms for ref in staged_refs(batch.order)]
    values = {
        "pipeline": "",
        "space_id": None,
        **common,
        **counts,
        "kind": kind.value,
        "state": _PUBLISHED.value,
        "reason": reason,
        "workflow_id": request.workflow_id,
        "run_id": request.run_id,
        "staged_at": instant(min(staged)) if staged else common["published_at"],
    }
    connection.execute(query("insert_ledger"), values)
    connection.execute(query("source_published"), common)
    payload = {"source": batch.source, "batch": batch.batch, "kind": kind.value}
    connection.execute(query("notify_published"), {"payload": json.dumps(payload)})


def _as_configured(order: Expire, policy: FreshnessSpec) -> Expire:
    """The order by the source's rule of now: it may have waited while a person changed that."""
    seconds = policy.expire_after_seconds
    rule = (
        order.rule
        if seconds == order.expire_after_seconds
        else "expires_at"
        if seconds is None
        else f"expires_at or expire_after={seconds}s"
    )
    return replace(
        order, expire_after_seconds=seconds, max_ratio=policy.max_expiry_ratio, rule=rule
    )


def _expire(
    connection: Connection, request: PublishRequest, order: Expire, common: dict[str, Any]
) -> BatchReport:
    """Withdraw overdue documents, judged now by the database's clock, in one transaction.

    Raises:
        MassExpiryError: more than the order's ratio of the visible documents is overdue; nothing was withdrawn.
    """
    values = common | {"rule": order.rule}
    row = connection.execute(query("count_overdue"), values).fetchone()
    visible, overdue = row if row else (0, 0)
    batch = request.batch
    if overdue == 0:
        return BatchReport(
            source=batch.source,
            batch=batch.batch,
            kind=BatchKind.EXPIRY,
            state=_PUBLISHED,
        )
    if overdue > order.max_ratio * visible:
        raise MassExpiryError(
            f"{overdue} of {visible} documents of source {batch.source!r} are overdue, more than the ratio {order.max_ratio} that "
            "max_expiry_ratio allows; nothing was withdrawn. Check the source; raise the ratio if it is meant."
        )
    row = connection.execute(query("expire_documents"), values).fetchone()
    expired, closed = row if row else (0, 0)
    counts = {
        name: 0
        for name in (
            "unchanged",
            "superseded",
            "dead_lettered",
            "ignored",
            "documents_written",
            "documents_deleted",
        )
    }
    counts |= {"records": expired, "applied": expired, "documents_expired": expired}
    counts |= {"chunks_opened": 0, "chunks_closed": closed, "chunks_reused": 0, "texts_embedded": 0}
    _ledger(connection, request, common, counts, BatchKind.EXPIRY, order.rule)
    return _report(batch, BatchKind.EXPIRY, counts, common["published_at"])

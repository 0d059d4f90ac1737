"""Publish a batch: in one transaction readers see all of it, the position moves, and every event is accounted for."""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import psycopg
from psycopg.rows import class_row, scalar_row
from psycopg_pool import ConnectionPool

from corpus.batch import (
    BatchInput,
    BatchKind,
    BatchReport,
    Correct,
    Erase,
    Expire,
    Ingest,
    LoadedSource,
    PreparedBatch,
    PublishRequest,
    RewindRequest,
    RewoundSource,
    staged_refs,
)
from corpus.database import Connection, database_errors_translated, fetch_one
from corpus.disclosure.error_text import public_text
from corpus.erase.finisher import EraseFinisher
from corpus.errors import ConfigurationError, DependencyError, LockWaitError
from corpus.locks import end_stuck_copies, publishing_holder
from corpus.publish.backfill import is_published, record_parts
from corpus.publish.changes import judge, write_changes
from corpus.publish.contents import (
    PARTS,
    Frames,
    check_files,
    read_contents,
    read_in_transaction,
)
from corpus.publish.copy_in import copy_in
from corpus.publish.correction import correct
from corpus.publish.erasure import drop_erased, erase
from corpus.publish.expiry import expire
from corpus.publish.ledger import (
    Counts,
    account_for_text,
    count_outcomes,
    keep_outcomes,
    move_positions,
    published_report,
    record_batch,
    report,
)
from corpus.publish.positions import PartitionRange, check_starts, lock_ranges
from corpus.publish.refusals import refused_events, remember
from corpus.publish.transaction import PublishTransaction, begin, check_space
from corpus.publish.truncation import add_deletes, note_deletes
from corpus.publish.versions import check_versions
from corpus.source import SourceSpec
from corpus.sql import query
from corpus.sqlstates import is_data_error
from corpus.staging.bound import check_refs
from corpus.staging.layout import is_of_batch, is_of_records
from corpus.staging.store import StagingStore

logger = logging.getLogger(__name__)

# The planner takes temporary tables for small; above this many rows, real figures are worth an ANALYZE.
_ANALYZE_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSource:
    """What a source's entity starts from (query `load_source`)."""

    spec: dict[str, Any]
    epoch: int
    state: str
    reason: str
    last_batch: int
    due: int


class Publisher:
    """The publish step, and the two questions that a source's entity has for the database.

    Args:
        store: of the staged files.
        pool: of connections to PostgreSQL.
    """

    def __init__(
        self, *, store: StagingStore, pool: ConnectionPool[Connection]
    ) -> None:
        self._store = store
        self._pool = pool
        self._eraser = EraseFinisher(store=store, pool=pool)

    def publish(self, request: PublishRequest) -> BatchReport:
        """Publish one batch; a repeated attempt returns the report of the first.

        1. lock the source; return the ledger's row if this batch is in it
        2. lock the positions; a gap is an error, and what is applied already is no part of this batch
        3. copy the batch in, without what was erased; judge every document against the fence
        4. close what ends, open what begins, all at one instant
        5. write ledger, ranges, positions, what became of each record, dead letters
        6. after the commit, remove the staged files

        An expiry, a correction and an erasure have no events: they change documents in place of the steps 2 to 4.

        Raises:
            PositionGapError: offsets are missing before this batch.
            StalePreparationError, MissingVectorError: prepare or embed again; nothing was changed. If PostgreSQL
                refuses some documents, the next preparation makes dead letters of their events.
            MassExpiryError: an expiry order would withdraw more than the source allows.
            BatchNumberTakenError: another run published under this batch's number, or a later batch is published.
            LockWaitError: another session publishes the source, or changes its row; the message names it.
            StagedFileError: a file is not one of this batch, or of its source; none of them was opened or removed.
            DependencyError: PostgreSQL or the staging store does not answer.
        """
        _check_bound(request)
        values = {"source": request.batch.source}
        with database_errors_translated(), self._pool.connection() as connection:
            # Outside of the transaction: the tables are created once per session.
            if not fetch_one(connection, scalar_row, "has_incoming"):
                connection.execute(query("create_incoming"))
            explained = self._errors_explained(connection, request)
            moved: list[PartitionRange] = []
            with explained, connection.transaction():
                published = self._publish(begin(connection, request), moved)
            notified = fetch_one(connection, scalar_row, "count_subscribers", values)
        self._clean_up(request, moved)  # Step 6.
        if not published.published_at_ms:
            return published
        return replace(published, notified=notified or 0)

    def _publish(
        self, transaction: PublishTransaction, moved: list[PartitionRange]
    ) -> BatchReport:
        """The steps inside the transaction; adds the ranges that the positions are moved over to `moved`."""
        published = published_report(transaction)  # Step 1.
        if published is not None:
            return published
        match transaction.batch.order:
            case Expire() as order:
                return expire(transaction, order, self._store)
            case Correct() as order:
                return correct(transaction, order)
            case Erase() as order:
                return erase(transaction, order)
            case Ingest() as order:
                prepared = transaction.request.prepared
                assert prepared is not None, (
                    "a batch of events is prepared before it is published"
                )
                return self._publish_events(transaction, order, prepared, moved)

    def _publish_events(
        self,
        transaction: PublishTransaction,
        order: Ingest,
        prepared: PreparedBatch,
        moved: list[PartitionRange],
    ) -> BatchReport:
        kind = BatchKind.INGEST
        # Step 2.
        if order.refs[0].backfill:
            kind = BatchKind.BACKFILL
            is_new = not is_published(transaction, order.refs)
        else:
            ranges = lock_ranges(transaction, order.refs)
            check_starts(prepared, ranges)
            moved += [each for each in ranges if not each.is_empty]
            is_new = bool(moved)
        if not is_new:  # everything was applied before
            return report(transaction.batch, kind, Counts())
        check_space(transaction)
        # Step 3.
        frames = read_in_transaction(transaction.connection, self._store, prepared)
        _copy_in(transaction.connection, frames)
        drop_erased(transaction)
        check_versions(transaction, prepared)
        truncated = add_deletes(transaction, frames.events)
        judge(transaction)
        # Step 4.
        changes = write_changes(transaction)
        note_deletes(transaction, truncated)
        # Step 5.
        counts = replace(changes, **count_outcomes(transaction))
        text = account_for_text(transaction)
        record_batch(transaction, kind, counts, text)
        if kind is BatchKind.BACKFILL:
            record_parts(transaction, order.refs)
        else:
            _account_for_records(transaction, frames, moved)
        transaction.execute("show_again")
        transaction.execute("insert_dead_letters")
        transaction.execute("insert_waiting_fetches")
        return report(transaction.batch, kind, counts, transaction.published_at)

    @contextmanager
    def _errors_explained(
        self, connection: Connection, request: PublishRequest
    ) -> Generator[None]:
        """Find the cause of a failed transaction, once it has ended.

        Raises:
            LockWaitError: another session holds the source's locks; the message names it.
            StalePreparationError: some documents are refused; the next preparation makes dead letters of them.
        """
        try:
            yield
        except psycopg.errors.LockNotAvailable as error:
            source = request.batch.source
            holder = publishing_holder(connection, source)
            end_stuck_copies(connection)
            raise LockWaitError(
                f"batch {request.batch.batch} of source {source!r} waits for the lock of publishing: {holder}"
            ) from error
        except psycopg.Error as error:
            if request.prepared is None or not is_data_error(error):
                raise
            frames = read_contents(self._store, request.prepared)
            refused = refused_events(connection, request, frames)
            if not refused:
                raise
            raise remember(connection, request, refused) from None

    def _clean_up(self, request: PublishRequest, moved: list[PartitionRange]) -> None:
        """Remove the staged files, and what is left of earlier attempts. `corpus.staging.sweep` removes what remains.

        After an erasure also those that hold what is erased; storers continue with what remains (`corpus.erase`).

        Args:
            request: what was published.
            moved: where this attempt moved the positions; empty where an earlier attempt published.
        """
        names = [ref.url for ref in staged_refs(request.batch.order)]
        prepared = request.prepared
        if prepared is not None:
            names += [getattr(prepared, part).url for part in PARTS]
        try:
            if isinstance(request.batch.order, Erase):
                self._eraser.finish_all()
            self._store.delete(names)
            if moved and (leftovers := self._leftovers(request.batch, moved)):
                self._store.delete(leftovers)
        except (
            Exception
        ) as error:  # the batch is published, whatever becomes of its files
            context = {
                "action": "staged_files_kept",
                "source": request.batch.source,
                "batch": request.batch.batch,
                "error": public_text(error),
            }
            logger.warning("staged files could not be removed", extra=context)

    def _leftovers(self, batch: BatchInput, moved: list[PartitionRange]) -> list[str]:
        """Files that no batch will read: cuts of applied records, preparations of this batch and earlier ones."""
        prefix = f"batches/{batch.source}"
        names = [
            name
            for name in self._store.names(prefix)
            if is_of_batch(name, batch.source, up_to=batch.batch)
        ]
        for part in moved:
            prefix = f"events/{batch.source}/{part.topic}/{part.partition}"
            names += [
                name
                for name in self._store.names(prefix)
                if is_of_records(name, below=part.next_offset)
            ]
        return names

    # ── what the entity needs ───────────────────────────────────────────────────────────────────────────────────────

    def load_source(self, source: str) -> LoadedSource:
        """What a source's entity starts from.

        Raises:
            DependencyError: the source is not in the database yet, or PostgreSQL does not answer.
        """
        values = {"source": source}
        with database_errors_translated(), self._pool.connection() as connection:
            stored = fetch_one(
                connection, class_row(StoredSource), "load_source", values
            )
        if stored is None:
            # Transient: the entity may have been signalled a moment before `freshet apply` committed.
            raise DependencyError(
                f"source {source!r} is not in the database yet; run `freshet apply`"
            )
        limits = SourceSpec.from_json(stored.spec).limits
        return LoadedSource(
            last_batch=stored.last_batch,
            max_records=limits.max_records,
            max_bytes=limits.max_bytes,
            max_in_flight=limits.max_in_flight,
            epoch=stored.epoch,
            state=stored.state,
            reason=stored.reason,
            due=stored.due,
        )

    def rewind_source(self, request: RewindRequest) -> RewoundSource:
        """Let consumers seek to the position rows again; with `halt`, stop the source.

        Nothing is changed where the source is no longer in the epoch in which the batch failed.

        Raises:
            ConfigurationError: the source is not in the database.
            DependencyError: PostgreSQL does not answer.
        """
        values = {
            "source": request.source,
            "reason": request.reason,
            "halt": request.halt,
            "epoch": request.epoch,
        }
        name = "rewind_source" if request.epoch is None else "rewind_source_of_epoch"
        level = logging.ERROR if request.halt else logging.WARNING
        logger.log(
            level, "source rewinds", extra={"action": "source_rewound", **values}
        )
        with database_errors_translated(), self._pool.connection() as connection:
            rewound = fetch_one(connection, class_row(RewoundSource), name, values)
        if rewound is None:
            raise ConfigurationError(
                f"source {request.source!r} is not in the database; run `freshet apply`"
            )
        return rewound


def _account_for_records(
    transaction: PublishTransaction, frames: Frames, moved: list[PartitionRange]
) -> None:
    records = _records_by_partition(frames.events)
    move_positions(transaction, moved, records)
    keep_outcomes(transaction)


def _check_bound(request: PublishRequest) -> None:
    """Check that the references and files are this batch's: what is published is removed afterwards."""
    batch = request.batch
    check_refs(staged_refs(batch.order), batch.source)
    if request.prepared is not None:
        check_files(request.prepared, batch.source, batch.batch)


def _copy_in(connection: Connection, frames: Frames) -> None:
    copy_in(connection, frames.events, frames.documents, frames.chunks)
    if frames.height > _ANALYZE_ROWS:
        connection.execute(query("analyze_incoming"))


def _records_by_partition(events: pl.DataFrame) -> Mapping[tuple[str, int], int]:
    """How many records were read from each (topic, partition)."""
    lengths = events.group_by("topic", "partition").len("records")
    return {
        (row["topic"], row["partition"]): row["records"]
        for row in lengths.iter_rows(named=True)
    }

"""The ledger: one row per published batch, with what became of every event; and the report made from it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime

from psycopg.rows import class_row

from corpus.batch import (
    OUTCOMES_KEPT_DAYS,
    BatchInput,
    BatchKind,
    BatchReport,
    BatchState,
    next_state,
    staged_refs,
)
from corpus.errors import BatchNumberTakenError
from corpus.publish.copy_in import from_epoch_ms
from corpus.publish.positions import PartitionRange
from corpus.publish.transaction import PublishTransaction
from corpus.trace import context as trace_context

# The state that this step gives a batch.
_PUBLISHED = next_state(BatchState.EMBEDDED, BatchState.PUBLISHED)

# Rows of outcomes that one batch may sweep; a batch writes one per partition.
_MAX_SWEPT = 100

# Outcome of an event -> its column in the ledger.
_OUTCOMES = {
    "applied": "applied",
    "unchanged": "unchanged",
    "superseded": "superseded",
    "dead_letter": "dead_lettered",
    "ignored": "ignored",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The counts of a batch; columns of the ledger, and fields of `BatchReport`."""

    records: int = 0
    applied: int = 0
    unchanged: int = 0
    superseded: int = 0
    dead_lettered: int = 0
    ignored: int = 0
    documents_written: int = 0
    documents_deleted: int = 0
    documents_expired: int = 0
    deletes_without_document: int = 0
    chunks_opened: int = 0
    chunks_closed: int = 0
    chunks_reused: int = 0
    texts_embedded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TextAccount:
    """What became of the text of the documents that a batch writes; columns of the ledger (query `text_account`)."""

    received_characters: int = 0
    kept_characters: int = 0
    dropped: str = "{}"  # JSON: characters per rule
    tokens: int = 0
    unknown_tokens: int = 0
    unknown_characters: int = 0
    documents_empty: int = 0
    documents_lossy: int = 0
    languages_unknown: int = 0  # documents whose event names a language that is none
    languages_unsure: int = 0  # documents whose language was not detected for sure
    documents_unknown: int = 0
    notes: str = (
        "{}"  # JSON: sums of the versions' notes; of one that is no number, documents
    )


NO_TEXT = TextAccount()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow(Counts):
    """A batch in the ledger (query `ledger_row`)."""

    run_id: str
    kind: str
    published_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeCount:
    """Events of the batch with one outcome (query `count_events`)."""

    outcome: str
    events: int


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def published_report(transaction: PublishTransaction) -> BatchReport | None:
    """The report of the batch, if an earlier attempt of the same run published it.

    Raises:
        BatchNumberTakenError: another run published under the number, or a later batch is published already.
    """
    request = transaction.request
    name = f"batch {transaction.batch.batch} of source {transaction.batch.source!r}"
    row = transaction.fetch_first(class_row(LedgerRow), "ledger_row")
    if row is None:
        last_batch = transaction.source.last_batch
        if transaction.batch.batch > last_batch:
            return None
        # Subscribers read the ledger forwards: they would never be notified of a batch behind their cursor.
        raise BatchNumberTakenError(
            f"{name} comes after batch {last_batch} was published"
        )
    if row.run_id != request.run_id:
        raise BatchNumberTakenError(
            f"{name} was published by workflow run {row.run_id}, this is {request.run_id}"
        )
    return report(transaction.batch, BatchKind(row.kind), row, row.published_at)


def report(
    batch: BatchInput,
    kind: BatchKind,
    counts: Counts,
    published_at: datetime | None = None,
) -> BatchReport:
    """The report of a batch.

    Args:
        batch: that was published.
        kind: of the batch.
        counts: from the ledger, or for it.
        published_at: None: the batch changed nothing and is not in the ledger.
    """
    published_at_ms = (
        0 if published_at is None else round(published_at.timestamp() * 1000)
    )
    return BatchReport(
        source=batch.source,
        batch=batch.batch,
        kind=kind,
        state=_PUBLISHED,
        published_at_ms=published_at_ms,
        **{field.name: getattr(counts, field.name) for field in fields(Counts)},
    )


def count_outcomes(transaction: PublishTransaction) -> dict[str, int]:
    """How many events of the batch have each final outcome, and their sum, under the names of `Counts`.

    Raises:
        AssertionError: an event has no final outcome, which the queries rule out.
    """
    events = {
        row.outcome: row.events
        for row in transaction.fetch_all(class_row(OutcomeCount), "count_events")
    }
    unknown = events.keys() - _OUTCOMES.keys()
    if unknown:
        raise AssertionError(f"events without a final outcome: {sorted(unknown)}")
    counts = {column: events.get(outcome, 0) for outcome, column in _OUTCOMES.items()}
    return {**counts, "records": sum(events.values())}


def account_for_text(transaction: PublishTransaction) -> TextAccount:
    """What became of the text of the document versions that the transaction has opened."""
    preparation = transaction.spec.pipeline
    return transaction.fetch_one(
        class_row(TextAccount),
        "text_account",
        min_kept_ratio=preparation.min_kept_ratio,
        max_unknown_ratio=preparation.max_unknown_ratio,
    )


# ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def record_batch(
    transaction: PublishTransaction,
    kind: BatchKind,
    counts: Counts,
    text: TextAccount = NO_TEXT,
    *,
    reason: str | None = None,
) -> None:
    """Write the batch to the ledger, and notify the sessions that listen.

    Args:
        transaction: that publishes the batch.
        kind: of the batch.
        counts: for the ledger.
        text: what became of the text of its documents.
        reason: the rule of an expiry, for people.
    """
    batch, request = transaction.batch, transaction.request
    staged_at_ms = min(
        (ref.staged_at_ms for ref in staged_refs(batch.order)), default=None
    )
    transaction.execute(
        "insert_ledger",
        **asdict(counts),
        **asdict(text),
        kind=kind.value,
        state=_PUBLISHED.value,
        reason=reason,
        workflow_id=request.workflow_id,
        run_id=request.run_id,
        staged_at=from_epoch_ms(staged_at_ms) or transaction.published_at,
        traceparent=trace_context.current.get() or None,
    )
    transaction.execute("source_published")


def move_positions(
    transaction: PublishTransaction,
    ranges: list[PartitionRange],
    records: Mapping[tuple[str, int], int],
) -> None:
    """Write the batch's offsets to the ledger and move the positions over them.

    Args:
        transaction: that publishes the batch.
        ranges: locked by it.
        records: read from each (topic, partition); a partition without any is missing.
    """
    for moved in ranges:
        partition = (moved.topic, moved.partition)
        values = asdict(moved)
        count = records.get(partition, 0)
        values["absent"] = moved.next_offset - moved.first_offset - count
        transaction.execute("insert_range", **values, records=count)
        if transaction.execute("move_position", **values) != 1:
            raise AssertionError(
                f"the position of {moved.topic}/{moved.partition} moved although it is locked"
            )
        transaction.execute("forget_refused_events", **values)


def keep_outcomes(transaction: PublishTransaction) -> None:
    """Keep what became of every record of the batch, and sweep a little of what is older than `OUTCOMES_KEPT_DAYS`."""
    transaction.execute("replace_outcomes")
    transaction.execute("insert_outcomes")
    transaction.execute("sweep_outcomes", kept_days=OUTCOMES_KEPT_DAYS, most=_MAX_SWEPT)

"""The next notice of a subscription, read from the ledger; and the cursor, moved by acknowledgements."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from psycopg.rows import class_row

from corpus.access.reader import reading_as
from corpus.access.teams import subscriber_reader
from corpus.database import Connection
from corpus.deliver import attempts
from corpus.deliver.subscription import (
    Acknowledgement,
    DeliveryInput,
    DueDelivery,
    NextNotice,
    Parking,
    WakeDue,
    WokenDeliveries,
)
from corpus.service import MAX_CHANGES, MAX_RANGES, BatchNotice, Change, OffsetRange
from corpus.sql import query

MAX_ERROR_CHARACTERS = 2_000  # of `delivery.last_error`
# A delivery that runs reads the ledger at least after its longest pause; a wake-up that is older is lost.
WAKE_UP_LOST_AFTER = attempts.PARKED_RETRY_INTERVAL + timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorRow:
    """A subscription and the cursor of its delivery."""

    state: str  # "active" or "ended"
    endpoint: str
    cursor_batch: int  # newest batch that was acknowledged


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """A published batch as its notice describes it."""

    batch: int
    kind: str
    published_at_ms: int
    reason: str | None
    documents_written: int
    documents_deleted: int
    documents_expired: int
    chunks_opened: int
    chunks_closed: int
    previous_batch: int
    published_at_us: int | None = None
    traceparent: str = ""

    def documents_changed(self) -> int:
        """Number of changes that a complete notice would list."""
        return self.documents_written + self.documents_deleted + self.documents_expired


def next_notice(connection: Connection, delivery: DeliveryInput) -> NextNotice:
    """The notice after the cursor, in the order of the ledger.

    The ledger holds published batches only, so no notice comes before its batch is visible.

    1. read the subscription; one that has ended ends the delivery
    2. make sure that the cursor is stored, and show up to which batch the ledger is read; a batch that is published
       afterwards wakes the delivery again
    3. build the notice of the batch after the cursor, as who reads in it sees the batch
    4. show whether there is something to deliver
    """
    key = {"subscriber": delivery.subscriber, "source": delivery.source}
    # Step 1.
    with connection.cursor(row_factory=class_row(CursorRow)) as cursor:
        cursor.execute(query("delivery_cursor"), key)
        subscription = cursor.fetchone()
    if subscription is None or subscription.state != "active":
        return NextNotice(ended=True)
    # Step 2.
    connection.execute(query("ensure_delivery"), key)
    connection.execute(query("delivery_reads"), key)
    # Step 3.
    reader = subscriber_reader(connection, delivery.subscriber, delivery.source)
    with reading_as(connection, reader):
        found = _notice_after(connection, delivery.source, subscription.cursor_batch)
    # Step 4.
    if found is None:
        connection.execute(query("delivery_idle"), key)
        return NextNotice(endpoint=subscription.endpoint)
    connection.execute(query("delivery_begins"), key)
    notice, traceparent = found
    return NextNotice(
        endpoint=subscription.endpoint, notice=notice, traceparent=traceparent
    )


def _notice_after(
    connection: Connection, source: str, cursor_batch: int
) -> tuple[BatchNotice, str] | None:
    """The notice of the batch after the cursor, as its reader sees it, and its trace; None: there is no such batch."""
    batch = _batch_after(connection, source, cursor_batch)
    if batch is None:
        return None
    ranges = _ranges(connection, source, batch.batch)
    changes = _changes(connection, source, batch)
    notice = build_notice(source, batch, ranges=ranges, changes=changes)
    return notice, batch.traceparent


def build_notice(
    source: str,
    batch: BatchRow,
    *,
    ranges: Sequence[OffsetRange],
    changes: Sequence[Change],
) -> BatchNotice:
    """A notice of bounded size; the changes that do not fit are counted."""
    listed = tuple(changes[:MAX_CHANGES])
    left_out = batch.documents_changed() - len(listed)
    columns: dict[str, Any] = asdict(batch)
    del columns["traceparent"]  # a header of the call
    return BatchNotice(
        notice_id=f"{source}:{batch.batch}",
        source=source,
        ranges=tuple(ranges[:MAX_RANGES]),
        changes=listed,
        changes_left_out=max(0, left_out),
        **columns,
    )


def _batch_after(
    connection: Connection, source: str, cursor_batch: int
) -> BatchRow | None:
    with connection.cursor(row_factory=class_row(BatchRow)) as cursor:
        cursor.execute(query("next_batch"), {"source": source, "cursor": cursor_batch})
        return cursor.fetchone()


def _ranges(connection: Connection, source: str, batch: int) -> list[OffsetRange]:
    parameters = {
        "source": source,
        "batch": batch,
        "most": MAX_RANGES,
    }
    with connection.cursor(row_factory=class_row(OffsetRange)) as cursor:
        cursor.execute(query("batch_ranges"), parameters)
        return cursor.fetchall()


def _changes(connection: Connection, source: str, batch: BatchRow) -> list[Change]:
    """Documents written and deleted, then documents expired, up to the limit of a notice."""
    parameters = {"source": source, "batch": batch.batch, "most": MAX_CHANGES}
    changes: list[Change] = []
    with connection.cursor(row_factory=class_row(Change)) as cursor:
        if batch.documents_written or batch.documents_deleted:
            cursor.execute(query("batch_changes"), parameters)
            changes += cursor.fetchall()
        parameters["most"] = MAX_CHANGES - len(changes)
        if batch.documents_expired and parameters["most"] > 0:
            cursor.execute(query("batch_expiries"), parameters)
            changes += cursor.fetchall()
    return changes


def acknowledge(connection: Connection, acknowledgement: Acknowledgement) -> None:
    """Move the cursor; a repetition changes nothing."""
    connection.execute(query("acknowledge_notice"), asdict(acknowledgement))


def park(connection: Connection, parking: Parking) -> None:
    """Record that a delivery is parked, or what holds it up."""
    # The text is the team's. PostgreSQL stores no NUL: refusing it would end the delivery.
    error = parking.error.replace("\0", "\N{REPLACEMENT CHARACTER}")[
        :MAX_ERROR_CHARACTERS
    ]
    connection.execute(query("park_delivery"), asdict(parking) | {"error": error})


# ── wake-ups ────────────────────────────────────────────────────────────────────────────────────────────────────────


def deliveries_to_wake(connection: Connection, request: WakeDue) -> list[DueDelivery]:
    """The deliveries of a source that have a batch to read and no wake-up outstanding."""
    values = {
        "source": request.source,
        "every": request.every,
        "lost_after": WAKE_UP_LOST_AFTER.total_seconds(),
    }
    with connection.cursor(row_factory=class_row(DueDelivery)) as cursor:
        cursor.execute(query("deliveries_to_wake"), values)
        return cursor.fetchall()


def deliveries_woken(connection: Connection, woken: WokenDeliveries) -> None:
    """Record that these deliveries were woken: until they read the ledger, no further wake-up is sent."""
    values = asdict(woken) | {"subscribers": list(woken.subscribers)}
    connection.execute(query("deliveries_woken"), values)

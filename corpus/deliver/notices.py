"""The next notice of a subscription, read from the ledger; and how far a subscriber has been told."""

from typing import Any

from psycopg.rows import class_row, dict_row

from corpus.database import Connection
from corpus.deliver.subscription import Acknowledgement, DeliveryInput, NextNotice, Parking
from corpus.service import MAX_CHANGES, MAX_RANGES, BatchNotice, Change, OffsetRange
from corpus.sql import query


def next_notice(connection: Connection, delivery: DeliveryInput) -> NextNotice:
    """The notice after the cursor, in the ledger's order. Only published batches are there, so none is told of too early."""
    key = {"subscriber": delivery.subscriber, "source": delivery.source}
    with connection.cursor(row_factory=dict_row) as cursor:
        stands = cursor.execute(query("delivery_cursor"), key).fetchone()
        if stands is None or stands["state"] != "active":
            return NextNotice(ended=True)
        cursor.execute(query("ensure_delivery"), key)
        row = cursor.execute(
            query("next_batch"), {"source": delivery.source, "cursor": stands["cursor_batch"]}
        ).fetchone()
        if row is None:
            cursor.execute(query("delivery_idle"), key)
            return NextNotice(endpoint=stands["endpoint"])
        cursor.execute(query("delivery_begins"), key)
    return NextNotice(endpoint=stands["endpoint"], notice=_notice(connection, delivery.source, row))


def _notice(connection: Connection, source: str, row: dict[str, Any]) -> BatchNotice:
    key = {"source": source, "batch": row["batch"]}
    with connection.cursor(row_factory=class_row(OffsetRange)) as cursor:
        ranges = cursor.execute(query("batch_ranges"), key | {"most": MAX_RANGES}).fetchall()
    with connection.cursor(row_factory=class_row(Change)) as cursor:
        changes: list[Change] = []
        if row["documents_written"] or row["documents_deleted"]:
            changes += cursor.execute(
                query("batch_changes"), key | {"most": MAX_CHANGES}
            ).fetchall()
        if row["documents_expired"] and len(changes) < MAX_CHANGES:
            changes += cursor.execute(
                query("batch_expiries"), key | {"most": MAX_CHANGES - len(changes)}
            ).fetchall()
    changed = row["documents_written"] + row["documents_deleted"] + row["documents_expired"]
    return BatchNotice(
        notice_id=f"{source}:{row['batch']}",
        source=source,
        ranges=tuple(ranges),
        changes=tuple(changes),
        changes_left_out=max(0, changed - len(changes)),
        **row,
    )


def acknowledge(connection: Connection, told: Acknowledgement) -> None:
    """Move the cursor; a repeat changes nothing."""
    connection.execute(
        query("acknowledge_notice"),
        {"subscriber": told.subscriber, "source": told.source, "batch": told.batch},
    )


def park(connection: Connection, parking: Parking) -> None:
    """Show that a delivery stands still, or what holds it up."""
    key = {"subscriber": parking.subscriber, "source": parking.source}
    connection.execute(
        query("park_delivery"), key | {"error": parking.error[:2_000], "parked": parking.parked}
    )

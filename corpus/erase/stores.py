"""The tables from which an erasure removes what it finds by the ids, beside documents and chunks."""

from collections.abc import Collection, Sequence
from typing import Any

from psycopg.rows import scalar_row

from corpus.database import Connection, fetch_one
from corpus.erase.unread import unread_letters
from corpus.sql import query

# Store -> the query that removes from it, and changes one row per thing that it removes.
_STORES = {
    "dead_letters": "erase_dead_letters",
    "outcomes": "erase_outcomes",
    "audit_findings": "erase_findings",
    "audit_records": "erase_audit_records",
    "audit_repairs": "erase_repairs",
    "corrections": "erase_corrections",
    "access_lists": "erase_access_lists",
}


def remove_from_stores(
    connection: Connection,
    document_ids: Sequence[str],
    dead_letters: Collection[int] = (),
    **values: Any,
) -> dict[str, int]:
    """Remove what names erased documents: store -> how many rows.

    Args:
        connection: in a transaction.
        document_ids: of the documents.
        dead_letters: of those that only mention one of the documents, the ones that a person chose.
        values: `source`, `erasure`, and `published_at`, the instant of the erasure.
    """
    unread = unread_letters(connection, values["source"], document_ids)
    unread = unread.with_chosen(dead_letters)
    values = values | {
        "document_ids": list(document_ids),
        "unread": list(unread.of_document),
        "unread_ids": list(unread.of_document.values()),
    }
    removed: dict[str, int] = {}
    for store, name in _STORES.items():
        removed[store] = connection.execute(query(name), values).rowcount
    mentions = fetch_one(connection, scalar_row, "erase_mentions", values)
    removed["mentions"] = int(mentions or 0)
    return removed

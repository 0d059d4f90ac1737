"""What follows the batch of an erasure: vectors, staged files, and the receipt.

The batch has removed the rows in one transaction. What is left is removed outside of it, by whichever storer comes
first, and again until nothing is left: `freshet.erasure` says how far it is, so a killed storer leaves nothing undone.
"""

import json
import logging
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row, scalar_row
from psycopg_pool import ConnectionPool

from corpus.database import Connection, database_errors_translated, fetch_all, fetch_one
from corpus.erase.receipt import signed
from corpus.erase.staged import HoldingFiles, holding_files
from corpus.erase.stores import remove_from_stores
from corpus.erase.unread import unread_letters
from corpus.sql import query
from corpus.staging.store import StagingStore
from corpus.staging.sweep import SourceProgress

logger = logging.getLogger(__name__)

_MAX_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """An erasure whose rows are removed and that has no receipt (query `erasures_to_finish`)."""

    erasure: str
    source: str
    document_ids: list[str]
    batch: int
    erased_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remaining:
    """What a way of retrieval still finds (query `erasure_remains`)."""

    way: str
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _ForReceipt:
    """A row of the query `erasure_for_receipt`."""

    erasure: str
    source: str
    documents: int
    document_ids: list[str]
    document_hashes: list[str]
    reason: str
    requested_by: str
    requested_at: datetime
    out_of_reach: list[dict[str, str]]
    batch: int
    erased_at: datetime
    removed: dict[str, int]
    probes: dict[str, int]
    staged_files: int
    staged_keys: int
    installation: str
    signing_key: bytes
    finished_at: datetime


class EraseFinisher:
    """Finishes erasures whose rows are removed.

    Args:
        store: of the staged files.
        pool: of connections to PostgreSQL.
    """

    def __init__(
        self, *, store: StagingStore, pool: ConnectionPool[Connection]
    ) -> None:
        self._store = store
        self._pool = pool

    def finish_all(self) -> int:
        """Finish what can be finished; returns how many receipts were written.

        1. remove the vectors that no chunk needs
        2. of each erasure, remove the staged files that no batch needs
        3. where none is left: remove what batches and audits that were in flight have brought, look once more, and
           write the receipt

        Raises:
            DependencyError: PostgreSQL or the staging store does not answer.
        """
        with database_errors_translated(), self._pool.connection() as connection:
            # Step 1.
            _remove_vectors(connection)
            factory = class_row(Unfinished)
            values = {"limit": _MAX_AT_ONCE}
            unfinished = fetch_all(connection, factory, "erasures_to_finish", values)
        return sum(map(self._finish, unfinished))

    def _finish(self, erasure: Unfinished) -> bool:
        # Step 2.
        holding = self._holding(erasure)
        if holding.removable:
            names = list(holding.removable)
            values = {"erasure": erasure.erasure, "names": names}
            with database_errors_translated(), self._pool.connection() as connection:
                connection.execute(query("note_staged_files"), values)
            self._store.delete(names)
        # Step 3.
        with database_errors_translated(), self._pool.connection() as connection:
            if not holding.needed:
                _remove_later(connection, erasure)
            why = _why_not_yet(connection, erasure, holding)
            if not why:
                is_encrypted = self._store.is_encrypted
                return _write_receipt(connection, erasure, is_encrypted=is_encrypted)
            values = {"erasure": erasure.erasure, "waits_for": why}
            connection.execute(query("erasure_waits"), values)
        return False

    def _holding(self, erasure: Unfinished) -> HoldingFiles:
        # The positions are read before the files are listed: a file of a batch that is published meanwhile is gone.
        with database_errors_translated(), self._pool.connection() as connection:
            progress = fetch_all(
                connection,
                class_row(SourceProgress),
                "sweep_progress",
                {"sources": [erasure.source]},
            )
        return holding_files(
            self._store,
            erasure.source,
            erasure.document_ids,
            erasure.erased_at,
            progress,
        )


def _remove_vectors(connection: Connection) -> None:
    if fetch_one(connection, scalar_row, "has_erased_texts", {}):
        connection.execute(query("erase_vectors"))


def _remove_later(connection: Connection, erasure: Unfinished) -> None:
    """Remove what was prepared, or read, before the erasure and written after it."""
    with connection.transaction():
        removed = remove_from_stores(
            connection,
            erasure.document_ids,
            source=erasure.source,
            published_at=erasure.erased_at,
            erasure=erasure.erasure,
        )
        connection.execute(query("forget_text_hashes"))
        counts = {"erasure": erasure.erasure, "removed": json.dumps(removed)}
        connection.execute(query("count_later"), counts)
    connection.execute(query("queue_later_texts"), asdict(erasure))
    _remove_vectors(connection)


def _why_not_yet(
    connection: Connection, erasure: Unfinished, holding: HoldingFiles
) -> str:
    """Why there can be no receipt yet; empty: there can."""
    if holding.needed:
        return (
            f"{len(holding.needed)} staged files that batches of the source need, the first is {holding.needed[0]}; "
            "publishing removes them"
        )
    remains = _remains(connection, erasure)
    left = {way: found for way, found in remains.items() if found}
    if not left:
        return ""
    context = {"action": "erasure_incomplete", "erasure": erasure.erasure, **left}
    logger.error("something of erased documents is left", extra=context)
    return f"what is left: {left}"


def _remains(connection: Connection, erasure: Unfinished) -> dict[str, int]:
    values = asdict(erasure)
    rows = fetch_all(connection, class_row(_Remaining), "erasure_remains", values)
    return {row.way: row.found for row in rows}


def _write_receipt(
    connection: Connection, erasure: Unfinished, *, is_encrypted: bool
) -> bool:
    """Write the receipt, once; False: another storer has written it."""
    values: dict[str, Any] = {"erasure": erasure.erasure}
    with connection.transaction():
        row = fetch_one(
            connection, class_row(_ForReceipt), "erasure_for_receipt", values
        )
        if row is None:
            return False
        remains = _remains(connection, erasure)
        content = _content(row, remains, is_encrypted=is_encrypted)
        unread = unread_letters(connection, row.source, row.document_ids)
        content["mentioned_in_dead_letters"] = sorted(unread.mentioning)
        receipt = signed(content, row.signing_key)
        values["receipt"] = json.dumps(receipt)
        values["finished_at"] = row.finished_at
        connection.execute(query("write_receipt"), values)
    context = {
        "action": "erased",
        "erasure": erasure.erasure,
        "source": erasure.source,
        "documents": row.documents,
    }
    logger.info("documents are erased", extra=context)
    return True


def _content(
    row: _ForReceipt, remains: dict[str, int], *, is_encrypted: bool
) -> dict[str, Any]:
    """What the receipt says; no id of a document."""
    return {
        "erasure": row.erasure,
        "installation": row.installation,
        "source": row.source,
        "batch": row.batch,
        "documents": row.documents,
        "document_hashes": row.document_hashes,
        "reason": row.reason,
        "requested_by": row.requested_by,
        "requested_at": row.requested_at.isoformat(),
        "erased_at": row.erased_at.isoformat(),
        "finished_at": row.finished_at.isoformat(),
        "removed": {
            "vectors": 0,
            **row.removed,
            "staged_files": row.staged_files,
            "staged_keys": row.staged_keys,
        },
        "found_afterwards": {**row.probes, **remains},
        "staging_store": "encrypted" if is_encrypted else "plain",
        "out_of_reach": row.out_of_reach,
    }

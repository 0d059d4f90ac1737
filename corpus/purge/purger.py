"""The steps of a purge: some pages, each in a transaction of its own that is counted with what it removes."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from psycopg.rows import class_row, scalar_row
from psycopg_pool import ConnectionPool

from corpus.database import Connection, database_errors_translated, fetch_one
from corpus.purge import store
from corpus.purge.purge import (
    Phase,
    PurgeCursor,
    PurgeFailure,
    PurgeResult,
    after,
)
from corpus.purge.store import PurgePage
from corpus.sql import query

# Rows of a page: publishing waits for a row for as long as a page takes, if at all.
PAGE = 500
# Rows of withdrawn documents, whose page holds the lock of publishing.
_LOCKED_PAGE = 100
# A step ends when it has taken so long; the workflow then pauses.
_STEP_SECONDS = 1.0
# The query that removes a page.
_PAGES = {
    Phase.WITHDRAWN: "purge_withdrawn",
    Phase.CHUNKS: "purge_chunks",
    Phase.VERSIONS: "purge_versions",
    Phase.VECTORS: "purge_vectors",
    Phase.DEAD_LETTERS: "purge_dead_letters",
    Phase.NOTICES: "purge_notices",
    Phase.REPORTS: "purge_reports",
    Phase.AUDITS: "purge_audits",
}


class Purger:
    """Removes what a source keeps no longer.

    Args:
        pool: of connections to PostgreSQL.
    """

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self._pool = pool

    def step(self, cursor: PurgeCursor) -> PurgeCursor:
        """Do what is next: begin, or remove pages of one kind.

        A step that is repeated, since its result was lost, finds that its rows are gone and goes on.

        Raises:
            ConfigurationError: there is no such source.
            LockWaitError: a batch of the source is being published for longer than a lock is waited for.
            DependencyError: PostgreSQL does not answer, or an index is not built yet.
        """
        with database_errors_translated(), self._pool.connection() as connection:
            if cursor.phase is Phase.BEGIN:
                with connection.transaction():
                    number = store.begin(connection, cursor)
                return replace(cursor, purge=number, phase=after(cursor.phase), cost=0)
            return self._remove_pages(connection, cursor)

    def _remove_pages(self, connection: Connection, cursor: PurgeCursor) -> PurgeCursor:
        """Pages of the cursor's kind, until none is left, a second has passed, or the rate is used up."""
        end = time.monotonic() + _STEP_SECONDS
        limit = _LOCKED_PAGE if cursor.phase is Phase.WITHDRAWN else PAGE
        cursor = replace(cursor, cost=0, is_busy=False)
        while True:
            page = _remove_page(connection, cursor, limit)
            if page is None:
                return replace(cursor, is_busy=True)
            cost = cursor.cost + page.looked_at
            if page.looked_at < limit:
                following = after(cursor.phase)
                return replace(cursor, phase=following, after="", cost=cost)
            cursor = replace(cursor, after=page.after, cost=cost)
            is_used_up = 0 < cursor.order.rate <= cost
            if is_used_up or time.monotonic() > end:
                return cursor

    def finish(self, cursor: PurgeCursor) -> PurgeResult:
        """Write the result.

        Raises:
            ConfigurationError: the purge's row was removed.
            DependencyError: PostgreSQL does not answer.
        """
        with database_errors_translated(), self._pool.connection() as connection:
            return store.finish(connection, cursor)

    def fail(self, failure: PurgeFailure) -> None:
        """A purge ended without a result.

        Raises:
            DependencyError: PostgreSQL does not answer.
        """
        with database_errors_translated(), self._pool.connection() as connection:
            store.fail(connection, failure)


def _remove_page(
    connection: Connection, cursor: PurgeCursor, limit: int
) -> PurgePage | None:
    """Remove one page and count it; None: another purge is at work."""
    source = cursor.order.source
    with connection.transaction():
        if not fetch_one(connection, scalar_row, "lock_purging"):
            return None
        if cursor.phase is Phase.WITHDRAWN:
            connection.execute(query("lock_publishing"), {"source": source})
        values: Mapping[str, Any] = {
            **store.bounds(connection, source),
            "limit": limit,
            "after": cursor.after,
        }
        name = _PAGES[cursor.phase]
        page = fetch_one(connection, class_row(PurgePage), name, values)
        assert page is not None, f"query {name} returned no row"
        store.note(connection, cursor, page.removed)
    return page

"""The last steps of an audit: the staged files of batches in flight, and the result."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg.rows import namedtuple_row
from psycopg_pool import ConnectionPool

from corpus.audit import store
from corpus.audit.audit import (
    AuditCursor,
    AuditFailure,
    AuditResult,
    Finding,
    FindingKind,
    after,
)
from corpus.batch import BatchRef
from corpus.database import Connection, database_errors_translated, fetch_all
from corpus.staging.store import StagingStore

# (connection, source, when the reading of its records began)
Reconciled = Callable[[Connection, str, datetime], None]


class StagedStep:
    """Looks for the files that the entity holds, and writes the result.

    Args:
        pool: of connections to PostgreSQL.
        staging: the staging store.
        reconciled: notes that the corpus equals all records of a source that were there at an instant.
    """

    def __init__(
        self,
        *,
        pool: ConnectionPool[Connection],
        staging: StagingStore,
        reconciled: Reconciled,
    ) -> None:
        self._pool = pool
        self._staging = staging
        self._reconciled = reconciled

    def look(self, source: str, held: Iterable[BatchRef]) -> set[str]:
        """Names of files that are held and missing, and that no position has passed.

        Args:
            source: its name.
            held: by its entity, asked before.

        Raises:
            DependencyError: the staging store or PostgreSQL does not answer.
        """
        wanted = list(held)
        there = set(self._staging.names(f"events/{source}"))
        missing = [ref for ref in wanted if ref.url not in there]
        if not missing:
            return set()
        published = self._published(source)
        return {
            ref.url
            for ref in missing
            if ref.next_offset > published.get((ref.topic, ref.partition), 0)
        }

    def step(self, cursor: AuditCursor, missing: Collection[str]) -> AuditCursor:
        """Keep which files are missing, by two looks.

        Raises:
            DependencyError: PostgreSQL does not answer.
        """
        findings = [
            Finding(
                kind=FindingKind.STAGED_FILE_MISSING,
                subject=name,
                expected="in the staging store, since a batch needs it",
                actual="missing",
            )
            for name in sorted(missing)
        ]
        moved = replace(cursor, phase=after(cursor.phase), cost=0)
        with database_errors_translated(), self._pool.connection() as connection:
            store.write_findings(connection, cursor.audit, findings)
            store.note(connection, moved)
        return moved

    def finish(self, cursor: AuditCursor) -> AuditResult:
        """Write the result.

        Raises:
            ConfigurationError: the audit was removed.
            DependencyError: PostgreSQL does not answer.
        """
        with database_errors_translated(), self._pool.connection() as connection:
            result = store.finish(connection, cursor)
            if cursor.is_full and result.is_clean:
                begun_at = store.begun_at(connection, cursor.audit)
                self._reconciled(connection, result.source, begun_at)
        return result

    def fail(self, failure: AuditFailure) -> None:
        """An audit ended without a result.

        Raises:
            DependencyError: PostgreSQL does not answer.
        """
        with database_errors_translated(), self._pool.connection() as connection:
            store.fail(connection, failure)

    def _published(self, source: str) -> Mapping[tuple[str, int], int]:
        values = {"sources": [source]}
        with database_errors_translated(), self._pool.connection() as connection:
            rows: list[Any] = fetch_all(
                connection, namedtuple_row, "positions_of_sources", values
            )
        return {(row.topic, row.partition): row.next_offset for row in rows}

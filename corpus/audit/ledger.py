"""Does the ledger add up, and was every notice sent? Batches against ranges, positions, records and deliveries.

And are the figures that are kept of a source what its rows come to?
"""

from dataclasses import dataclass, replace
from typing import Any

from psycopg.rows import class_row

from corpus.audit.audit import AuditCursor, Finding, FindingKind
from corpus.audit.store import AuditRow, write_findings
from corpus.database import Connection, fetch_all

# Queries that compare with the records of the log.
_WITH_RECORDS = ("audit_uncovered", "audit_miscounted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row of these queries."""

    subject: str
    expected: str
    actual: str


def check_ledger(
    connection: Connection, cursor: AuditCursor, row: AuditRow
) -> AuditCursor:
    """Keep where the ledger does not add up, and the notices that were not sent."""
    is_full = cursor.is_full
    findings = ledger_findings(connection, row, is_full=is_full)
    write_findings(connection, row.audit, findings)
    return replace(cursor, cost=0)


def ledger_findings(
    connection: Connection, row: AuditRow, *, is_full: bool
) -> list[Finding]:
    """What is wrong; only a full audit has read every record."""
    partitions = row.partitions
    values = {
        "source": row.source,
        "audit": row.audit,
        "last_batch": row.last_batch,
        "topics": [one.topic for one in partitions],
        "partitions": [one.partition for one in partitions],
        "next_offsets": [one.next_offset for one in partitions],
    }
    ledger = FindingKind.LEDGER_DOES_NOT_ADD_UP
    findings = _findings(connection, ledger, "audit_ledger", values)
    findings += _findings(connection, ledger, "audit_figures", values)
    if is_full:
        for name in _WITH_RECORDS:
            findings += _findings(connection, ledger, name, values)
    notices = FindingKind.NOTICE_MISSING
    findings += _findings(connection, notices, "audit_notices", values)
    return findings


def _findings(
    connection: Connection, kind: FindingKind, name: str, values: dict[str, Any]
) -> list[Finding]:
    return [
        Finding(
            kind=kind,
            subject=fault.subject,
            expected=fault.expected,
            actual=fault.actual,
        )
        for fault in fetch_all(connection, class_row(Fault), name, values)
    ]

"""Audits in the database: what one covers, what it found, and its result."""

import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg import IsolationLevel
from psycopg.rows import class_row, scalar_row

from corpus.audit.audit import (
    AuditCursor,
    AuditedPartition,
    AuditFailure,
    AuditOrder,
    AuditResult,
    Finding,
    FindingKind,
)
from corpus.audit.evidence import Logs
from corpus.database import Connection, fetch_all, fetch_one
from corpus.errors import ConfigurationError
from corpus.source import SourceSpec
from corpus.sql import query

# Newest audits of a source that are kept.
KEPT = 50
_ALL = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedSource:
    """A source when an audit of it begins (query `audit_source`)."""

    spec: dict[str, Any]
    state: str
    last_batch: int
    last_published_at: datetime | None
    prepare_again: str | None
    documents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPosition:
    """How far a partition is published (query `audit_positions`)."""

    topic: str
    partition: int
    topic_id: str
    position: int  # where its records are read next
    next_offset: int  # exclusive


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """An audit (query `audit_row`)."""

    audit: int
    source: str
    scope: str
    sample: int
    state: str
    phase: str
    positions: list[dict[str, Any]]
    last_batch: int
    has_inventory: bool
    counts: dict[str, int]
    spec: dict[str, Any]
    prepare_again: str | None

    @property
    def partitions(self) -> list[AuditedPartition]:
        """What it covers of each partition."""
        return [AuditedPartition(**position) for position in self.positions]

    @property
    def logs(self) -> Logs:
        """The same, for judging."""
        return Logs(self.partitions)

    def readable(self) -> SourceSpec:
        """The source's specification.

        Raises:
            UnreadableSpecError: it cannot be read.
        """
        return SourceSpec.from_json(self.spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFinding:
    """A difference that an audit found (query `findings_of`)."""

    kind: str
    document_id: str
    subject: str
    chunk_id: int | None
    document_key: int | None
    expected: str
    actual: str
    state: str
    records: list[list[Any]]
    floor: dict[str, Any] | None

    def finding(self) -> Finding:
        """As it was found."""
        records = [(str(t), int(p), str(i), int(o)) for t, p, i, o in self.records]
        return Finding(
            kind=FindingKind(self.kind),
            document_id=self.document_id,
            subject=self.subject,
            chunk_id=self.chunk_id,
            document_key=self.document_key,
            expected=self.expected,
            actual=self.actual,
            records=tuple(records),
            floor=self.floor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSummary:
    """An audit with its result (query `list_audits`)."""

    audit: int
    source: str
    scope: str
    sample: int
    state: str
    phase: str
    started_at: datetime
    finished_at: datetime | None
    seconds: float
    last_batch: int
    positions: list[dict[str, Any]]
    counts: dict[str, int]
    findings: dict[str, int]
    has_inventory: bool
    error: str | None
    repaired_at: datetime | None
    repair: dict[str, Any] | None

    @property
    def result(self) -> str:
        """In a word or two."""
        if self.state != "done":
            return self.state
        if not self.findings:
            return "clean"
        found = f"{sum(self.findings.values()):,} findings"
        return found if self.repaired_at is None else f"{found}, repaired"


@contextmanager
def one_snapshot(connection: Connection) -> Generator[None]:
    """A transaction in which everything that is read is of one instant."""
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with connection.transaction():
            yield
    finally:
        connection.isolation_level = None


def begin(
    connection: Connection, order: AuditOrder, *, workflow_id: str, run_id: str
) -> int:
    """The number of the audit that a run begins, or has begun.

    Raises:
        ConfigurationError: there is no such source.
    """
    values = {
        "source": order.source,
        "workflow_id": workflow_id,
        "run_id": run_id,
        "scope": "sample" if order.sample else "full",
        "sample": order.sample,
        "has_inventory": order.inventory,
    }
    audit = fetch_one(connection, scalar_row, "begin_audit", values)
    if audit is None:
        raise ConfigurationError(
            f"there is no source {order.source!r}; `freshet sources` lists them"
        )
    return int(audit)


def end_others(connection: Connection, source: str, audit: int) -> None:
    """Give up other audits of a source that still run by their rows: their workflows were terminated."""
    values = {"source": source, "audit": audit}
    connection.execute(query("end_stale_audits"), values)


def audited_source(connection: Connection, source: str) -> AuditedSource:
    """The source as it is now.

    Raises:
        ConfigurationError: there is no such source.
    """
    values = {"source": source}
    found = fetch_one(connection, class_row(AuditedSource), "audit_source", values)
    if found is None:
        raise ConfigurationError(
            f"there is no source {source!r}; `freshet sources` lists them"
        )
    return found


def published_positions(connection: Connection, source: str) -> list[PublishedPosition]:
    """How far each partition is published."""
    values = {"source": source}
    factory = class_row(PublishedPosition)
    return fetch_all(connection, factory, "audit_positions", values)


def describe(
    connection: Connection,
    cursor: AuditCursor,
    source: AuditedSource,
    partitions: Sequence[AuditedPartition],
) -> None:
    """Keep what an audit covers."""
    values = {
        "audit": cursor.audit,
        "positions": json.dumps([asdict(one) for one in partitions]),
        "last_batch": source.last_batch,
        "published_at": source.last_published_at,
        "workflow_id": cursor.workflow_id,
    }
    connection.execute(query("describe_audit"), values)


def keep_positions(
    connection: Connection, audit: int, partitions: Sequence[AuditedPartition]
) -> None:
    """Keep what is known of the logs by now."""
    positions = json.dumps([asdict(one) for one in partitions])
    values = {"audit": audit, "positions": positions}
    connection.execute(query("audit_positions_are"), values)


def row_of(connection: Connection, audit: int) -> AuditRow:
    """An audit.

    Raises:
        ConfigurationError: there is none of this number.
    """
    values = {"audit": audit}
    row = fetch_one(connection, class_row(AuditRow), "audit_row", values)
    if row is None:
        raise ConfigurationError(
            f"there is no audit {audit}; `freshet audit list` lists them"
        )
    return row


def has_records(connection: Connection, audit: int) -> bool:
    """Whether the records of an audit are there; they are not after a crash of the server."""
    values = {"audit": audit}
    return bool(fetch_one(connection, scalar_row, "audit_has_records", values))


def note(connection: Connection, cursor: AuditCursor) -> None:
    """Show how far an audit is."""
    values = {
        "audit": cursor.audit,
        "phase": str(cursor.phase),
        "counts": json.dumps(cursor.counts),
    }
    connection.execute(query("audit_moves"), values)


def write_findings(
    connection: Connection, audit: int, findings: Iterable[Finding]
) -> None:
    """Keep what was found; what is there already stays as it is."""
    for finding in findings:
        values = asdict(finding)
        values["audit"] = audit
        values["kind"] = str(finding.kind)
        values["records"] = json.dumps(finding.records)
        values["floor"] = json.dumps(finding.floor) if finding.floor else None
        connection.execute(query("write_finding"), values)


def findings_of(
    connection: Connection, audit: int, *, state: str | None = None, limit: int = _ALL
) -> list[StoredFinding]:
    """What an audit found, in the order of kinds and documents.

    Args:
        connection: to PostgreSQL.
        audit: its number.
        state: "open" or "repaired"; None: both.
        limit: at most so many.
    """
    values = {"audit": audit, "state": state, "limit": limit}
    return fetch_all(connection, class_row(StoredFinding), "findings_of", values)


def audits(
    connection: Connection,
    *,
    source: str | None = None,
    audit: int | None = None,
    limit: int = 20,
) -> list[AuditSummary]:
    """Audits, the newest first."""
    values = {"source": source, "audit": audit, "limit": limit}
    return fetch_all(connection, class_row(AuditSummary), "list_audits", values)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finished:
    """A row of the query `finish_audit`."""

    findings: dict[str, int]
    counts: dict[str, int]


def finish(connection: Connection, cursor: AuditCursor) -> AuditResult:
    """Write the result, and remove what was needed for it."""
    source = cursor.order.source
    values = {"audit": cursor.audit, "counts": json.dumps(cursor.counts)}
    done = fetch_one(connection, class_row(_Finished), "finish_audit", values)
    if done is None:
        raise ConfigurationError(f"audit {cursor.audit} was removed while it ran")
    connection.execute(query("end_audit_records"), {"audit": cursor.audit})
    connection.execute(query("forget_old_audits"), {"source": source, "kept": KEPT})
    return AuditResult(
        audit=cursor.audit, source=source, findings=done.findings, counts=done.counts
    )


def begun_at(connection: Connection, audit: int) -> datetime:
    """When an audit began.

    Raises:
        ConfigurationError: there is none of this number.
    """
    rows = audits(connection, audit=audit, limit=1)
    if not rows:
        raise ConfigurationError(f"there is no audit {audit}")
    return rows[0].started_at


def fail(connection: Connection, failure: AuditFailure) -> None:
    """An audit ended without a result."""
    values = {
        "audit": failure.audit,
        "run_id": failure.run_id,
        "error": failure.error,
    }
    connection.execute(query("fail_audit"), values)
    connection.execute(query("end_audit_records"), {"audit": failure.audit})

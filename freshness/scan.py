"""Measure how old a source is; store and read reports. Every time is of the database's clock, never of a worker's."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from psycopg.rows import class_row

from corpus.database import Connection
from corpus.errors import ConfigurationError, UnreadableSpecError
from corpus.service import DescribeRequest, SourceDescription
from corpus.source import FreshnessSpec, SourceSpec, read_spec
from corpus.sql import query
from freshness.policy import FreshnessStatus, format_duration
from freshness.report import (
    STALE_INTERVALS,
    ExpiredDocuments,
    FreshnessReport,
    FreshnessSnapshot,
)
from freshness.revalidation import Revalidation


@dataclass(frozen=True, slots=True, kw_only=True)
class _SnapshotRow:
    snapshotted_at_ms: int
    spec: dict[str, Any]
    last_batch: int
    newest_ms: int | None
    documents: int
    oldest_ms: int | None
    overdue: int
    ended: int
    withdrawn: int
    arrived: int
    gone: int
    unaskable: int
    kept: int
    late: int
    state: str
    empty: int
    lossy: int
    unknown: int
    unknown_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """A configured source and its newest check; what belongs to the check is None before the first one."""

    source: str
    spec: dict[str, Any]
    now_ms: int
    checked_seconds_ago: float | None
    snapshotted_at_ms: int | None
    status: str | None
    newest_ms: int | None
    oldest_ms: int | None
    documents: int | None
    overdue: int | None
    empty: int | None
    lossy: int | None
    unknown: int | None
    unknown_ratio: float | None
    expired: int | None
    error: str | None
    criteria: dict[str, Any] | None
    revalidation: dict[str, Any] | None
    duration_seconds: float | None
    workflow_id: str | None
    run_id: str | None


def measure(connection: Connection, source: str) -> FreshnessSnapshot:
    """Ages and counts of a source now.

    Raises:
        ConfigurationError: there is no such source.
    """
    with connection.cursor(row_factory=class_row(_SnapshotRow)) as cursor:
        cursor.execute(query("freshness_measure"), {"source": source})
        row = cursor.fetchone()
    if row is None:
        raise _unknown_source(source)
    columns: dict[str, Any] = asdict(row)
    spec = SourceSpec.from_json(columns.pop("spec"))
    return FreshnessSnapshot(source=source, spec=spec.freshness, **columns)


def expired_after(connection: Connection, source: str, batch: int) -> ExpiredDocuments:
    """What the expiry batches after `batch` withdrew."""
    with connection.cursor(row_factory=class_row(ExpiredDocuments)) as cursor:
        key = {"source": source, "after": batch}
        cursor.execute(query("freshness_expired"), key)
        expired = cursor.fetchone()
    assert expired is not None  # an aggregate has one row
    return expired


def record(connection: Connection, report: FreshnessReport) -> None:
    """Store a report; a second report of the same run changes nothing."""
    connection.execute(query("record_freshness"), stored_form(report))


def stored_form(report: FreshnessReport) -> dict[str, Any]:
    """The columns of a stored report; `report_of` reads them back."""
    columns: dict[str, Any] = asdict(report)
    spec = columns.pop("spec")
    columns["criteria"] = json.dumps(spec)
    columns["status"] = str(report.status)
    revalidation = columns.pop("revalidation")
    columns["revalidation"] = revalidation and json.dumps(revalidation)
    return columns


def latest(
    connection: Connection, source: str | None = None
) -> tuple[list[FreshnessReport], int]:
    """The newest report of every configured source, and the database's time in epoch milliseconds.

    A source that was not checked within three intervals has the status runtime error, since nothing is known about it.

    Raises:
        ConfigurationError: `source` does not exist.
    """
    with connection.cursor(row_factory=class_row(CheckRow)) as cursor:
        cursor.execute(query("latest_freshness"), {"source": source})
        rows = cursor.fetchall()
    if rows:
        reports = [report_of(row) for row in rows]
        return reports, rows[0].now_ms
    if source is None:
        return [], 0
    raise _unknown_source(source)


def report_of(row: CheckRow) -> FreshnessReport:
    """The stored report, or a runtime error where it is too old to mean anything, or its source cannot be read."""
    try:
        spec = read_spec(row.source, row.spec).freshness
    except UnreadableSpecError as error:
        return _runtime_error(row, FreshnessSpec(), str(error))
    age = row.checked_seconds_ago
    if age is None or age > STALE_INTERVALS * spec.check_every_seconds:
        return _not_checked(row, spec)
    return FreshnessReport(
        source=row.source,
        status=FreshnessStatus(row.status or ""),
        snapshotted_at_ms=row.snapshotted_at_ms,
        spec=_criteria(row.criteria or {}),
        duration_seconds=row.duration_seconds or 0.0,
        workflow_id=row.workflow_id or "",
        run_id=row.run_id or "",
        newest_ms=row.newest_ms,
        oldest_ms=row.oldest_ms,
        documents=row.documents,
        overdue=row.overdue,
        empty=row.empty,
        lossy=row.lossy,
        unknown=row.unknown,
        unknown_ratio=row.unknown_ratio,
        expired=row.expired or 0,
        error=row.error,
        revalidation=_revalidation(row.revalidation),
    )


def _revalidation(stored: dict[str, Any] | None) -> Revalidation | None:
    if stored is None:
        return None
    names = [field.name for field in fields(Revalidation)]
    return Revalidation(**{name: stored[name] for name in names if name in stored})


def _criteria(stored: dict[str, Any]) -> FreshnessSpec:
    """The policy of a stored report; a field that newer code wrote is left out."""
    names = [field.name for field in fields(FreshnessSpec)]
    return FreshnessSpec(**{name: stored[name] for name in names if name in stored})


def _not_checked(row: CheckRow, spec: FreshnessSpec) -> FreshnessReport:
    last_run = "never ran"
    if row.checked_seconds_ago is not None:
        last_run = f"last ran {row.checked_seconds_ago:.0f}s ago"
    due = f"though it is due every {format_duration(spec.check_every_seconds)}"
    advice = "see `freshet freshness schedules` and the workers"
    return _runtime_error(row, spec, f"the check {last_run}, {due}: {advice}")


def _runtime_error(row: CheckRow, spec: FreshnessSpec, error: str) -> FreshnessReport:
    return FreshnessReport(
        source=row.source,
        status=FreshnessStatus.RUNTIME_ERROR,
        snapshotted_at_ms=row.snapshotted_at_ms,
        spec=spec,
        duration_seconds=0.0,
        workflow_id=row.workflow_id or "",
        run_id=row.run_id or "",
        error=error,
    )


def describe(
    connection: Connection, request: DescribeRequest
) -> SourceDescription | None:
    """Describe a source for other teams; None where there is no such source."""
    factory = class_row(SourceDescription)
    values = {"source": request.source}
    with connection.cursor(row_factory=factory) as cursor:
        cursor.execute(query("describe_source"), values)
        return cursor.fetchone()


def _unknown_source(source: str) -> ConfigurationError:
    return ConfigurationError(f"there is no source {source!r}; see `freshet sources`")

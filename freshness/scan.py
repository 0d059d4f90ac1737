"""Measure a source's age; keep and read the results. Every time is the database's clock, never a worker's."""

import json
from dataclasses import asdict
from typing import Any

from psycopg.rows import class_row, dict_row

from corpus.database import Connection
from corpus.errors import ConfigurationError
from corpus.service import DescribeRequest, SourceDescription
from corpus.source import FreshnessSpec, SourceSpec
from corpus.sql import query
from freshness.policy import FreshnessStatus, words
from freshness.report import STALE_INTERVALS, Expired, FreshnessReport, Measurement


def measure(connection: Connection, source: str) -> Measurement:
    """Look.

    Raises:
        ConfigurationError: there is no such source.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query("freshness_measure"), {"source": source}).fetchone()
    if row is None:
        raise ConfigurationError(f"there is no source {source!r}; see `freshet sources`")
    return Measurement(source=source, spec=SourceSpec.from_json(row.pop("spec")).freshness, **row)


def expired_after(connection: Connection, source: str, batch: int) -> Expired:
    """What expiry batches after `batch` withdrew."""
    with connection.cursor(row_factory=class_row(Expired)) as cursor:
        found = cursor.execute(
            query("freshness_expired"), {"source": source, "after": batch}
        ).fetchone()
    assert found is not None
    return found


def record(connection: Connection, report: FreshnessReport) -> None:
    """Keep a result; the same run's again changes nothing."""
    row: dict[str, Any] = asdict(report)
    row["criteria"] = json.dumps(row.pop("spec"))
    connection.execute(query("record_freshness"), row | {"status": str(report.status)})


def latest(connection: Connection, source: str | None = None) -> tuple[list[FreshnessReport], int]:
    """The newest result of every configured source, and the database's time (epoch milliseconds).

    A source that was never checked, or not for three intervals, is a runtime error: nothing is known about it.

    Raises:
        ConfigurationError: `source` does not exist.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query("latest_freshness"), {"source": source}).fetchall()
    if source is not None and not rows:
        raise ConfigurationError(f"there is no source {source!r}; see `freshet sources`")
    now_ms = rows[0]["now_ms"] if rows else 0
    return [_report(row) for row in rows], now_ms


def _report(row: dict[str, Any]) -> FreshnessReport:
    spec = SourceSpec.from_json(row["spec"]).freshness
    age = row["checked_seconds_ago"]
    if age is None or age > STALE_INTERVALS * spec.check_every_seconds:
        return _unknown(row, spec, age)
    return FreshnessReport(
        source=row["source"],
        status=FreshnessStatus(row["status"]),
        spec=FreshnessSpec(**row["criteria"]),
        **{
            name: row[name]
            for name in (
                "snapshotted_at_ms",
                "newest_ms",
                "oldest_ms",
                "documents",
                "overdue",
                "expired",
                "error",
            )
        },
        **{name: row[name] for name in ("duration_seconds", "workflow_id", "run_id")},
    )


def _unknown(row: dict[str, Any], spec: FreshnessSpec, age: float | None) -> FreshnessReport:
    last = "never ran" if age is None else f"last ran {age:.0f}s ago"
    return FreshnessReport(
        source=row["source"],
        status=FreshnessStatus.RUNTIME_ERROR,
        snapshotted_at_ms=row["snapshotted_at_ms"],
        spec=spec,
        duration_seconds=0.0,
        workflow_id=row["workflow_id"] or "",
        run_id=row["run_id"] or "",
        error=f"the check {last}, though it is due every {words(spec.check_every_seconds)}: see `freshet freshness schedules` and the workers",
    )


def describe(connection: Connection, request: DescribeRequest) -> SourceDescription | None:
    """How a source stands, for other teams; None: there is none."""
    with connection.cursor(row_factory=class_row(SourceDescription)) as cursor:
        return cursor.execute(query("describe_source"), {"source": request.source}).fetchone()

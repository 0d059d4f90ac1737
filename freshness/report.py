"""The result of checks: rows, and their dbt-compatible form (`sources.json`, schema v3)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from corpus.source import FreshnessSpec
from freshness.policy import FreshnessStatus, Verdict, judge, may_expire, worst

DBT_SCHEMA = "https://schemas.getdbt.com/dbt/sources/v3.json"
# A check that is older than this many intervals counts as one that failed.
STALE_INTERVALS = 3
# What dbt says of a source that never had a row: the first day of the year 1.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER_MS = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one look at the corpus found; times are the database's clock, epoch milliseconds."""

    source: str
    snapshotted_at_ms: int
    spec: FreshnessSpec
    last_batch: int
    documents: int  # visible
    overdue: int  # visible documents past their end
    newest_ms: int | None = None  # newest event: record time
    oldest_ms: int | None = None  # oldest last-observed-or-verified of a visible document

    def verdict(self) -> Verdict:
        """Judge it; a mass expiry that was not allowed is an error."""
        verdict = judge(
            self.spec,
            newest_seconds=self._age(self.newest_ms),
            oldest_seconds=self._age(self.oldest_ms),
        )
        if self.overdue and not may_expire(
            self.spec, overdue=self.overdue, documents=self.documents
        ):
            reason = (
                f"{self.overdue} of {self.documents} documents are overdue, more than max_expiry_ratio {self.spec.max_expiry_ratio:g} "
                "allows: nothing was expired; raise the ratio to let them go, or repair the source"
            )
            return Verdict(FreshnessStatus.ERROR, (*verdict.reasons, reason))
        return verdict

    def _age(self, then_ms: int | None) -> float | None:
        # A producer's clock may run ahead of the database's: such an event is new, not negative.
        return None if then_ms is None else max(0.0, (self.snapshotted_at_ms - then_ms) / 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Expiry batches in the ledger after some batch."""

    batches: int
    documents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessReport:
    """One check of one source, as stored."""

    source: str
    status: FreshnessStatus
    snapshotted_at_ms: int | None  # None: the database will say
    spec: FreshnessSpec
    duration_seconds: float
    workflow_id: str
    run_id: str
    newest_ms: int | None = None
    oldest_ms: int | None = None
    documents: int | None = None
    overdue: int | None = None
    expired: int = 0
    error: str | None = None  # why, for anything but pass


def document(
    reports: Iterable[FreshnessReport], *, generated_at_ms: int, version: str, invocation: str
) -> dict[str, Any]:
    """All reports as dbt's `sources.json`. What dbt has no key for stands in `adapter_response`."""
    results = [_result(report) for report in reports]
    return {
        "metadata": {
            "dbt_schema_version": DBT_SCHEMA,
            "dbt_version": version,
            "generated_at": _iso(generated_at_ms),
            "invocation_id": invocation,
            "env": {},
        },
        "results": results,
        "elapsed_time": sum(result.get("execution_time") or 0.0 for result in results),
    }


def _result(report: FreshnessReport) -> dict[str, Any]:
    unique = f"source.freshet.{report.source}"
    ours = {
        "error": report.error,
        "documents": report.documents,
        "overdue": report.overdue,
        "expired": report.expired,
        "oldest_verified_at": _iso(report.oldest_ms),
        "warn_after_seconds": report.spec.warn_after_seconds,
        "error_after_seconds": report.spec.error_after_seconds,
        "expire_after_seconds": report.spec.expire_after_seconds,
        "workflow_id": report.workflow_id,
        "run_id": report.run_id,
    }
    if report.status is FreshnessStatus.RUNTIME_ERROR:
        return {"unique_id": unique, "error": report.error, "status": str(report.status)}
    newest = _NEVER_MS if report.newest_ms is None else report.newest_ms
    snapshot = report.snapshotted_at_ms or 0
    return {
        "unique_id": unique,
        "max_loaded_at": _iso(newest),
        "snapshotted_at": _iso(snapshot),
        "max_loaded_at_time_ago_in_s": max(0.0, (snapshot - newest) / 1000),
        "status": str(report.status),
        "criteria": {
            "warn_after": _period(report.spec.warn_after_seconds),
            "error_after": _period(report.spec.error_after_seconds),
            "filter": None,
        },
        "adapter_response": ours,
        "timing": [],
        "thread_id": report.run_id,
        "execution_time": report.duration_seconds,
    }


def _period(seconds: int | None) -> dict[str, Any]:
    """As dbt counts, in minutes, hours or days; the exact seconds stand in `adapter_response`."""
    if seconds is None:
        return {"count": None, "period": None}
    for name, size in (("day", 86_400), ("hour", 3_600)):
        if seconds and seconds % size == 0:
            return {"count": seconds // size, "period": name}
    return {"count": -(-seconds // 60), "period": "minute"}


def _iso(epoch_ms: int | None) -> str | None:
    if epoch_ms is None:
        return None
    return (
        (_EPOCH + timedelta(milliseconds=epoch_ms))
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def exit_code(reports: Iterable[FreshnessReport]) -> int:
    """As dbt's: 0 for pass and warn, 1 for error and runtime error."""
    status = worst([report.status for report in reports])
    return int(status in (FreshnessStatus.ERROR, FreshnessStatus.RUNTIME_ERROR))

"""The result of checks, and their dbt-compatible form (`sources.json`, schema v3)."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from corpus.overdue import Overdue
from corpus.source import FreshnessSpec, SourceStatus
from freshness.policy import FreshnessStatus, Verdict, judge, worst
from freshness.revalidation import Revalidation

DBT_SCHEMA = "https://schemas.getdbt.com/dbt/sources/v3.json"
# A check that is older than this many intervals counts as one that failed.
STALE_INTERVALS = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# dbt's time of the newest row of a source that never had one: the first day of year 1.
_NEVER_MS = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessSnapshot:
    """Ages and counts of a source at one instant; times are of the database's clock, in epoch milliseconds."""

    source: str
    snapshotted_at_ms: int
    spec: FreshnessSpec
    last_batch: int
    documents: int  # visible documents
    overdue: int  # visible documents that should have expired, the ended ones included
    newest_ms: int | None = (
        None  # record time of the newest event; None: there was no event
    )
    # When the document that was not seen for longest was last observed or verified; None: there is no document.
    oldest_ms: int | None = None
    empty: int = 0  # visible documents of whose readable text cleaning left nothing
    lossy: int = 0  # visible documents that keep less of it than `min_kept_ratio`
    unknown: int = 0  # visible documents of which the model knows too little, see `max_unknown_ratio`
    # Share of all their characters that the model has no word for; None: there is no character.
    unknown_ratio: float | None = None
    ended: int = (
        0  # visible documents past an end of their own, which is an instruction
    )
    gone: int = 0  # of the overdue, those of which the origin said so
    unaskable: int = 0  # of the overdue, those whose address is not kept
    kept: int = 0  # past the source's age and not overdue: their origin did not say that they are gone
    late: int = 0  # of the kept, those that are it for longer than `fetch.retry_for`
    withdrawn: int = 0  # documents that age withdrew within one `expire_after` before
    arrived: int = 0  # documents that are new since the first of these was withdrawn
    state: str = SourceStatus.ACTIVE
    behind: str = ""  # where old records wait to be published; empty: nowhere

    def verdict(self) -> Verdict:
        """Judge the ages; documents that are overdue and may not be expired are an error."""
        verdict = judge(
            self.spec,
            newest_seconds=self._age(self.newest_ms),
            oldest_seconds=self._age(self.oldest_ms),
        )
        if self.late:
            verdict = verdict.with_error(
                f"{self.late} documents are overdue for longer than fetch.retry_for and neither renewed nor withdrawn, "
                "since their origin does not answer or refuses, or their change cannot be read: mend it, or set "
                "fetch.revalidate = false"
            )
        refusal = self._judged().refusal(self.spec)
        if refusal is None:
            return verdict
        return verdict.with_error(
            f"{self.overdue - self.ended} of {self.documents} documents are overdue, {refusal}: nothing was expired"
        )

    def may_expire(self) -> bool:
        """Whether a check may withdraw anything of what is overdue."""
        judged = self._judged()
        is_certain = self.ended > 0 or judged.takes_gone(self.spec)
        return is_certain or judged.refusal(self.spec) is None

    def _judged(self) -> Overdue:
        return Overdue(
            documents=self.documents,
            ended=self.ended,
            aged=self.overdue - self.ended,
            gone=self.gone,
            withdrawn=self.withdrawn,
            arrived=self.arrived,
            state=self.state,
            newest_seconds=self._age(self.newest_ms),
            behind=self.behind,
        )

    def _age(self, epoch_ms: int | None) -> float | None:
        if epoch_ms is None:
            return None
        # A producer's clock may run ahead of the database's: such an event is new, its age is not negative.
        return max(0.0, (self.snapshotted_at_ms - epoch_ms) / 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiredDocuments:
    """What the expiry batches after some batch withdrew."""

    batches: int
    documents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessReport:
    """One check of one source, as stored."""

    source: str
    status: FreshnessStatus
    snapshotted_at_ms: (
        int | None
    )  # None: the check could not ask, so the database sets it
    spec: FreshnessSpec
    duration_seconds: float
    workflow_id: str
    run_id: str
    newest_ms: int | None = None
    oldest_ms: int | None = None
    documents: int | None = None
    overdue: int | None = None
    empty: int | None = None  # visible documents of whose readable text nothing is left
    lossy: int | None = None  # visible documents that keep less than `min_kept_ratio`
    unknown: int | None = None  # visible documents above `max_unknown_ratio`
    unknown_ratio: float | None = None  # of the characters of all visible documents
    expired: int = 0  # documents that this check withdrew
    error: str | None = None  # the reasons, for any status but pass
    revalidation: Revalidation | None = None  # None: nothing was to be asked for


# ── as dbt writes it ────────────────────────────────────────────────────────────────────────────────────────────────


def sources_json(
    reports: Iterable[FreshnessReport],
    *,
    generated_at_ms: int,
    version: str,
    invocation: str,
) -> dict[str, Any]:
    """All reports as dbt's `sources.json`. What dbt has no key for is in `adapter_response`."""
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
    unique_id = f"source.freshet.{report.source}"
    if report.status is FreshnessStatus.RUNTIME_ERROR:
        return {
            "unique_id": unique_id,
            "error": report.error,
            "status": str(report.status),
        }
    newest_ms = _NEVER_MS if report.newest_ms is None else report.newest_ms
    snapshotted_at_ms = report.snapshotted_at_ms or 0
    return {
        "unique_id": unique_id,
        "max_loaded_at": _iso(newest_ms),
        "snapshotted_at": _iso(snapshotted_at_ms),
        "max_loaded_at_time_ago_in_s": max(0.0, (snapshotted_at_ms - newest_ms) / 1000),
        "status": str(report.status),
        "criteria": {
            "warn_after": _period(report.spec.warn_after_seconds),
            "error_after": _period(report.spec.error_after_seconds),
            "filter": None,
        },
        "adapter_response": _adapter_response(report),
        "timing": [],
        "thread_id": report.run_id,
        "execution_time": report.duration_seconds,
    }


def _adapter_response(report: FreshnessReport) -> dict[str, Any]:
    return {
        "error": report.error,
        "documents": report.documents,
        "overdue": report.overdue,
        "empty": report.empty,
        "lossy": report.lossy,
        "unknown": report.unknown,
        "unknown_ratio": report.unknown_ratio,
        "expired": report.expired,
        "revalidation": _counts(report.revalidation),
        "oldest_verified_at": _iso(report.oldest_ms),
        "warn_after_seconds": report.spec.warn_after_seconds,
        "error_after_seconds": report.spec.error_after_seconds,
        "expire_after_seconds": report.spec.expire_after_seconds,
        "workflow_id": report.workflow_id,
        "run_id": report.run_id,
    }


def _counts(revalidation: Revalidation | None) -> dict[str, Any] | None:
    return None if revalidation is None else asdict(revalidation)


def _period(seconds: int | None) -> dict[str, Any]:
    """In dbt's minutes, hours or days; the exact number of seconds is in `adapter_response`."""
    if seconds is None:
        return {"count": None, "period": None}
    for name, size in (("day", 86_400), ("hour", 3_600)):
        if seconds and seconds % size == 0:
            return {"count": seconds // size, "period": name}
    minutes_rounded_up = -(-seconds // 60)
    return {"count": minutes_rounded_up, "period": "minute"}


def _iso(epoch_ms: int | None) -> str | None:
    if epoch_ms is None:
        return None
    since_epoch = timedelta(milliseconds=epoch_ms)
    instant = _EPOCH + since_epoch
    text = instant.isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def exit_code(reports: Iterable[FreshnessReport]) -> int:
    """Dbt's exit code: 0 for pass and warn, 1 for error and runtime error."""
    status = worst([report.status for report in reports])
    return int(status in (FreshnessStatus.ERROR, FreshnessStatus.RUNTIME_ERROR))

"""The report's forms, and the verdict of a snapshot."""

import json
from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.source import FreshnessSpec
from freshness.policy import FreshnessStatus
from freshness.report import FreshnessReport, FreshnessSnapshot, exit_code, sources_json

NOW = 1_795_000_000_000
SPEC = FreshnessSpec(warn_after_seconds=90, error_after_seconds=86_400, expire_after_seconds=10)


def make_report(status=FreshnessStatus.PASS, **fields):
    base = {
        "source": "peps",
        "snapshotted_at_ms": NOW,
        "spec": SPEC,
        "duration_seconds": 0.5,
        "workflow_id": "w",
        "run_id": "r",
    }
    return FreshnessReport(status=status, **(base | {"newest_ms": NOW - 12_500} | fields))


def make_snapshot(**fields):
    base = {
        "source": "peps",
        "snapshotted_at_ms": NOW,
        "spec": SPEC,
        "last_batch": 1,
        "documents": 10,
        "overdue": 0,
    }
    return FreshnessSnapshot(**(base | {"newest_ms": NOW, "oldest_ms": NOW} | fields))


def test_document_has_dbts_keys():
    made = sources_json([make_report()], generated_at_ms=NOW, version="1", invocation="i")
    assert set(made) == {"metadata", "results", "elapsed_time"}
    assert {"dbt_schema_version", "generated_at", "invocation_id", "env"} <= set(made["metadata"])
    (result,) = made["results"]
    # The keys of dbt's sources v3, no more: its schema forbids others.
    assert set(result) == {
        "unique_id", "max_loaded_at", "snapshotted_at", "max_loaded_at_time_ago_in_s", "status", "criteria",
        "adapter_response", "timing", "thread_id", "execution_time",
    }  # fmt: skip
    assert result["unique_id"] == "source.freshet.peps"
    assert result["max_loaded_at_time_ago_in_s"] == 12.5
    assert result["criteria"] == {
        "warn_after": {"count": 2, "period": "minute"},  # dbt has no seconds
        "error_after": {"count": 1, "period": "day"},
        "filter": None,
    }
    assert result["adapter_response"]["warn_after_seconds"] == 90
    assert datetime.fromisoformat(result["snapshotted_at"]).timestamp() * 1000 == NOW
    assert made["elapsed_time"] == 0.5


def test_runtime_error_is_there_with_its_reason():
    (result,) = sources_json(
        [make_report(FreshnessStatus.RUNTIME_ERROR, error="no database")],
        generated_at_ms=NOW,
        version="1",
        invocation="i",
    )["results"]
    assert result == {
        "unique_id": "source.freshet.peps",
        "error": "no database",
        "status": "runtime error",
    }


def test_a_source_without_events_is_as_old_as_dbt_says():
    (result,) = sources_json(
        [make_report(FreshnessStatus.ERROR, newest_ms=None)],
        generated_at_ms=NOW,
        version="1",
        invocation="i",
    )["results"]
    assert result["max_loaded_at"].startswith("0001-01-01T00:00:00")


def test_exit_code_is_dbts():
    codes = {status: exit_code([make_report(), make_report(status)]) for status in FreshnessStatus}
    assert codes == {"pass": 0, "warn": 0, "error": 1, "runtime error": 1}
    assert exit_code([]) == 0


def test_a_snapshot_from_the_future_is_new():
    assert (
        make_snapshot(newest_ms=NOW + 60_000, oldest_ms=NOW + 60_000).verdict().status
        is FreshnessStatus.PASS
    )


def test_mass_expiry_that_was_not_allowed_is_an_error():
    verdict = make_snapshot(overdue=6).verdict()
    assert verdict.status is FreshnessStatus.ERROR
    assert "6 of 10 documents are overdue" in verdict.reasons[-1]


# ── forms that hold for every report ────────────────────────────────────────────────────────────────────────────────

times = st.none() | st.integers(min_value=-62_135_596_800_000, max_value=253_402_300_799_999)
seconds = st.none() | st.integers(min_value=0, max_value=10**9)


@settings(deadline=None)
@given(
    status=st.sampled_from(FreshnessStatus),
    snapshotted_at_ms=times,
    newest_ms=times,
    oldest_ms=times,
    warn=seconds,
    error=seconds,
    text=st.none() | st.text(),
)
def test_every_report_has_a_form_that_dbt_reads(
    status, snapshotted_at_ms, newest_ms, oldest_ms, warn, error, text
) -> None:
    report = make_report(
        status,
        snapshotted_at_ms=snapshotted_at_ms,
        newest_ms=newest_ms,
        oldest_ms=oldest_ms,
        spec=FreshnessSpec(warn_after_seconds=warn, error_after_seconds=error),
        error=text,
    )
    made = sources_json([report], generated_at_ms=NOW, version="1", invocation="i")
    assert json.loads(json.dumps(made)) == made
    (result,) = made["results"]
    assert result["status"] == status
    if status is FreshnessStatus.RUNTIME_ERROR:
        return
    assert result["max_loaded_at_time_ago_in_s"] >= 0
    for name in ("max_loaded_at", "snapshotted_at"):
        assert datetime.fromisoformat(result[name]).tzinfo is not None


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=10**9))
def test_dbts_period_is_never_shorter_than_ours(limit: int) -> None:
    report = make_report(spec=FreshnessSpec(warn_after_seconds=limit))
    (result,) = sources_json([report], generated_at_ms=NOW, version="1", invocation="i")["results"]
    period = result["criteria"]["warn_after"]
    size = {"day": 86_400, "hour": 3_600, "minute": 60}[period["period"]]
    assert 0 <= period["count"] * size - limit < 60


@settings(deadline=None)
@given(
    overdue=st.integers(0, 1_000),
    more=st.integers(0, 1_000),
    documents=st.integers(0, 1_000),
    ratio=st.floats(0, 1),
)
def test_a_snapshot_with_more_overdue_is_no_better(
    overdue: int, more: int, documents: int, ratio: float
) -> None:
    spec = FreshnessSpec(max_expiry_ratio=ratio)
    fewer = make_snapshot(spec=spec, overdue=overdue, documents=documents)
    greater = make_snapshot(spec=spec, overdue=overdue + more, documents=documents)
    if fewer.verdict().status is FreshnessStatus.ERROR:
        assert greater.verdict().status is FreshnessStatus.ERROR
    assert greater.may_expire() <= fewer.may_expire()


@settings(deadline=None)
@given(st.lists(st.sampled_from(FreshnessStatus), max_size=5))
def test_one_bad_source_decides_the_exit_code(statuses: list[FreshnessStatus]) -> None:
    bad = {FreshnessStatus.ERROR, FreshnessStatus.RUNTIME_ERROR}
    code = exit_code(make_report(status) for status in statuses)
    assert code == bool(bad & set(statuses))

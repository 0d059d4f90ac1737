"""Reports are stored and read back; a check that is too old says nothing; no database."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import ConfigurationError
from corpus.service import DescribeRequest
from corpus.source import FreshnessSpec, SourceSpec
from freshness import scan
from freshness.policy import FreshnessStatus
from freshness.report import STALE_INTERVALS, FreshnessReport
from freshness.revalidation import Revalidation
from freshness.scan import CheckRow, report_of, stored_form

SOURCE = SourceSpec(
    source="peps", topics=("peps",), freshness=FreshnessSpec(check_every_seconds=300)
)
integers = st.integers(min_value=0, max_value=2**53)
maybe = st.none() | integers
specs = st.builds(
    FreshnessSpec,
    warn_after_seconds=maybe,
    error_after_seconds=maybe,
    expire_after_seconds=maybe,
    check_every_seconds=integers,
    max_expiry_ratio=st.floats(0, 1),
)
reports = st.builds(
    FreshnessReport,
    source=st.just("peps"),
    status=st.sampled_from(FreshnessStatus),
    snapshotted_at_ms=integers,
    spec=specs,
    duration_seconds=st.floats(0, 1e6),
    workflow_id=st.text(max_size=20),
    run_id=st.text(max_size=20),
    newest_ms=maybe,
    oldest_ms=maybe,
    documents=maybe,
    overdue=maybe,
    empty=maybe,
    lossy=maybe,
    unknown=maybe,
    unknown_ratio=st.none() | st.floats(0, 1),
    expired=integers,
    error=st.none() | st.text(max_size=50),
    revalidation=st.none() | st.builds(Revalidation, asked=integers, problem=st.text(max_size=20)),
)


def row_of(report: FreshnessReport, *, age: float | None = 0.0, **fields: Any) -> CheckRow:
    """What the database gives back for a stored report."""
    stored = stored_form(report)
    stored["criteria"] = json.loads(stored["criteria"])
    stored["revalidation"] = json.loads(stored["revalidation"] or "null")
    return CheckRow(**stored, spec=SOURCE.to_json(), now_ms=1, checked_seconds_ago=age, **fields)


NEVER_CHECKED = CheckRow(
    source="peps",
    spec=SOURCE.to_json(),
    now_ms=1,
    **dict.fromkeys(
        (
            "checked_seconds_ago",
            "snapshotted_at_ms",
            "status",
            "newest_ms",
            "oldest_ms",
            "documents",
            "overdue",
            "empty",
            "lossy",
            "unknown",
            "unknown_ratio",
            "expired",
            "error",
            "criteria",
            "revalidation",
            "duration_seconds",
            "workflow_id",
            "run_id",
        )
    ),
)
PASSED = FreshnessReport(
    source="peps",
    status=FreshnessStatus.PASS,
    snapshotted_at_ms=5,
    spec=FreshnessSpec(warn_after_seconds=60),
    duration_seconds=0.5,
    workflow_id="w",
    run_id="r",
)


@settings(deadline=None)
@given(reports)
def test_a_report_comes_back_as_it_was_stored(report: FreshnessReport) -> None:
    assert report_of(row_of(report)) == report


@settings(deadline=None)
@given(reports)
def test_what_is_stored_is_json_and_scalars(report: FreshnessReport) -> None:
    for value in stored_form(report).values():
        assert value is None or type(value) in (str, int, float)


def test_a_report_of_newer_code_is_read_without_what_is_unknown() -> None:
    row = row_of(PASSED)
    assert row.criteria is not None
    newer = replace(row, criteria=row.criteria | {"a_setting_of_tomorrow": 1})
    assert report_of(newer) == PASSED


def test_a_report_without_criteria_is_read() -> None:
    assert report_of(replace(row_of(PASSED), criteria={})).spec == FreshnessSpec()


# ── checks that did not run ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_source_that_was_never_checked_is_a_runtime_error() -> None:
    report = report_of(NEVER_CHECKED)
    assert report.status is FreshnessStatus.RUNTIME_ERROR
    assert (
        report.error
        == "the check never ran, though it is due every 5m: see `freshet freshness schedules` and the workers"
    )
    assert report.spec == SOURCE.freshness


@pytest.mark.parametrize(
    ("age", "status"),
    [
        (0.0, "pass"),
        (300.0 * STALE_INTERVALS, "pass"),
        (300.0 * STALE_INTERVALS + 0.1, "runtime error"),
        (1e9, "runtime error"),
        (-5.0, "pass"),  # the database's clock was set back
    ],
)
def test_a_check_counts_for_three_intervals(age: float, status: str) -> None:
    assert report_of(row_of(PASSED, age=age)).status == status


def test_a_late_check_says_how_late_it_is() -> None:
    report = report_of(row_of(PASSED, age=901.4))
    assert "the check last ran 901s ago, though it is due every 5m" in str(report.error)
    assert report.snapshotted_at_ms == PASSED.snapshotted_at_ms


# ── sources that do not exist ───────────────────────────────────────────────────────────────────────────────────────


class Empty:
    """A database without rows."""

    def cursor(self, row_factory):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def execute(self, _statement, _parameters):
        return self

    def fetchone(self):
        return None

    def fetchall(self):
        return []


EMPTY: Any = Empty()


def test_a_source_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigurationError, match="there is no source 'nope'"):
        scan.measure(EMPTY, "nope")
    with pytest.raises(ConfigurationError, match="there is no source 'nope'"):
        scan.latest(EMPTY, "nope")
    assert scan.latest(EMPTY) == ([], 0)
    assert scan.describe(EMPTY, DescribeRequest(source="nope")) is None


def test_the_row_has_every_column_of_a_report() -> None:
    columns = set(asdict(NEVER_CHECKED)) - {"now_ms", "checked_seconds_ago"}
    assert columns == set(asdict(PASSED)) | {"criteria"}

"""`freshet freshness report`: a check from before the first event is not reported as if it were news."""

from dataclasses import replace
from typing import Any

import pytest

from corpus.source import FreshnessSpec
from freshness import scan
from freshness.policy import FreshnessStatus
from freshness.report import FreshnessReport, FreshnessSnapshot, sources_json
from freshness.revalidation import Revalidation
from workers.cli.commands.freshness import _asked_again, _with_first_event

HOUR = 3_600_000
SPEC = FreshnessSpec(error_after_seconds=60)
AT_APPLY = FreshnessReport(
    source="a",
    status=FreshnessStatus.ERROR,
    snapshotted_at_ms=HOUR,
    spec=SPEC,
    duration_seconds=0.1,
    workflow_id="w",
    run_id="r",
    documents=0,
    overdue=0,
    error="newest event is not there, error after 1m",
)
NOW = FreshnessSnapshot(
    source="a",
    snapshotted_at_ms=2 * HOUR,
    spec=SPEC,
    last_batch=1,
    documents=3,
    overdue=0,
    newest_ms=2 * HOUR,
    oldest_ms=2 * HOUR,
)
NO_CONNECTION: Any = None


def shown(
    monkeypatch: pytest.MonkeyPatch, found: FreshnessReport, now: FreshnessSnapshot
) -> FreshnessReport:
    monkeypatch.setattr(scan, "measure", lambda *_: now)
    return _with_first_event(NO_CONNECTION, found)


def test_the_first_event_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    report = shown(monkeypatch, AT_APPLY, NOW)
    assert (
        report.status,
        report.error,
        report.documents,
        report.newest_ms,
        report.snapshotted_at_ms,
    ) == (
        "pass",
        None,
        3,
        2 * HOUR,
        2 * HOUR,
    )


def test_an_old_first_event_is_still_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    report = shown(monkeypatch, AT_APPLY, replace(NOW, newest_ms=HOUR))
    assert report.status == "error"
    assert report.error == "newest event is 60.0m old, error after 1m"


@pytest.mark.parametrize(
    ("found", "now"),
    [
        (AT_APPLY, replace(NOW, newest_ms=None)),
        (replace(AT_APPLY, newest_ms=HOUR), NOW),
        (replace(AT_APPLY, status=FreshnessStatus.RUNTIME_ERROR), NOW),
    ],
)
def test_any_other_check_is_reported_as_it_was(
    monkeypatch: pytest.MonkeyPatch, found: FreshnessReport, now: FreshnessSnapshot
) -> None:
    assert shown(monkeypatch, found, now) is found


def test_what_origins_said_is_shown() -> None:
    assert _asked_again(AT_APPLY) == ""
    asked = Revalidation(asked=1_205, renewed=1_200, changed=2, gone=3, unaskable=1)
    report = replace(AT_APPLY, revalidation=asked)
    assert _asked_again(report) == "1,200 renewed, 2 changed, 3 gone, 1 without an address"
    [result] = sources_json([report], generated_at_ms=1, version="1", invocation="i")["results"]
    assert result["adapter_response"]["revalidation"]["renewed"] == 1_200

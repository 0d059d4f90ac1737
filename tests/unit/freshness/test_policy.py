"""Verdicts: pure."""

import pytest

from corpus.source import FreshnessSpec
from freshness.policy import FreshnessStatus, expiry_rule, format_duration, judge, may_expire, worst

SPEC = FreshnessSpec(warn_after_seconds=60, error_after_seconds=3_600, expire_after_seconds=86_400)


@pytest.mark.parametrize(
    ("newest", "oldest", "status"),
    [
        (0.0, 0.0, "pass"),
        (60.0, 60.0, "pass"),  # exactly as old as allowed
        (60.1, 0.0, "warn"),
        (0.0, 60.1, "warn"),
        (3_600.1, 0.0, "error"),
        (0.0, 3_600.1, "error"),
        (None, None, "error"),  # never an event: older than anything
        (5.0, None, "pass"),  # events, but no document
    ],
)
def test_judge(newest, oldest, status):
    assert judge(SPEC, newest_seconds=newest, oldest_seconds=oldest).status == status


def test_judge_names_what_is_old():
    verdict = judge(SPEC, newest_seconds=7_200, oldest_seconds=8_000)
    assert verdict.reasons == (
        "newest event is 2.0h old, error after 1h",
        "oldest unverified document is 2.2h old, error after 1h",
    )


def test_a_policy_that_is_off_passes_everything():
    assert (
        judge(FreshnessSpec(), newest_seconds=None, oldest_seconds=1e9).status
        is FreshnessStatus.PASS
    )


def test_only_warn_is_configured():
    assert (
        judge(FreshnessSpec(warn_after_seconds=1), newest_seconds=1e9, oldest_seconds=None).status
        is FreshnessStatus.WARN
    )


def test_worst():
    assert worst([]) is FreshnessStatus.PASS
    assert (
        worst([FreshnessStatus.RUNTIME_ERROR, FreshnessStatus.WARN, FreshnessStatus.ERROR])
        is FreshnessStatus.RUNTIME_ERROR
    )


@pytest.mark.parametrize(
    ("overdue", "documents", "allowed"),
    [(5, 10, True), (6, 10, False), (0, 0, True), (1, 1, False)],
)
def test_mass_expiry_is_not_allowed(overdue, documents, allowed):
    assert (
        may_expire(FreshnessSpec(max_expiry_ratio=0.5), overdue=overdue, documents=documents)
        is allowed
    )


def test_durations_are_in_the_largest_unit():
    assert [format_duration(seconds) for seconds in (30 * 86_400, 43_200, 300, 90, 0)] == [
        "30d",
        "12h",
        "5m",
        "90s",
        "0s",
    ]
    assert expiry_rule(SPEC) == "expires_at or expire_after=1d"
    assert expiry_rule(FreshnessSpec()) == "expires_at"

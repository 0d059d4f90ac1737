"""Verdicts: pure."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.source import FreshnessSpec
from freshness.policy import (
    FreshnessStatus,
    Verdict,
    expiry_rule,
    format_duration,
    judge,
    worst,
)

SPEC = FreshnessSpec(warn_after_seconds=60, error_after_seconds=3_600, expire_after_seconds=86_400)
ORDER = list(FreshnessStatus)  # worst last
limits = st.none() | st.integers(min_value=0, max_value=10**9)
ages = st.none() | st.floats(min_value=0, max_value=1e12)
counts = st.integers(min_value=0, max_value=10**9)
ratios = st.floats(min_value=0, max_value=1)


# ── examples ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("newest", "oldest", "status"),
    [
        (0.0, 0.0, "pass"),
        (60.0, 60.0, "pass"),  # exactly as old as allowed
        (60.1, 0.0, "warn"),
        (0.0, 60.1, "warn"),
        (3_600.1, 0.0, "error"),
        (0.0, 3_600.1, "error"),
        (None, None, "error"),  # never an event: older than any limit
        (5.0, None, "pass"),  # events, but no document
    ],
)
def test_judge(newest: float | None, oldest: float | None, status: str) -> None:
    assert judge(SPEC, newest_seconds=newest, oldest_seconds=oldest).status == status


def test_judge_names_what_is_old() -> None:
    verdict = judge(SPEC, newest_seconds=7_200, oldest_seconds=8_000)
    assert verdict.reasons == (
        "newest event is 2.0h old, error after 1h",
        "oldest unverified document is 2.2h old, error after 1h",
    )


def test_a_source_without_events_says_so() -> None:
    verdict = judge(SPEC, newest_seconds=None, oldest_seconds=None)
    assert verdict.reasons == ("newest event is not there, error after 1h",)


def test_a_policy_that_is_off_passes_everything() -> None:
    verdict = judge(FreshnessSpec(), newest_seconds=None, oldest_seconds=1e9)
    assert verdict == Verdict(FreshnessStatus.PASS)


def test_only_warn_is_configured() -> None:
    spec = FreshnessSpec(warn_after_seconds=1)
    verdict = judge(spec, newest_seconds=1e9, oldest_seconds=None)
    assert verdict.status is FreshnessStatus.WARN


def test_an_error_keeps_the_reasons_before_it() -> None:
    verdict = Verdict(FreshnessStatus.WARN, ("old",)).with_error("not withdrawn")
    assert verdict == Verdict(FreshnessStatus.ERROR, ("old", "not withdrawn"))


def test_durations_are_in_the_largest_unit() -> None:
    seconds = (30 * 86_400, 43_200, 300, 90, 0)
    assert [format_duration(each) for each in seconds] == ["30d", "12h", "5m", "90s", "0s"]
    assert expiry_rule(SPEC) == "expires_at or expire_after=1d"
    assert expiry_rule(FreshnessSpec()) == "expires_at"


# ── rules that hold for every policy ────────────────────────────────────────────────────────────────────────────────


def policy(warn: int | None, error: int | None) -> FreshnessSpec:
    return FreshnessSpec(warn_after_seconds=warn, error_after_seconds=error)


def rank(spec: FreshnessSpec, newest: float | None, oldest: float | None) -> int:
    return ORDER.index(judge(spec, newest_seconds=newest, oldest_seconds=oldest).status)


@settings(deadline=None)
@given(warn=limits, error=limits, newest=ages, oldest=ages, older=st.floats(0, 1e12))
def test_a_source_that_ages_gets_no_better(
    warn: int | None, error: int | None, newest: float | None, oldest: float | None, older: float
) -> None:
    spec = policy(warn, error)
    before = rank(spec, newest, oldest)
    assert rank(spec, None, oldest) >= before
    if newest is not None:
        assert rank(spec, newest + older, oldest) >= before
    if oldest is not None:
        assert rank(spec, newest, oldest + older) >= before
        assert rank(spec, newest, None) <= before  # the document is gone


@settings(deadline=None)
@given(warn=limits, error=limits, newest=ages, oldest=ages)
def test_a_verdict_has_reasons_unless_it_passes(
    warn: int | None, error: int | None, newest: float | None, oldest: float | None
) -> None:
    verdict = judge(policy(warn, error), newest_seconds=newest, oldest_seconds=oldest)
    assert bool(verdict.reasons) is (verdict.status is not FreshnessStatus.PASS)
    assert verdict.status is not FreshnessStatus.RUNTIME_ERROR


@settings(deadline=None)
@given(st.lists(st.sampled_from(ORDER)), st.sampled_from(ORDER))
def test_the_worst_is_at_least_as_bad_as_each(
    statuses: list[FreshnessStatus], another: FreshnessStatus
) -> None:
    found = worst(statuses)
    assert found in (statuses or [FreshnessStatus.PASS])
    assert all(ORDER.index(status) <= ORDER.index(found) for status in statuses)
    assert ORDER.index(worst([*statuses, another])) >= ORDER.index(found)


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=10**9))
def test_a_duration_can_be_read_back(seconds: int) -> None:
    text = format_duration(seconds)
    size = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}[text[-1]]
    assert int(text[:-1]) * size == seconds

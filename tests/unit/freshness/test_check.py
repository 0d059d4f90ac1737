"""The pure parts of a check: the reason of a failure and the lookup of an expiry."""

from typing import Any

import pytest
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutError

from corpus.errors import DependencyError
from corpus.source import FreshnessSpec
from freshness.activities import ExpiryLookup, ExpiryResult, FreshnessActivities
from freshness.report import ExpiredDocuments, FreshnessSnapshot
from freshness.workflows import reason_of

LOOKUP = ExpiryLookup(source="peps", after_batch=4)


# ── the reason of a failed check ────────────────────────────────────────────────────────────────────────────────────


def failed(cause: BaseException | None) -> ActivityError:
    error = ActivityError(
        "Activity task failed",
        scheduled_event_id=1,
        started_event_id=2,
        identity="worker",
        activity_type="freshness.measure",
        activity_id="1",
        retry_state=RetryState.MAXIMUM_ATTEMPTS_REACHED,
    )
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (
            ApplicationError("no database", type="DependencyError"),
            "freshness.measure: DependencyError: DependencyError: no database",
        ),
        (ApplicationError("no type"), "freshness.measure: ApplicationError: no type"),
        (
            ApplicationError("two\nlines\tand a tab", type="E"),
            "freshness.measure: E: E: two lines and a tab",
        ),
        (None, "freshness.measure: ActivityError: Activity task failed"),
    ],
    ids=repr,
)
def test_the_reason_is_one_line(cause: BaseException | None, reason: str) -> None:
    assert reason_of(failed(cause)) == reason


def test_the_reason_is_that_of_the_innermost_failure() -> None:
    inner = failed(ApplicationError("inner", type="E"))
    assert reason_of(failed(inner)).endswith("E: inner")


def test_a_long_reason_is_cut() -> None:
    assert len(reason_of(failed(ApplicationError("x" * 100_000)))) == 2_000


def test_a_timeout_has_a_reason() -> None:
    timeout = TimeoutError("activity timed out", type=None, last_heartbeat_details=[])
    assert reason_of(failed(timeout)) == "freshness.measure: TimeoutError: activity timed out"


# ── the lookup of an expiry ─────────────────────────────────────────────────────────────────────────────────────────


def shell(expired: ExpiredDocuments, overdue: int) -> FreshnessActivities:
    def measure(source: str) -> FreshnessSnapshot:
        return FreshnessSnapshot(
            source=source,
            snapshotted_at_ms=1,
            spec=FreshnessSpec(),
            last_batch=4,
            documents=10,
            overdue=overdue,
        )

    unused: Any = None
    return FreshnessActivities(
        measure=measure,
        expired_after=lambda *_: expired,
        record=unused,
        initial_state=unused,
    )


@pytest.mark.parametrize(
    ("batches", "documents", "overdue", "done"),
    [
        (1, 5, 0, True),
        (1, 5, 3, True),  # what became overdue since is for the next check
        (1, 0, 0, True),  # a batch that withdrew nothing: each document was seen again
        (0, 0, 3, False),  # not yet
        (0, 0, 0, True),  # nothing is left to withdraw
    ],
)
def test_an_expiry_is_done(batches: int, documents: int, overdue: int, done: bool) -> None:
    expired = ExpiredDocuments(batches=batches, documents=documents)
    result = shell(expired, overdue).find_expiry(LOOKUP)
    assert result == ExpiryResult(done=done, documents=documents)


def test_a_database_that_is_away_is_tried_again() -> None:
    def away(*_: Any) -> Any:
        raise DependencyError("no database")

    unused: Any = None
    activities = FreshnessActivities(
        measure=away, expired_after=away, record=unused, initial_state=unused
    )
    for call in (lambda: activities.measure("peps"), lambda: activities.find_expiry(LOOKUP)):
        with pytest.raises(ApplicationError, match="no database") as raised:
            call()
        assert (raised.value.type, raised.value.non_retryable) == ("DependencyError", False)

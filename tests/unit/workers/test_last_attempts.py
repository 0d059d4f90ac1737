"""What is shown of an activity's last attempt."""

import pytest
from temporalio.api.workflow.v1 import PendingActivityInfo

from corpus.errors import TimeSliceUsedError
from workers.last_attempts import problem_of, progress_of


def wrapped(kind: str, message: str) -> PendingActivityInfo:
    """As the server keeps a failure that it finds too large."""
    info = PendingActivityInfo(attempt=3)
    info.last_failure.message = "Failure exceeds size limit."
    info.last_failure.server_failure_info.non_retryable = False
    info.last_failure.cause.message = message
    info.last_failure.cause.application_failure_info.type = kind
    return info


@pytest.mark.parametrize(
    ("kind", "problem", "progress"),
    [
        ("DependencyError", "attempt 3: 7 of 9", ""),
        (TimeSliceUsedError.__name__, "", "7 of 9"),
    ],
)
def test_a_failure_that_the_server_finds_too_large_is_shown_as_it_was(
    kind: str, problem: str, progress: str
) -> None:
    attempt = wrapped(kind, "7\nof 9")
    assert (problem_of(attempt), progress_of(attempt)) == (problem, progress)

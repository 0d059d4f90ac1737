"""What the last attempt of an activity has left: its failure, or how far it came."""

from temporalio.api.failure.v1 import Failure
from temporalio.api.workflow.v1 import PendingActivityInfo

from corpus.errors import TimeSliceUsedError

_MAX_PROBLEM = 240  # characters


def problem_of(activity: PendingActivityInfo) -> str:
    """The failure of its last attempt; empty where there was none."""
    if not _has_failed(activity) or _used_its_slice(activity):
        return ""
    return f"attempt {activity.attempt}: {_message(activity)}"[:_MAX_PROBLEM]


def progress_of(activity: PendingActivityInfo) -> str:
    """How far an activity has come that gave its place to others; empty where it did not."""
    if not _has_failed(activity) or not _used_its_slice(activity):
        return ""
    return _message(activity)[:_MAX_PROBLEM]


def _has_failed(activity: PendingActivityInfo) -> bool:
    return activity.attempt > 1 and activity.HasField("last_failure")


def _used_its_slice(activity: PendingActivityInfo) -> bool:
    """Whether the last attempt gave its place to others, and the next one continues."""
    kind = _failure(activity).application_failure_info.type
    return kind == TimeSliceUsedError.__name__


def _message(activity: PendingActivityInfo) -> str:
    return " ".join(_failure(activity).message.split())


def _failure(activity: PendingActivityInfo) -> Failure:
    """How the last attempt failed; the server wraps what it finds too large in a failure that says only that."""
    failure = activity.last_failure
    if failure.HasField("server_failure_info") and failure.HasField("cause"):
        return failure.cause
    return failure

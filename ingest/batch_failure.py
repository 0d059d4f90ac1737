"""A batch that failed for good, and why."""

from dataclasses import dataclass

from temporalio.exceptions import ActivityError, ChildWorkflowError

from corpus.batch import BatchRef


@dataclass(frozen=True, slots=True)
class BatchFailure:
    """The oldest batch that failed; no later batch may publish."""

    batch: int
    refs: tuple[BatchRef, ...]
    reason: str

    @property
    def epoch(self) -> int:
        """In which the records were read."""
        return max(ref.epoch for ref in self.refs)


def innermost_message(error: BaseException) -> str:
    """Return the message of the cause, as "PositionGapError: peps/0 ...": Temporal puts the type before the message."""
    while (
        isinstance(error, (ChildWorkflowError, ActivityError))
        and error.cause is not None
    ):
        error = error.cause
    return str(error)

"""A batch that failed for good, why, and where a source is stuck until something is published there."""

from collections.abc import Sequence
from dataclasses import dataclass

from temporalio.exceptions import ActivityError, ChildWorkflowError

from corpus.batch import BatchRef, RewindRequest
from ingest.source_state import SourceState

# Failures without success after which a source halts and asks a person instead of reading again.
MAX_REWINDS = 3


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

    def rewind_request(self, source: str, *, halt: bool) -> RewindRequest:
        """What has the consumer read the source again from its positions; `halt`: once a person has seen to it."""
        return RewindRequest(
            source=source, reason=self.reason, halt=halt, epoch=self.epoch
        )


def innermost_message(error: BaseException) -> str:
    """Return the message of the cause, as "PositionGapError: peps/0 ...": Temporal puts the type before the message."""
    while (
        isinstance(error, (ChildWorkflowError, ActivityError))
        and error.cause is not None
    ):
        error = error.cause
    return str(error)


def record_success(state: SourceState, refs: Sequence[BatchRef]) -> None:
    """Note what was published: it is no longer stuck.

    What other partitions publish meanwhile says nothing about a partition that is stuck.
    """
    for ref in refs:
        if ref.backfill:
            continue
        name = _partition_name(ref)
        lowest_failed = state.stuck.get(name)
        if lowest_failed is not None and ref.next_offset > lowest_failed:
            del state.stuck[name]
    if not state.stuck:
        state.rewinds = 0


def record_failure(state: SourceState, refs: Sequence[BatchRef]) -> bool:
    """Note where a batch failed; returns whether the source must halt because it failed too often."""
    for ref in refs:
        name = _partition_name(ref)
        lowest_failed = state.stuck.get(name, ref.first_offset)
        state.stuck[name] = min(ref.first_offset, lowest_failed)
    state.rewinds += 1
    return state.rewinds > MAX_REWINDS


def forget_failures(state: SourceState) -> None:
    """Count failures from zero again: a person acted, so what failed before may work now."""
    state.rewinds = 0
    state.stuck = {}


def _partition_name(ref: BatchRef) -> str:
    return f"{ref.topic}/{ref.partition}"

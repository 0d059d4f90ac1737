"""What a backfill is, and how far it is. Everything else of it is in the database (`freshet.backfill`)."""

from dataclasses import dataclass
from enum import StrEnum

from corpus.batch import BatchRef

# Records of one part.
PART_RECORDS = 1_000


class BackfillStatus(StrEnum):
    """`backfill.state` in the database; the row decides."""

    RUNNING = "running"
    PAUSED = "paused"  # by a person
    DONE = "done"
    CANCELLED = "cancelled"  # by a person; what is published stays
    FAILED = "failed"  # the row has the error


ENDED = frozenset(
    {BackfillStatus.DONE, BackfillStatus.CANCELLED, BackfillStatus.FAILED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillCursor:
    """Where a backfill is: argument of the next run of its workflow."""

    backfill: int
    range: int = 0  # index in the row's ranges
    offset: int = 0  # of the next record; below the range's beginning: that
    passed: int = 0  # offsets, or named records, that are behind it
    gone: int = 0  # of them, that Kafka no longer had


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillStep:
    """Result of a step."""

    state: BackfillStatus
    cursor: BackfillCursor  # where the next step begins
    ref: BatchRef | None = None  # what was staged; None: nothing
    records: int = 0  # that were read
    rate: int = 0  # records per second at most; 0: no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class PartResult:
    """What became of a part that was handed over."""

    is_published: bool = False
    state: BackfillStatus = BackfillStatus.RUNNING
    refused: str = ""  # why the entity's batch failed; empty: it waits


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillEnd:
    """How a backfill ends."""

    backfill: int
    state: BackfillStatus
    error: str = ""


def backfill_workflow_id(backfill: int) -> str:
    """Workflow id of a backfill. A number belongs to one database, as an entity's position rows do."""
    return f"backfill:{backfill}"

"""The positions that a batch moves: they begin where the corpus is, and no offset is skipped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from psycopg.rows import class_row

from corpus.batch import BatchRef, PreparedBatch
from corpus.errors import PositionGapError, StalePreparationError
from corpus.publish.transaction import PublishTransaction


@dataclass(frozen=True, slots=True)
class PartitionRange:
    """The offsets of one partition that a batch moves the position over."""

    topic: str
    partition: int
    first_offset: int  # where the corpus is
    next_offset: int  # exclusive

    @property
    def is_empty(self) -> bool:
        """Whether the corpus has applied all of the batch's references."""
        return self.next_offset == self.first_offset


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPosition:
    """A partition's row (query `lock_position`)."""

    next_offset: int
    topic_id: str


def lock_ranges(
    transaction: PublishTransaction, refs: Sequence[BatchRef]
) -> list[PartitionRange]:
    """Lock the positions of the batch's partitions and find the offsets that it moves them over.

    Raises:
        PositionGapError: offsets are missing before a reference, or it belongs to another incarnation of the topic.
    """
    return [_lock_range(transaction, group) for group in by_partition(refs)]


def by_partition(refs: Iterable[BatchRef]) -> list[list[BatchRef]]:
    """References grouped by partition, in the order of their offsets."""
    ordered = sorted(refs, key=lambda ref: (ref.topic, ref.partition, ref.first_offset))
    groups = groupby(ordered, key=lambda ref: (ref.topic, ref.partition))
    return [list(group) for _, group in groups]


def _lock_range(
    transaction: PublishTransaction, refs: Sequence[BatchRef]
) -> PartitionRange:
    first = refs[0]
    position = transaction.fetch_first(
        class_row(LockedPosition),
        "lock_position",
        topic=first.topic,
        partition=first.partition,
    )
    if position is None:
        raise PositionGapError(
            f"{_described(first)} has no position row; the consumer writes one before it reads"
        )
    return range_over(position, refs)


def range_over(position: LockedPosition, refs: Sequence[BatchRef]) -> PartitionRange:
    """Follow one partition's references from its position. They may overlap, and may lie behind it.

    Raises:
        PositionGapError: as `lock_ranges`.
    """
    first = refs[0]
    next_offset = position.next_offset
    for ref in refs:
        if ref.topic_id != position.topic_id:
            raise PositionGapError(
                f"{_described(first)}: the topic was recreated "
                f"(id {position.topic_id} was read, the batch comes from {ref.topic_id})"
            )
        if ref.first_offset > next_offset:
            raise PositionGapError(
                f"{_described(first)}: offsets {next_offset} to {ref.first_offset - 1} are missing"
            )
        next_offset = max(next_offset, ref.next_offset)
    return PartitionRange(
        first.topic, first.partition, position.next_offset, next_offset
    )


def _described(ref: BatchRef) -> str:
    return f"{ref.topic}/{ref.partition} of source {ref.source!r}"


def check_starts(prepared: PreparedBatch, ranges: Sequence[PartitionRange]) -> None:
    """Check that the prepared batch begins where the corpus is now.

    It does not where another batch has applied a part of it: what a document's events come to depends on all of them,
    so the rest has to be folded again. It does not, either, where the corpus went back in a failover.

    Raises:
        StalePreparationError: it begins elsewhere.
    """
    starts = {(start.topic, start.partition): start.offset for start in prepared.starts}
    for current in ranges:
        start = starts.get((current.topic, current.partition))
        if start != current.first_offset:
            raise StalePreparationError(
                f"{current.topic}/{current.partition} is at offset {current.first_offset}, "
                f"the prepared batch begins at {start}; prepare again"
            )

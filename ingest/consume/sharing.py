"""Sources that share a partition: one that must wait is suspended, so that the others continue, and resumed later.

librdkafka reads a partition at one offset. A reader that must wait (a full buffer, too much unpublished) would stop all
of them; one that is far back would keep the others waiting until it has caught up. So a reader that has kept another
one from continuing for `MAX_BLOCKING_SECONDS` discards its buffer and is suspended. The others continue, and later
reading goes back to where the suspended one stopped. The others leave out the records that they have seen.
"""

from collections.abc import Collection, Sequence

from ingest.consume.partition_state import AssignedPartition, PartitionReader

# Short, since the others wait meanwhile; long enough that a reader which only waits for one hand-over is not suspended:
# going back costs a fetch from the broker.
MAX_BLOCKING_SECONDS = 2.0
MIN_SUSPENDED_SECONDS = 1.0  # what the others get between two suspensions


def is_blocked(partition: AssignedPartition, behind: Collection[str]) -> bool:
    """Whether the next record is for a reader that must wait, or for none."""
    offset = partition.read_offset
    if offset is None:
        return True
    return any(
        not reader.is_suspended and reader.expected_offset <= offset and _must_wait(reader, behind)
        for reader in partition.readers.values()
    )


def suspend_and_resume(
    partition: AssignedPartition, behind: Collection[str], relieved: Collection[str], now: float
) -> None:
    """Suspend readers that block others, and resume suspended ones; `partition.seek_to` is where to read then.

    Args:
        partition: the partition.
        behind: sources with too much unpublished.
        relieved: sources with less than half of that, so that resuming them is worth a seek.
        now: monotonic seconds.
    """
    reading = [reader for reader in partition.readers.values() if not reader.is_suspended]
    changed = False
    for reader in partition.readers.values():
        is_relieved = reader.spec.source in relieved
        if reader.suspended_at is not None:
            changed |= _resume_if_due(reader, reader.suspended_at, now, is_relieved=is_relieved)
        elif not _blocks_any(reader, reading, behind):
            # The wait of a reader that is barely below its limits continues: it will block again at once.
            if is_relieved:
                reader.blocking_since = None
        elif _suspend_if_due(reader, now):
            reading.remove(reader)
            changed = True
    if changed:
        partition.request_seek()


def _resume_if_due(
    reader: PartitionReader, suspended_at: float, now: float, *, is_relieved: bool
) -> bool:
    is_due = now - suspended_at >= MIN_SUSPENDED_SECONDS
    if is_due and is_relieved and reader.in_flight is None:
        reader.resume()
        return True
    return False


def _suspend_if_due(reader: PartitionReader, now: float) -> bool:
    if reader.blocking_since is None:
        reader.blocking_since = now
    if now - reader.blocking_since >= MAX_BLOCKING_SECONDS:
        reader.suspend(now)
        return True
    return False


def _blocks_any(
    reader: PartitionReader, others: Sequence[PartitionReader], behind: Collection[str]
) -> bool:
    """Whether the reader keeps one that could continue from continuing."""
    for other in others:
        if other is reader or _must_wait(other, behind):
            continue
        if reader.expected_offset < other.expected_offset:
            return True
        if reader.expected_offset == other.expected_offset and _must_wait(reader, behind):
            return True
    return False


def _must_wait(reader: PartitionReader, behind: Collection[str]) -> bool:
    return reader.is_full or reader.spec.source in behind

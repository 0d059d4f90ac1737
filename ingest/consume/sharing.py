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
        not reader.is_suspended
        and reader.expected_offset <= offset
        and _must_wait(reader, behind)
        for reader in partition.readers.values()
    )


def suspend_and_resume(
    partition: AssignedPartition,
    behind: Collection[str],
    relieved: Collection[str],
    now: float,
) -> bool:
    """Suspend readers that block others, and resume suspended ones; request a seek where reading must move for that.

    Args:
        partition: the partition.
        behind: sources with too much unpublished.
        relieved: sources with less than half of that, so that resuming them is worth a seek.
        now: monotonic seconds.

    Returns:
        Whether a reader was suspended or resumed.
    """
    reading = [
        reader for reader in partition.readers.values() if not reader.is_suspended
    ]
    read_before = list(reading)
    read_offset = partition.read_offset
    for reader in partition.readers.values():
        is_relieved = reader.spec.source in relieved
        if reader.suspended_at is not None:
            if is_relieved and _is_resumption_due(reader, reader.suspended_at, now):
                reader.resume()
        else:
            _judge_reading(reader, reading, behind, is_relieved, now)
    # A seek discards what is being fetched: without a need for it, several readers that are suspended and resumed at
    # different times would keep one another from ever receiving a record.
    if partition.read_offset != read_offset:
        partition.request_seek()
    return read_before != [
        reader for reader in partition.readers.values() if not reader.is_suspended
    ]


def _judge_reading(
    reader: PartitionReader,
    reading: list[PartitionReader],
    behind: Collection[str],
    is_relieved: bool,
    now: float,
) -> None:
    """Suspend a reader that has blocked another one for too long; it then leaves `reading`."""
    if not _blocks_any(reader, reading, behind):
        # The wait of a reader that is barely below its limits continues: it will block again at once.
        if is_relieved:
            reader.blocking_since = None
    elif _suspend_if_due(reader, now):
        reading.remove(reader)


def _is_resumption_due(
    reader: PartitionReader, suspended_at: float, now: float
) -> bool:
    return reader.in_flight is None and now - suspended_at >= MIN_SUSPENDED_SECONDS


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
        if reader.expected_offset == other.expected_offset and _must_wait(
            reader, behind
        ):
            return True
    return False


def _must_wait(reader: PartitionReader, behind: Collection[str]) -> bool:
    return reader.is_full or reader.spec.source in behind

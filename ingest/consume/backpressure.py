"""When a partition pauses: too much in memory, too much unpublished, or no reader that wants the next record."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from ingest.consume.partition_state import AssignedPartition, PartitionReader, is_behind
from ingest.consume.sharing import is_blocked

# Records in memory over all readers; above it every partition pauses. With what librdkafka holds (16 MB and one
# response) and the two micro-batches that are being staged (about four copies each), the process stays within the bound
# that the README gives.
MAX_HELD_BYTES = 96_000_000


def held_bytes(partitions: Iterable[AssignedPartition]) -> int:
    """Bytes of records in memory."""
    held = 0
    for partition in partitions:
        for reader in partition.readers.values():
            held += reader.held_bytes
    return held


def sources_behind(
    partitions: Iterable[AssignedPartition], share: float = 1.0
) -> frozenset[str]:
    """Sources that have handed over more than this share of what may be unpublished."""
    readers_of: defaultdict[str, list[PartitionReader]] = defaultdict(list)
    for partition in partitions:
        for source, reader in partition.readers.items():
            readers_of[source].append(reader)
    behind: set[str] = set()
    for source, readers in readers_of.items():
        if is_behind(readers, share):
            behind.add(source)
    return frozenset(behind)


def must_pause(
    partition: AssignedPartition, behind: Collection[str], held: int
) -> bool:
    """Whether librdkafka must hold the partition paused now.

    A partition that is paused runs again only when half of the memory is free, so that it does not pause at once.

    Args:
        partition: the partition.
        behind: sources with too much unpublished.
        held: bytes of records in memory, over all partitions.
    """
    if partition.seek_to is not None or held > MAX_HELD_BYTES:
        return True
    if is_blocked(partition, behind):
        return True
    return partition.paused and held > MAX_HELD_BYTES // 2

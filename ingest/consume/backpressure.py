"""When a partition pauses: too much in memory, too much unpublished, or no reader that wants the next record.

With thousands of partitions, a round of the polling thread looks only at those that changed: `Pressure` keeps the sums.
"""

from collections.abc import Collection, Iterable, Mapping
from enum import Enum

from ingest.consume.partition_state import AssignedPartition, PartitionReader
from ingest.consume.sharing import is_blocked
from ingest.kafka import PartitionKey

# Records in memory over all readers; above it every partition pauses. With what librdkafka holds (16 MB and one
# response) and the two micro-batches that are being staged (about four copies each), the process stays within the bound
# that the README gives.
MAX_HELD_BYTES = 96_000_000
# Micro-batches of one source that may be handed over and not published; above it the partitions of the source pause. A
# limit in records does not stop a trickle of single records while no worker runs.
MAX_REFERENCES = 200


def is_behind(readers: Iterable[PartitionReader], share: float = 1.0) -> bool:
    """Whether the readers of one source have handed over more than this share of what may be unpublished."""
    readers = list(readers)
    if not readers:
        return False
    limits = readers[0].spec.limits
    outstanding = [batch for reader in readers for batch in reader.outstanding]
    return (
        len(outstanding) >= MAX_REFERENCES * share
        or sum(batch.records for batch in outstanding)
        >= limits.max_pending_records * share
        or sum(batch.value_bytes for batch in outstanding)
        >= limits.max_pending_bytes * share
    )


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


class MemoryState(Enum):
    """How much memory is taken; within one state, no partition pauses or resumes because of memory."""

    FREE = "free"  # partitions that paused may resume
    HALF = "half"  # partitions that paused wait
    FULL = "full"  # every partition pauses


def memory_state(held: int) -> MemoryState:
    """The state of memory with this many bytes of records in it."""
    if held > MAX_HELD_BYTES:
        return MemoryState.FULL
    if held > MAX_HELD_BYTES // 2:
        return MemoryState.HALF
    return MemoryState.FREE


class Pressure:
    """What the partitions hold, and which sources are behind; only partitions that changed are looked at.

    Attributes:
        held: bytes of records in memory, over all partitions.
        behind: sources with too much unpublished.
        half_behind: sources with more than half of that.
    """

    def __init__(self) -> None:
        self.held = 0
        self.behind: set[str] = set()
        self.half_behind: set[str] = set()
        self._held_by: dict[PartitionKey, int] = {}
        self._read_by: dict[PartitionKey, frozenset[str]] = {}
        # Readers with something handed over and not yet published, by source.
        self._unpublished: dict[str, dict[PartitionKey, PartitionReader]] = {}

    @property
    def outstanding(self) -> frozenset[str]:
        """Sources of which something is handed over and not yet published."""
        return frozenset(self._unpublished)

    def update(
        self,
        partitions: Mapping[PartitionKey, AssignedPartition],
        changed: Iterable[PartitionKey],
    ) -> set[str]:
        """Take changed partitions into account; one that is missing was taken away.

        Returns:
            Sources that are behind now and were not, or the other way round: their other partitions change with them.
        """
        touched: set[str] = set()
        for key in changed:
            touched |= self._update_partition(key, partitions.get(key))
        return {source for source in touched if self._judge(source)}

    def _update_partition(
        self, key: PartitionKey, partition: AssignedPartition | None
    ) -> frozenset[str]:
        """Replace what a partition adds to the sums; returns the sources that read it, before or now."""
        readers: Mapping[str, PartitionReader] = {}
        if partition is not None:
            readers = partition.readers
        before = self._read_by.pop(key, frozenset())
        for source in before - readers.keys():
            self._set_unpublished(source, key, None)
        held = 0
        for source, reader in readers.items():
            held += reader.held_bytes
            self._set_unpublished(source, key, reader if reader.outstanding else None)
        self.held += held - self._held_by.pop(key, 0)
        if readers:
            self._held_by[key] = held
            self._read_by[key] = frozenset(readers)
        return before | readers.keys()

    def _set_unpublished(
        self, source: str, key: PartitionKey, reader: PartitionReader | None
    ) -> None:
        readers = self._unpublished.setdefault(source, {})
        readers.pop(key, None)
        if reader is not None:
            readers[key] = reader
        if not readers:
            del self._unpublished[source]

    def _judge(self, source: str) -> bool:
        """Compare a source with its limits; returns whether it is now on another side of one of them."""
        readers = self._unpublished.get(source, {}).values()
        moved = _put(self.behind, source, is_in=is_behind(readers))
        half = _put(self.half_behind, source, is_in=is_behind(readers, 0.5))
        return moved or half


def _put(sources: set[str], source: str, *, is_in: bool) -> bool:
    """Add or remove a source; returns whether that changed the set."""
    if is_in == (source in sources):
        return False
    sources.symmetric_difference_update({source})
    return True

"""Whether what was handed over is still on its way; no I/O.

What a reader has handed over ends with its position row reaching that offset. It never does where the entity has lost
the reference: it was terminated, Temporal's database was lost, an older PostgreSQL database was restored. So each
reader whose row stands still is compared with what the entity holds, and reads again from the row where it holds
nothing that begins there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ingest.consume.partition_state import AssignedPartition, PartitionReader, Position
from ingest.kafka import PartitionKey
from ingest.source_state import SourceState


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A reader whose position row did not move between two looks, though something is handed over."""

    source: str
    key: PartitionKey
    generation: int  # of the reader
    topic_id: str  # of the row
    next_offset: int  # of the row; -1: there is no row


class Progress:
    """What was seen at the last look."""

    def __init__(self) -> None:
        self._seen: frozenset[Standing] = frozenset()

    def look(
        self,
        partitions: Mapping[PartitionKey, AssignedPartition],
        rows: Iterable[Position],
    ) -> list[Standing]:
        """The readers that stand where they stood at the last look.

        Args:
            partitions: those that this process reads.
            rows: every position row of their sources.
        """
        before = self._seen
        positions = {(row.source, row.key): row for row in rows}
        readers = (
            (key, source, reader)
            for key, partition in partitions.items()
            for source, reader in partition.readers.items()
        )
        seen = (
            _standing(key, reader, positions.get((source, key)))
            for key, source, reader in readers
        )
        self._seen = frozenset(filter(None, seen))
        return sorted(self._seen & before, key=lambda one: (one.source, one.key))


def _standing(
    key: PartitionKey, reader: PartitionReader, row: Position | None
) -> Standing | None:
    """Where the row stands below what is handed over; None: everything is published."""
    topic_id = reader.log.topic_id
    next_offset = -1
    if row is not None:
        topic_id = row.topic_id
        next_offset = row.next_offset
    is_same_log = topic_id == reader.log.topic_id
    if is_same_log and next_offset >= reader.handed_over_offset:
        return None
    return Standing(
        source=reader.spec.source,
        key=key,
        generation=reader.generation,
        topic_id=topic_id,
        next_offset=next_offset,
    )


def is_on_its_way(standing: Standing, state: SourceState | None) -> bool:
    """Whether the entity will publish from where the row stands.

    Args:
        standing: the reader and its row.
        state: what the entity knows; None: there is no entity. One that believes itself halted reads the row when it
            gets a reference.
    """
    if state is None or state.halted:
        return False
    held = (*state.in_flight, *state.pending, *state.undecided)
    return any(
        PartitionKey(ref.topic, ref.partition) == standing.key
        and ref.topic_id == standing.topic_id
        and ref.first_offset <= standing.next_offset < ref.next_offset
        for ref in held
    )

"""Whether what was handed over is still on its way; no I/O.

What a reader has handed over ends with its position row reaching that offset. It never does where the entity has lost
the reference: it was terminated, Temporal's database was lost, an older PostgreSQL database was restored. So each
reader whose row stands still is compared with what the entity holds, and reads again from the row where it holds
nothing that begins there.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ingest.consume.partition_state import AssignedPartition, PartitionReader, Position
from ingest.kafka import PartitionKey
from ingest.source_state import SourceState

NO_ROW = -1
# Looks until a reader that goes on standing is compared for the first time, and, doubled each time, at most: an entity
# that holds its reference is slow, and one that loses it again and again has a cause that repeating does not mend.
_FIRST = 1
_LATER = 8
# Sources compared per look, each by a query to its workflow: where hundreds wait for their turn, questions would take
# what publishing needs. Half of them is for those that were not compared yet. It doubles, up to as many as are due,
# with each look that finds something lost: after the loss of Temporal's database, thousands have to be read again.
FEWEST_SOURCES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A reader whose position row did not move between two looks, though something is handed over."""

    source: str
    key: PartitionKey
    generation: int  # of the reader
    topic_id: str  # of the row
    next_offset: int  # of the row; NO_ROW: there is none

    @property
    def place(self) -> tuple[str, PartitionKey, str, int]:
        """Where it stands, whichever reader that is."""
        return self.source, self.key, self.topic_id, self.next_offset


@dataclass(slots=True)
class _Wait:
    """For how long a reader has been standing, and at which look it is compared next."""

    looks: int = 0
    due: int = _FIRST
    step: int = _FIRST
    was_compared: bool = False

    def put_off(self) -> None:
        """Have it compared less and less often."""
        self.was_compared = True
        self.due = self.looks + self.step
        self.step = min(2 * self.step, _LATER)


class Progress:
    """What was seen at the last look."""

    def __init__(self) -> None:
        self._seen: frozenset[Standing] = frozenset()
        # By the place, which was seen first some looks ago.
        self._waits: dict[tuple[str, PartitionKey, str, int], _Wait] = {}
        self._sources = FEWEST_SOURCES  # to compare at a look
        self._is_lost = False  # something that was compared since the last look

    def note_lost(self) -> None:
        """An entity does not hold what a reader handed over: others may have lost theirs, too."""
        self._is_lost = True

    def look(
        self,
        partitions: Mapping[PartitionKey, AssignedPartition],
        rows: Iterable[Position],
    ) -> list[Standing]:
        """The readers that stand where they stood at the last look, and are to be compared now.

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
        self._count_looks()
        chosen = self._choose(self._seen & before)
        for one in chosen:
            self._waits[one.place].put_off()
        return chosen

    def _choose(self, standing: Iterable[Standing]) -> list[Standing]:
        """The readers of few sources, those first that have been due for longest."""
        due = [one for one in standing if self._lateness(one) >= 0]
        due.sort(key=lambda one: (-self._lateness(one), one.source, one.key))
        again, new = _split(due, lambda one: self._waits[one.place].was_compared)
        self._adapt(len(again) + len(new))
        half = self._sources // 2
        chosen = {
            *new[: max(half, self._sources - len(again))],
            *again[: max(half, self._sources - len(new))],
        }
        return [one for one in due if one.source in chosen]

    def _adapt(self, due: int) -> None:
        """Compare more sources while what is compared is lost."""
        more = min(2 * self._sources, due)
        self._sources = max(FEWEST_SOURCES, more if self._is_lost else 0)
        self._is_lost = False

    def _count_looks(self) -> None:
        waits = self._waits
        self._waits = {}
        for place in {one.place for one in self._seen}:
            wait = waits.get(place)
            if wait is None:
                wait = _Wait()
            else:
                wait.looks += 1
            self._waits[place] = wait

    def _lateness(self, standing: Standing) -> int:
        """In looks; negative: it is not to be compared yet."""
        wait = self._waits[standing.place]
        return wait.looks - wait.due


def _split(
    standing: Iterable[Standing], was_compared: Callable[[Standing], bool]
) -> tuple[list[str], list[str]]:
    """The sources all of whose readers were compared, and those with one that was not, each once and in this order."""
    standing = list(standing)
    new = {one.source for one in standing if not was_compared(one)}
    sources = dict.fromkeys(one.source for one in standing)
    return (
        [source for source in sources if source not in new],
        [source for source in sources if source in new],
    )


def _standing(
    key: PartitionKey, reader: PartitionReader, row: Position | None
) -> Standing | None:
    """Where the row stands below what is handed over; None: everything is published."""
    topic_id = reader.log.topic_id
    next_offset = NO_ROW
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

"""Whether a reader gets anything between a position and the end of its log.

A transaction leaves a marker behind its last record, and readers get no records of one that was aborted: a log may end
beyond the last record that anything reads, and a source that has read all of it is not behind.
"""

from dataclasses import dataclass

from corpus.errors import DependencyError
from ingest.kafka import Cluster, PartitionKey

# More offsets than this are records, as far as a number that is shown is concerned: each look costs a connection.
_MAX_OFFSETS = 1_000
_MAX_LOOKS = 20  # per round


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look at a partition has shown."""

    start: int  # from here
    end: int  # to here, exclusive
    record: int | None  # the first record; None: there is none


class ReadableRecords:
    """Looks at the ends of logs, and remembers what it saw.

    Args:
        cluster: of the topics.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen: dict[PartitionKey, _Seen] = {}
        self._looks = 0

    def begin_round(self) -> None:
        """Allow further looks."""
        self._looks = 0

    def lag(self, key: PartitionKey, start: int, end: int) -> int:
        """How many offsets a reader is behind; 0 where none of them is a record. In doubt they are records.

        Args:
            key: of the partition.
            start: the reader's next offset.
            end: of the log.
        """
        lag = max(0, end - start)
        if 0 < lag <= _MAX_OFFSETS and not self._has_record(key, start, end):
            return 0
        return lag

    def _has_record(self, key: PartitionKey, start: int, end: int) -> bool:
        seen = self._seen.get(key)
        if seen is None or not _is_answer(seen, start, end):
            seen = self._look(key, start, end)
        return seen is None or seen.record is not None

    def _look(self, key: PartitionKey, start: int, end: int) -> _Seen | None:
        if self._looks >= _MAX_LOOKS:
            return None
        self._looks += 1
        try:
            record = self._cluster.next_record(key.topic, key.partition, start)
        except DependencyError:
            return None
        seen = _Seen(start, end, record)
        self._seen[key] = seen
        return seen


def _is_answer(seen: _Seen, start: int, end: int) -> bool:
    """Whether what was seen says whether there is a record between two offsets."""
    if seen.record is not None:
        return seen.start <= start <= seen.record < end
    return seen.start <= start and end <= seen.end

"""Partitions of which nothing comes although their log holds more; no I/O.

librdkafka says nothing about some record batches that it cannot read: a damaged compressed one is fetched again and
again; an answer that is larger than `receive.message.max.bytes` ends the connection, whichever partition it was for.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ingest.consume.partition_state import AssignedPartition
from ingest.kafka import PartitionKey

# Of whose logs the end is looked up per look, the polling thread waiting: librdkafka searches its list of topics each
# time, and takes 0.4 ms where it has 5,000.
MOST_LOOKED_UP = 256


class Silent(NamedTuple):
    """Where a partition is read next, and nothing came since the last look."""

    key: PartitionKey
    offset: int


class Silence:
    """What was seen at the last look."""

    def __init__(self) -> None:
        self._before: frozenset[Silent] = frozenset()
        self._last: Silent | None = None  # that was looked up

    def look(
        self,
        partitions: Mapping[PartitionKey, AssignedPartition],
        log_end: Callable[[PartitionKey], int],
        *,
        is_end_known: bool,
    ) -> list[Silent]:
        """The partitions that are read, and that stand where they stood at the last look.

        Of more than `MOST_LOOKED_UP`, the next ones in turn.

        Args:
            partitions: those of this process.
            log_end: as librdkafka knows it.
            is_end_known: whether librdkafka's ends are to be believed; else partitions that seem to be at their end are
                among the answers.
        """
        standing = frozenset(
            Silent(key, offset)
            for key, partition in partitions.items()
            if (offset := _wanted(partition)) is not None
        )
        silent = self._next(sorted(standing & self._before))
        self._before = standing
        return sorted(
            one for one in silent if not is_end_known or log_end(one.key) > one.offset
        )

    def _next(self, silent: list[Silent]) -> list[Silent]:
        first = 0 if self._last is None else bisect_right(silent, self._last)
        chosen = [*silent[first:], *silent[:first]][:MOST_LOOKED_UP]
        if chosen:
            self._last = chosen[-1]
        return chosen


def _wanted(partition: AssignedPartition) -> int | None:
    """The offset that should come next; None where nothing should."""
    if partition.paused or partition.seek_to is not None:
        return None
    return partition.read_offset

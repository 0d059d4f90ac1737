"""How long records have waited, as a watcher of the ends of the logs sees it.

The times of the records themselves are not used: a producer may set any, and a backfill brings those of long ago.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ingest.kafka import PartitionKey

_MAX_MARKS = 64  # per partition


@dataclass(frozen=True, slots=True)
class _Mark:
    """A log was first seen to end there; so the records before it were there by then."""

    end: int  # exclusive
    seen_at: float  # seconds of the clock


class WaitingTimes:
    """Remembers when each log was first seen to end where.

    What is there at the first look counts from that look. A log that grows for long is remembered more coarsely; a time
    is then rather too long.

    Args:
        clock: gives seconds that only rise.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks: dict[PartitionKey, list[_Mark]] = {}

    def seconds(self, key: PartitionKey, start: int, end: int) -> float:
        """How long the record at `start` has been seen to wait; 0 where the log ends before it.

        Args:
            key: of the partition.
            start: the reader's next offset.
            end: of the log, now.
        """
        now = self._clock()
        marks = self._marks.setdefault(key, [])
        if marks and end < marks[-1].end:  # the topic was made anew
            marks.clear()
        if not marks or end > marks[-1].end:
            marks.append(_Mark(end, now))
        if len(marks) > _MAX_MARKS:
            marks[:] = _merged(marks)
        beyond = [mark.seen_at for mark in marks if mark.end > start]
        return now - min(beyond, default=now)


def _merged(marks: list[_Mark]) -> list[_Mark]:
    """Half of the marks: of two neighbours, the end of the later at the time of the earlier. The newest one stays."""
    *older, newest = marks
    pairs = zip(older[::2], older[1::2], strict=False)
    merged = [_Mark(later.end, earlier.seen_at) for earlier, later in pairs]
    if len(older) % 2:
        merged.append(older[-1])
    return [*merged, newest]

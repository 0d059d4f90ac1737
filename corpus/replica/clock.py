"""How old is what a replica shows? Told by what the primary's log was at times of this process's own clock.

The time of the newest commit that a replica shows would not do: where the primary is idle, it grows while the replica
lacks nothing. Nor would a row that somebody writes each second: nothing is written for this.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from corpus.replica.standing import Position

MAX_LOOKS = (
    3_600  # an hour at one per second; a replica that is further behind is not used
)


@dataclass(frozen=True, slots=True)
class _Look:
    at: float  # monotonic seconds, before the primary was asked
    position: int


class PrimaryClock:
    """Where the primary's log was at the times at which somebody looked.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: deque[_Look] = deque(maxlen=MAX_LOOKS)
        self._newest: Position | None = None
        self._lock = threading.Lock()

    def look(self, read: Callable[[], Position]) -> None:
        """Look at the primary; `read` asks it."""
        at = self._clock()
        position = read()
        with self._lock:
            if self._newest is not None and not _is_same_log(self._newest, position):
                self._looks.clear()  # positions of two logs cannot be compared
            self._newest = position
            self._looks.append(_Look(at, position.position))

    @property
    def newest(self) -> Position | None:
        """What the newest look saw; None: there was none."""
        with self._lock:
            return self._newest

    def age_of(self, position: int) -> float | None:
        """How many seconds ago the primary's log was not beyond a position that a replica has replayed.

        The replica shows all that was committed until then. None: it was beyond it at every look.
        """
        with self._lock:
            for look in reversed(self._looks):
                if look.position <= position:
                    return self._clock() - look.at
        return None


def _is_same_log(one: Position, other: Position) -> bool:
    return (one.system_identifier, one.timeline) == (
        other.system_identifier,
        other.timeline,
    )

"""Calls per minute of a team: those of the last minute are counted, and the next one says when it may come."""

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

WINDOW_SECONDS = 60.0


class CallQuota:
    """Of one team in one process; a refused call does not count.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._taken: deque[float] = deque()  # times of the calls of the last minute
        self._lock = threading.Lock()

    def take(self, calls_per_minute: int) -> float:
        """Take a call.

        Returns:
            0 where it was left; else in how many seconds the next one is.
        """
        with self._lock:
            now = self._clock()
            while self._taken and self._taken[0] <= now - WINDOW_SECONDS:
                self._taken.popleft()
            if len(self._taken) < calls_per_minute:
                self._taken.append(now)
                return 0.0
            # The call whose end leaves one free; an earlier quota may have been greater.
            oldest = self._taken[len(self._taken) - calls_per_minute]
            return oldest + WINDOW_SECONDS - now

"""How long the model of a process has been silent: a call that hangs in it can be seen from outside, but not ended."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager


class Progress:
    """Measures the time since something was last finished, while there is something to do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches = 0  # at work
        self._moved_at = 0.0  # seconds of the monotonic clock

    @property
    def silent_seconds(self) -> int:
        """Whole seconds since the last progress of any batch; 0 while there is no batch."""
        with self._lock:
            if not self._batches:
                return 0
            return int(time.monotonic() - self._moved_at)

    @contextmanager
    def batch(self) -> Generator[None]:
        """A batch is at work for the length of the body."""
        with self._lock:
            if not self._batches:
                self._moved_at = time.monotonic()
            self._batches += 1
        try:
            yield
        finally:
            with self._lock:
                self._batches -= 1
                self._moved_at = time.monotonic()

    def moved(self) -> None:
        """Something was finished: a model is loaded, a shard has its vectors."""
        with self._lock:
            self._moved_at = time.monotonic()

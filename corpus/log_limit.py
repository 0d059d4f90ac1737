"""One rate limit for log lines: of each kind, one line per minute passes, with the number held back before it."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

SECONDS = 60.0


@dataclass(slots=True)
class _Kind:
    passed_at: float  # monotonic seconds
    held_back: int = 0


class LogLimit(logging.Filter):
    """Limits the lines of one logger that say of which kind they are.

    Add it to a logger, and give a line its kind with `extra={"kind": "commit/handbook", ...}`. The first line of a kind
    passes; the next ones are held back and counted until `seconds` are over. The line that passes then has the count in
    its field `held_back`. A line without a kind always passes.

    Args:
        seconds: how long lines of a kind are held back after one has passed.
        clock: monotonic seconds.
    """

    def __init__(
        self, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}
        self._lock = (
            threading.Lock()
        )  # librdkafka and our own threads log at the same time

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line passes."""
        name: str | None = getattr(record, "kind", None)
        if name is None:
            return True
        now = self._clock()
        with self._lock:
            kind = self._kinds.get(name)
            if kind is not None and now - kind.passed_at < self._seconds:
                kind.held_back += 1
                return False
            record.held_back = 0 if kind is None else kind.held_back
            self._kinds[name] = _Kind(now)
            return True

    def reset(self) -> None:
        """Forget every line that passed, so that the next line of each kind passes."""
        with self._lock:
            self._kinds.clear()

"""The order in which batches use the model, when several want it at the same time."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class QueuedBatch:
    """A batch that uses the model once per shard."""

    source: str
    batch: int
    remaining: int
    """Texts that are still to be embedded."""


class ModelQueue:
    """Gives the model to one batch at a time.

    The older batch of a source goes first: batches are published in order, and publishing it then takes place while the
    next one is embedded. Among sources, the batch with the fewest remaining texts goes first, so that an edit does not
    wait for the backfill of another source.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[QueuedBatch] = []
        self._in_use = False

    @contextmanager
    def acquire(self, batch: QueuedBatch) -> Generator[None]:
        """Wait until `batch` is next, then hold the model for the length of the body."""
        with self._changed:
            self._waiting.append(batch)
            try:
                self._changed.wait_for(lambda: self._is_next(batch))
            finally:
                self._waiting.remove(batch)
            self._in_use = True
        try:
            yield
        finally:
            with self._changed:
                self._in_use = False
                self._changed.notify_all()

    def _is_next(self, batch: QueuedBatch) -> bool:
        return not self._in_use and self._next() is batch

    def _next(self) -> QueuedBatch:
        oldest: dict[str, QueuedBatch] = {}
        for batch in self._waiting:
            known = oldest.setdefault(batch.source, batch)
            if batch.batch < known.batch:
                oldest[batch.source] = batch
        return min(oldest.values(), key=lambda batch: batch.remaining)

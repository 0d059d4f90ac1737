"""In which order batches of several sources use what all of them need: the model, or a process."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

# A source that kept a place for longer than this is slow until it gives one back sooner.
SLOW_SECONDS = 3.0


@dataclass(eq=False, slots=True)
class QueuedBatch:
    """A batch that uses a place again and again, for a short time each."""

    source: str
    batch: int
    remaining: int
    """Texts or documents that are still to be done."""
    weight: float = 1.0
    """Of the source's share: it gets so many times the time of a source of weight 1."""


class FairQueue:
    """Lends places to batches.

    1. Of a source, the older batch goes first: batches are published in order.
    2. Among sources, the one with the fewest places goes first, then the one that has used the least time, then the one
       with the least to do. Time counts by the source's weight: a second of one of weight 4 as a quarter. A source that
       comes, or comes back, begins with what the one had used that is being served (start-time fair queuing). So an
       edit does not wait for the backfill of another source, and neither a stream of edits nor a source of a great
       weight keeps a backfill waiting for ever.
    3. The last free place of several is not for a slow source, so that others do not wait for its documents.

    Args:
        places: used side by side.
    """

    def __init__(self, places: int = 1) -> None:
        self._places = places
        self._changed = threading.Condition()
        self._waiting: list[QueuedBatch] = []
        self._held: Counter[str] = Counter()  # places by source
        self._used: dict[str, float] = {}  # weighted seconds by source
        # Weighted seconds that the source had used to which a place was lent last.
        self._now = 0.0
        self._slow: set[str] = set()

    @contextmanager
    def turns(
        self, batch: QueuedBatch
    ) -> Generator[Callable[[], AbstractContextManager[None]]]:
        """Yields what lends a place to `batch` for one turn; between two turns it waits for the next one already.

        Else another source had the place each time that a batch gave it back, whatever their shares are.
        """
        try:
            yield partial(self.acquire, batch, returns=True)
        finally:
            with self._changed:
                if batch in self._waiting:
                    self._waiting.remove(batch)
                self._changed.notify_all()

    @contextmanager
    def acquire(self, batch: QueuedBatch, *, returns: bool = False) -> Generator[None]:
        """Wait until `batch` is next, then hold a place for the length of the body.

        Args:
            batch: that wants a place.
            returns: whether it wants one again at once; within `turns` only.
        """
        source = batch.source
        with self._changed:
            if batch not in self._waiting:
                self._join(source)
                self._waiting.append(batch)
            try:
                self._changed.wait_for(lambda: self._next() is batch)
            finally:
                self._waiting.remove(batch)
            self._take(source)
            self._changed.notify_all()
        started = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                self._give_back(batch, time.monotonic() - started)
                if returns:
                    self._join(source)
                    self._waiting.append(batch)
                self._changed.notify_all()

    def _join(self, source: str) -> None:
        """Let a source begin where the others are; forget those that have nothing ahead of them any more."""
        used = self._used.get(source, 0.0)
        self._used[source] = max(used, self._now)
        present = {batch.source for batch in self._waiting}
        present.update(self._held, [source])
        self._used = {
            other: used
            for other, used in self._used.items()
            if other in present or used > self._now
        }

    def _take(self, source: str) -> None:
        self._held[source] += 1
        self._now = max(self._now, self._used[source])

    def _give_back(self, batch: QueuedBatch, seconds: float) -> None:
        source = batch.source
        held = self._held[source] - 1
        if held:
            self._held[source] = held
        else:
            del self._held[source]
        self._used[source] += seconds / batch.weight
        is_slow = seconds > SLOW_SECONDS
        if is_slow:
            self._slow.add(source)
        else:
            self._slow.discard(source)

    def _next(self) -> QueuedBatch | None:
        """The batch that gets the next free place; None: there is no place for one."""
        free = self._places - self._held.total()
        if not free:
            return None
        refused: set[str] = set()
        is_last_of_several = free == 1 and self._places > 1
        if is_last_of_several:
            refused = self._slow
        oldest: dict[str, QueuedBatch] = {}
        for batch in self._waiting:
            source = batch.source
            if source in refused:
                continue
            known = oldest.setdefault(source, batch)
            if batch.batch < known.batch:
                oldest[source] = batch
        candidates = oldest.values()
        return min(candidates, key=self._rank, default=None)

    def _rank(self, batch: QueuedBatch) -> tuple[int, float, int]:
        source = batch.source
        return self._held[source], self._used[source], batch.remaining

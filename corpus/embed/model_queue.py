"""Whose shard goes through the model next, when several batches want it at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Turn:
    """A batch that wants the model again and again."""

    source: str
    batch: int
    remaining: int  # texts


class Turns:
    """One at a time.

    A source's older batch goes first, since batches are published in order and its publishing then hides behind the next one's embedding; among sources the smallest remainder goes first, so that an edit does not wait for a
    backfill of somebody else.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Turn] = []
        self._busy = False

    @contextmanager
    def take(self, turn: Turn) -> Iterator[None]:
        """Wait for the turn, hold it for the length of the body."""
        with self._changed:
            self._waiting.append(turn)
            self._changed.wait_for(lambda: not self._busy and self._next() is turn)
            self._waiting.remove(turn)
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _next(self) -> Turn:
        oldest: dict[str, Turn] = {}
        for turn in self._waiting:
            known = oldest.get(turn.source)
            if known is None or turn.batch < known.batch:
                oldest[turn.source] = turn
        return min(oldest.values(), key=lambda turn: turn.remaining)

"""What the polling thread has done elsewhere, since it waits for nothing; `ingest.consume.consumer` does it."""

from collections.abc import Coroutine
from typing import Any, Protocol

from ingest.consume.partition_state import MicroBatch, PartitionReader
from ingest.consume.positions import ActiveSource

Place = tuple[str, int]  # topic, partition


class Work(Protocol):
    """What waits for a service; the numbers are of the procedure in `ingest.consume.consumer`."""

    def place(self, asked: dict[Place, dict[str, ActiveSource]]) -> Coroutine[Any, Any, None]:
        """2. Answer with `Poller.apply_places`."""
        ...

    def deliver(
        self, place: Place, lane: PartitionReader, cut: MicroBatch
    ) -> Coroutine[Any, Any, None]:
        """4. Answer with `Poller.delivered`."""
        ...

    def halt(self, source: str, epoch: int, reason: str) -> Coroutine[Any, Any, None]:
        """Stop one source, visibly."""
        ...

    def forget_topics(self) -> None:
        """Topics may have been made anew."""
        ...

"""What the polling thread has done for it by others, since it must not wait; `ingest.consume.consumer` does it."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from ingest.consume.partition_state import MicroBatch, PartitionReader
from ingest.consume.positions import WantedPositions
from ingest.kafka import PartitionKey

# Runs a coroutine on the event loop; called from the polling thread.
Start = Callable[[Coroutine[Any, Any, None]], None]


class ConsumerServices(Protocol):
    """What waits for a service; the numbers are of the procedure in `ingest.consume.consumer`."""

    def read_positions(self, wanted: WantedPositions) -> Coroutine[Any, Any, None]:
        """2. Answer with `Assignment.open_readers`."""
        ...

    def hand_over(
        self, key: PartitionKey, reader: PartitionReader, batch: MicroBatch
    ) -> Coroutine[Any, Any, None]:
        """4. Answer with `Poller.confirm`."""
        ...

    def halt(self, source: str, epoch: int, reason: str) -> Coroutine[Any, Any, None]:
        """Stop one source visibly."""
        ...

    def forget_topics(self) -> None:
        """Topics may have been recreated: ask Kafka about them again."""
        ...

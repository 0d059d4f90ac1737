"""What the polling thread has done for it by others, since it must not wait; `ingest.consume.consumer` does it."""

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from corpus.disclosure.error_text import public_text
from ingest.consume.partition_state import MicroBatch, PartitionReader
from ingest.consume.positions import WantedPositions
from ingest.event import KafkaRecord
from ingest.kafka import PartitionKey
from ingest.stage import OffsetRange, SourceStoppedError

# Runs a coroutine on the event loop; called from the polling thread.
Start = Callable[[Coroutine[Any, Any, None]], None]
# Opens the span of these records, where they are staged and handed over, if traces are made (`workers.tracing`); gives
# its `traceparent`, empty where no trace is made.
StagingSpan = Callable[
    [Sequence[KafkaRecord], OffsetRange], AbstractContextManager[str]
]


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


def without_span(
    records: Sequence[KafkaRecord], offsets: OffsetRange
) -> AbstractContextManager[str]:
    """No trace is made."""
    return nullcontext("")


def range_of(
    reader: PartitionReader, batch: MicroBatch, traceparent: str = ""
) -> OffsetRange:
    """The offsets that a micro-batch of a reader stands for, and where its trace continues."""
    return OffsetRange(
        cluster_id=reader.log.cluster_id,
        topic=reader.log.topic,
        topic_id=reader.log.topic_id,
        partition=reader.log.partition,
        first_offset=batch.first_offset,
        next_offset=batch.next_offset,
        epoch=reader.epoch,
        traceparent=traceparent,
    )


def why_not_staged(key: PartitionKey, batch: MicroBatch, error: Exception) -> str:
    """Why a source halts with a micro-batch: a person has to decide, or it is a mistake of ours."""
    if isinstance(error, SourceStoppedError):
        return str(error)
    last = batch.next_offset - 1
    return f"{key}: offsets {batch.first_offset} to {last} could not be staged: {public_text(error)}"

"""Records that an operator has a source pass, since no consumer can read them: each becomes a dead letter."""

from collections.abc import Iterator
from dataclasses import dataclass

from corpus.dead_letter import DeadLetterReason
from ingest.event import KafkaRecord
from ingest.kafka import PartitionKey
from ingest.kafka_record import without_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Offsets that an operator has told a source to pass (query `skips_of_sources`)."""

    source: str
    topic: str
    partition: int
    topic_id: str
    first_offset: int
    next_offset: int  # exclusive
    reason: str

    def records(self, offset: int) -> Iterator[KafkaRecord]:
        """A record without bytes for each offset from this one on; none where it is not among those to be passed."""
        if offset < self.first_offset:
            return
        key = PartitionKey(self.topic, self.partition)
        for passed in range(offset, self.next_offset):
            detail = (
                f"an operator passed it: {self.reason}; what it holds was never read, and is in Kafka only, at "
                f"{key}/{passed}"
            )
            yield without_bytes(
                key,
                passed,
                DeadLetterReason.NOT_READ,
                detail,
            )

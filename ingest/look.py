"""Look at single records of a topic, as an operator's command does; no group, no position."""

from collections.abc import Generator
from contextlib import contextmanager

from confluent_kafka import Consumer, TopicPartition

from corpus.errors import DependencyError
from ingest.answers import next_message
from ingest.event import KafkaRecord
from ingest.kafka import properties
from ingest.kafka_record import record_of

_ANSWER_SECONDS = 15


class RecordReader:
    """Reads records one by one; `record_reader` opens and closes it."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def read(self, topic: str, partition: int, offset: int) -> KafkaRecord | None:
        """The record at an offset; None where there is none, or none any more.

        Raises:
            DependencyError: Kafka does not answer.
        """
        self._consumer.assign([TopicPartition(topic, partition, offset)])
        message = next_message(self._consumer, _ANSWER_SECONDS)
        if message is None:
            raise DependencyError(
                f"Kafka: reading {topic}/{partition}@{offset} failed: no answer"
            )
        if message.error() is not None:
            return None
        return record_of(message) if message.offset() == offset else None


@contextmanager
def record_reader(bootstrap: str, given: dict[str, str]) -> Generator[RecordReader]:
    """Open a reader.

    Args:
        bootstrap: addresses of Kafka.
        given: the user's properties of clients.
    """
    once = {
        "group.id": "freshet-look",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "queued.min.messages": 1,
    }
    consumer = Consumer({**properties(bootstrap, given), **once})
    try:
        yield RecordReader(consumer)
    finally:
        consumer.close()

"""librdkafka's consumer as the polling thread needs it; only that thread calls it."""

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol, cast

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from ingest.consume.unreadable import is_too_large
from ingest.kafka import CONSUMER_PROPERTIES, PartitionKey, log_error

logger = logging.getLogger(__name__)

_MAX_BURST = 500


class RebalanceListener(Protocol):
    """Is called inside `poll` when the consumer group gives partitions to this process or takes them away."""

    def on_assigned(self, keys: Collection[PartitionKey]) -> None:
        """These partitions are this process's, paused."""
        ...

    def on_revoked(self, keys: Collection[PartitionKey]) -> None:
        """These partitions will be another process's when this method returns."""
        ...

    def on_lost(self, keys: Collection[PartitionKey]) -> None:
        """These partitions may be another process's already."""
        ...


class ConsumerClient:
    """A member of the consumer group.

    Args:
        kafka: librdkafka properties, address and group included.
    """

    def __init__(self, kafka: Mapping[str, Any]) -> None:
        self.too_large_answers = 0
        ours = {"error_cb": self._on_error}
        self._consumer = Consumer({**CONSUMER_PROPERTIES, **kafka, **ours})
        # Says whose group it is while no member runs (`ingest.consume.group`).
        self._metadata = str(kafka.get("client.id", ""))

    def _on_error(self, error: KafkaError) -> None:
        """Called inside `poll`."""
        self.too_large_answers += is_too_large(error)
        log_error(error)

    def log_in(self, username: str, password: str) -> None:
        """Use another name and password at the next login."""
        self._consumer.set_sasl_credentials(username, password)

    def subscribe(self, topics: Collection[str], listener: RebalanceListener) -> None:
        """Read these topics and no others; none of them need exist."""
        if not topics:
            self._consumer.unsubscribe()
            return

        def assign(_: Consumer, partitions: list[TopicPartition]) -> None:
            self._assign_paused(partitions)
            listener.on_assigned(_keys_of(partitions))

        def revoke(_: Consumer, partitions: list[TopicPartition]) -> None:
            listener.on_revoked(_keys_of(partitions))
            self._consumer.incremental_unassign(partitions)

        def lose(_: Consumer, partitions: list[TopicPartition]) -> None:
            listener.on_lost(_keys_of(partitions))
            self._consumer.incremental_unassign(partitions)

        self._consumer.subscribe(
            sorted(topics), on_assign=assign, on_revoke=revoke, on_lost=lose
        )

    def _assign_paused(self, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            # A number, never a logical offset: librdkafka asks the broker where "the end" is, and the answer may come
            # after a seek and undo it, which skips records. Where offset 0 is out of range, fetching ends, and `seek`
            # has to assign the partition again.
            partition.offset = 0
        self._consumer.incremental_assign(partitions)
        self._consumer.pause(partitions)

    def poll(self, seconds: float) -> list[Message]:
        """Wait for a message, at most this long; return it and what came with it.

        `Consumer.poll` returns a single message at once, where waiting in `Consumer.consume` would cost every single
        record the whole timeout.
        """
        first = self._consumer.poll(seconds)
        if first is None:
            return []
        return [first, *self._consumer.consume(_MAX_BURST, 0)]

    def log_end(self, key: PartitionKey) -> int:
        """End of the partition's log as of the newest response, without a question to the broker; 0 if not known."""
        try:
            answer = self._consumer.get_watermark_offsets(
                TopicPartition(*key), cached=True
            )
        except KafkaException:
            return 0
        # None where nothing is known, which the client's types leave out.
        bounds = cast("tuple[int, int] | None", answer)
        if bounds is None:
            return 0
        _, end = bounds
        if end < 0:  # no answer yet
            return 0
        return end

    def seek(self, key: PartitionKey, offset: int) -> bool:
        """Read on from this offset; False if librdkafka refuses, and `assign_again` must be called."""
        try:
            self._consumer.seek(TopicPartition(*key, offset))
        except KafkaException as error:
            _log_refusal("seek refused, assigning the partition again", error)
            return False
        return True

    def assign_again(self, key: PartitionKey, offset: int) -> bool:
        """Assign and resume a partition whose fetching ended; False while a rebalance goes on: call it again later."""
        at = TopicPartition(*key, offset)
        try:
            self._consumer.incremental_unassign([at])
        except KafkaException as error:
            _log_refusal("unassigning refused; an earlier call may have done it", error)
        try:
            self._consumer.incremental_assign([at])
            self._consumer.resume([at])
        except KafkaException as error:
            _log_refusal("assigning again refused", error)
            return False
        return True

    def commit(self, offsets: Mapping[PartitionKey, int], *, wait: bool) -> None:
        """Commit these offsets for the group. A refusal is only logged.

        The position row is the truth; the committed offset is for tools that show the lag.
        """
        if not offsets:
            return
        committed = [
            TopicPartition(*key, offset, self._metadata)
            for key, offset in offsets.items()
        ]
        try:
            self._consumer.commit(offsets=committed, asynchronous=not wait)
        except KafkaException as error:
            logger.info(
                "commit refused: %s",
                _text_of(error),
                extra={"action": "commit_refused"},
            )

    def pause(self, keys: Iterable[PartitionKey]) -> None:
        """Fetch nothing of these partitions."""
        if partitions := [TopicPartition(*key) for key in keys]:
            self._consumer.pause(partitions)

    def resume(self, keys: Iterable[PartitionKey]) -> None:
        """Fetch these partitions again."""
        if partitions := [TopicPartition(*key) for key in keys]:
            self._consumer.resume(partitions)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()


def _keys_of(partitions: Iterable[TopicPartition]) -> list[PartitionKey]:
    return [
        PartitionKey(partition.topic, partition.partition) for partition in partitions
    ]


def _text_of(error: KafkaException) -> str:
    return error.args[0].str()


def _log_refusal(message: str, error: KafkaException) -> None:
    extra = {"action": "seek_refused", "error": _text_of(error)}
    logger.debug(message, extra=extra)

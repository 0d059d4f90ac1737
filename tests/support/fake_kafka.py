"""Kafka as far as it can be scripted: a cluster's answers, a producer's acknowledgements, messages."""

from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError, KafkaException

from corpus.errors import DependencyError
from ingest.answers import Answers
from ingest.kafka import LogBounds, PartitionKey, TopicState


class FakeCluster:
    """A cluster of these topics, whose partitions all have the same bounds unless said otherwise.

    Args:
        topics: how many partitions each has.
        bounds: of some partitions.
    """

    def __init__(
        self, topics: dict[str, int], bounds: dict[tuple[str, int], tuple[int, int]] | None = None
    ) -> None:
        self.counts = topics
        self.bounds = bounds or {}
        self.topic_ids = {topic: "id" for topic in topics}
        self.id = "c"
        self.down = False
        self.created: list[str] = []
        self.refused: set[str] = set()
        self.asked: list[PartitionKey] = []
        self.cannot_describe: set[str] = set()
        self.leaderless: set[PartitionKey] = set()
        self.recent_from: dict[PartitionKey, int] = {}
        self.only_holes: set[PartitionKey] = set()

        self.settings: dict[str, dict[str, str]] = {}

    def cluster_id(self) -> str:
        return self.id

    def forget_cluster_id(self) -> None:
        self.id = "another"

    def topics(self, names: Iterable[str]) -> dict[str, TopicState]:
        return self.describe(names).complete()

    def describe(self, names: Iterable[str]) -> Answers[str, TopicState]:
        self._answer()
        described = Answers[str, TopicState]()
        for name in names:
            if name in self.cannot_describe:
                described.refusals[name] = f"describing topic {name} failed"
            elif name in self.counts:
                described.answers[name] = TopicState(
                    topic=name, topic_id=self.topic_ids[name], partitions=self.counts[name]
                )
            else:
                described.unknown.add(name)
        return described.unless_all_refused()

    def offsets(self, partitions: Iterable[tuple[str, int]]) -> dict[PartitionKey, LogBounds]:
        return self.bounds_of(partitions).complete()

    def bounds_of(self, partitions: Iterable[tuple[str, int]]) -> Answers[PartitionKey, LogBounds]:
        self._answer()
        keys = [PartitionKey(*partition) for partition in partitions]
        self.asked += keys
        found = Answers[PartitionKey, LogBounds]()
        for key in keys:
            if key.partition >= self.counts[key.topic] or key in self.leaderless:
                found.refusals[key] = f"asking offsets of {key} failed: no leader"
            else:
                found.answers[key] = LogBounds(*self.bounds.get(key, (10, 20)))
        return found.unless_all_refused() if keys else found

    def offsets_since(
        self, partitions: Iterable[tuple[str, int]], epoch_ms: int
    ) -> dict[PartitionKey, int]:
        """Every record is older than `recent_from`, which is the end of the log unless it is set."""
        self._answer()
        keys = [PartitionKey(*partition) for partition in partitions]
        return {key: self.recent_from.get(key, self.bounds.get(key, (10, 20))[1]) for key in keys}

    def next_record(self, topic: str, partition: int, offset: int) -> int | None:
        return None if PartitionKey(topic, partition) in self.only_holes else offset

    def topic_settings(self, names: Iterable[str]) -> Answers[str, dict[str, str]]:
        self._answer()
        settings = Answers[str, dict[str, str]]()
        for name in names:
            settings.answers[name] = self.settings.get(name, {"cleanup.policy": "delete"}) | {
                "delete.retention.ms": "86400000"
            }
        return settings

    def create_topic(self, name: str, partitions: int, config: dict[str, str]) -> bool:
        if name in self.refused:
            raise DependencyError(f"creating topic {name} failed")
        self.created.append(name)
        return True

    def _answer(self) -> None:
        if self.down:
            raise DependencyError("Kafka is down")


class FakeProducer:
    """Acknowledges what it was given when it is flushed or polled.

    `refusals` maps a topic to an error code, or to a function of the message that returns one or None; `raises` maps a
    topic to what `produce` raises.
    """

    def __init__(self, properties: dict[str, Any]) -> None:
        self.properties = properties
        self.refusals: dict[str, Any] = {}
        self.raises: dict[str, Exception] = {}
        self.sent: list[dict[str, Any]] = []
        self.acknowledged: list[dict[str, Any]] = []
        self.silent = False
        self.queue_size = 1_000_000
        self._queue: list[tuple[dict[str, Any], Callable[..., None]]] = []

    def produce(self, topic: str, *, on_delivery: Callable[..., None], **message: Any) -> None:
        if topic in self.raises:
            raise self.raises[topic]
        if len(self._queue) >= self.queue_size:
            raise BufferError("Local: Queue full")
        entry = {"topic": topic, **message}
        self.sent.append(entry)
        self._queue.append((entry, on_delivery))

    def poll(self, timeout: float = 0) -> int:
        return self.flush(timeout)

    def flush(self, timeout: float = 0) -> int:
        if self.silent:
            return len(self._queue)
        while self._queue:
            entry, on_delivery = self._queue.pop(0)
            code = self.refusals.get(entry["topic"])
            if callable(code):
                code = code(entry)
            if code is None:
                self.acknowledged.append(entry)
            on_delivery(None if code is None else KafkaError(code), None)
        return 0


class FakeMessage:
    """As `confluent_kafka.Message`."""

    def __init__(
        self,
        offset: int,
        *,
        topic: str = "t",
        partition: int = 0,
        value: bytes | str | None = b"v",
        key: bytes | str | None = b"k",
        headers: Any = None,
        timestamp: tuple[int, int] = (TIMESTAMP_CREATE_TIME, 5),
        error: int | None = None,
    ) -> None:
        self._fields = (topic, partition, offset, key, value, timestamp)
        self._headers = headers
        self._error = None if error is None else KafkaError(error)

    def topic(self) -> str:
        return self._fields[0]

    def partition(self) -> int:
        return self._fields[1]

    def offset(self) -> int:
        return self._fields[2]

    def key(self) -> Any:
        return self._fields[3]

    def value(self) -> Any:
        return self._fields[4]

    def timestamp(self) -> tuple[int, int]:
        return self._fields[5]

    def headers(self) -> Any:
        if isinstance(self._headers, Exception):
            raise self._headers
        return self._headers

    def error(self) -> KafkaError | None:
        return self._error


def refusal(code: int, *, fatal: bool = False) -> KafkaException:
    """What a client raises."""
    return KafkaException(KafkaError(code, fatal=fatal))

"""librdkafka's consumer from a script, for the tests of the polling thread."""

from collections.abc import Callable
from typing import Any

from confluent_kafka import TopicPartition

from ingest.kafka import PartitionKey
from tests.support.fake_kafka import FakeMessage, refusal

Call = tuple[str, Any]


class FakeConsumer:
    """Remembers the calls; returns `messages` one burst at a time; refuses the calls named in `refused`."""

    def __init__(self, properties: dict[str, Any]) -> None:
        self.properties = properties
        self.calls: list[Call] = []
        self.messages: list[FakeMessage] = []
        self.refused: dict[str, int] = {}  # name of the call -> error code
        self.bounds: dict[PartitionKey, Any] = {}
        self.callbacks: dict[str, Callable[..., None]] = {}
        self.closed = False

    def _call(self, name: str, argument: Any) -> None:
        self.calls.append((name, argument))
        if name in self.refused:
            raise refusal(self.refused[name])

    def called(self, name: str) -> list[Any]:
        """The arguments of every call of this name."""
        return [argument for called, argument in self.calls if called == name]

    def subscribe(self, topics: list[str], **callbacks: Callable[..., None]) -> None:
        self._call("subscribe", topics)
        self.callbacks = callbacks

    def unsubscribe(self) -> None:
        self._call("unsubscribe", None)

    def poll(self, seconds: float) -> FakeMessage | None:
        return self.messages.pop(0) if self.messages else None

    def consume(self, count: int, seconds: float) -> list[FakeMessage]:
        taken, self.messages = self.messages[:count], self.messages[count:]
        return taken

    def get_watermark_offsets(self, partition: TopicPartition, *, cached: bool) -> Any:
        assert cached  # a question to the broker would block the polling thread
        self._call("get_watermark_offsets", _key(partition))
        return self.bounds.get(_key(partition))

    def seek(self, partition: TopicPartition) -> None:
        self._call("seek", (_key(partition), partition.offset))

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self._call("assign", [(_key(each), each.offset) for each in partitions])

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self._call("unassign", [_key(each) for each in partitions])

    def pause(self, partitions: list[TopicPartition]) -> None:
        self._call("pause", [_key(each) for each in partitions])

    def resume(self, partitions: list[TopicPartition]) -> None:
        self._call("resume", [_key(each) for each in partitions])

    def commit(self, offsets: list[TopicPartition], *, asynchronous: bool) -> None:
        self._call("commit", ({_key(each): each.offset for each in offsets}, asynchronous))

    def close(self) -> None:
        self.closed = True


def _key(partition: TopicPartition) -> PartitionKey:
    return PartitionKey(partition.topic, partition.partition)

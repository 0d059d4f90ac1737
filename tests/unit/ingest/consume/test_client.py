"""librdkafka's edges: what it refuses, in which order it is called, what it does not know."""

from collections.abc import Collection
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from ingest.consume import client as client_module
from ingest.consume.client import ConsumerClient
from ingest.kafka import CONSUMER_PROPERTIES, PartitionKey
from tests.support.fake_consumer import FakeConsumer
from tests.support.fake_kafka import FakeMessage
from tests.support.readers import KEY

OTHER = PartitionKey("t", 1)


class Listener:
    """Notes what it is called with, and what librdkafka was called with until then."""

    def __init__(self, consumer: FakeConsumer) -> None:
        self.consumer = consumer
        self.notes: list[tuple[str, list[PartitionKey], list[str]]] = []

    def _note(self, name: str, keys: Collection[PartitionKey]) -> None:
        self.notes.append((name, list(keys), [called for called, _ in self.consumer.calls]))
        self.consumer.calls.clear()

    def on_assigned(self, keys: Collection[PartitionKey]) -> None:
        self._note("assigned", keys)

    def on_revoked(self, keys: Collection[PartitionKey]) -> None:
        self._note("revoked", keys)

    def on_lost(self, keys: Collection[PartitionKey]) -> None:
        self._note("lost", keys)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> ConsumerClient:
    monkeypatch.setattr(client_module, "Consumer", FakeConsumer)
    return ConsumerClient({"group.id": "g", "fetch.wait.max.ms": 7})


@pytest.fixture
def consumer(client: ConsumerClient) -> FakeConsumer:
    made: Any = client._consumer
    return made


def test_the_users_properties_win(consumer: FakeConsumer) -> None:
    del consumer.properties["error_cb"]
    assert consumer.properties == {**CONSUMER_PROPERTIES, "group.id": "g", "fetch.wait.max.ms": 7}
    assert consumer.properties["enable.auto.commit"] is False
    assert consumer.properties["auto.offset.reset"] == "error"


def partitions(offset: int = -1001) -> list[TopicPartition]:
    return [TopicPartition(*key, offset) for key in (KEY, OTHER)]


def test_partitions_are_assigned_at_a_number_and_paused_before_anyone_is_notified(
    client: ConsumerClient, consumer: FakeConsumer
) -> None:
    listener = Listener(consumer)
    client.subscribe({"u", "t"}, listener)
    assert consumer.called("subscribe") == [["t", "u"]]
    consumer.calls.clear()
    consumer.callbacks["on_assign"](consumer, partitions())
    assert listener.notes == [("assigned", [KEY, OTHER], ["assign", "pause"])]


def test_offsets_of_an_assignment_are_never_logical(
    client: ConsumerClient, consumer: FakeConsumer
) -> None:
    client.subscribe({"t"}, Listener(consumer))
    assigned = partitions(-1)  # "the end"
    consumer.callbacks["on_assign"](consumer, assigned)
    assert [each.offset for each in assigned] == [0, 0]


@pytest.mark.parametrize("change", ["revoke", "lost"])
def test_partitions_are_given_back_after_the_listener_is_done(
    client: ConsumerClient, consumer: FakeConsumer, change: str
) -> None:
    listener = Listener(consumer)
    client.subscribe({"t"}, listener)
    consumer.calls.clear()
    consumer.callbacks[f"on_{change}"](consumer, partitions())
    ((name, keys, called_before),) = listener.notes
    assert (name[:4], keys, called_before) == (change[:4], [KEY, OTHER], [])
    assert consumer.calls == [("unassign", [KEY, OTHER])]


def test_no_topic_means_no_subscription(client: ConsumerClient, consumer: FakeConsumer) -> None:
    client.subscribe(set(), Listener(consumer))
    assert [called for called, _ in consumer.calls] == ["unsubscribe"]


def test_a_poll_returns_a_message_and_what_came_with_it(
    client: ConsumerClient, consumer: FakeConsumer
) -> None:
    assert client.poll(0.01) == []
    consumer.messages = [FakeMessage(offset) for offset in range(600)]
    assert [message.offset() for message in client.poll(0.01)] == [*range(501)]
    assert [message.offset() for message in client.poll(0.01)] == [*range(501, 600)]


@pytest.mark.parametrize(
    ("bounds", "refused", "end"),
    [((3, 9), {}, 9), (None, {}, 0), ((3, 9), {"get_watermark_offsets": KafkaError._STATE}, 0)],
    ids=["known", "unknown", "refused"],
)
def test_the_end_of_the_log_as_far_as_it_is_known(
    client: ConsumerClient, consumer: FakeConsumer, bounds: Any, refused: dict[str, int], end: int
) -> None:
    consumer.bounds[KEY] = bounds
    consumer.refused = refused
    assert client.log_end(KEY) == end


def test_a_seek_that_is_refused_says_so(client: ConsumerClient, consumer: FakeConsumer) -> None:
    assert client.seek(KEY, 5)
    assert consumer.calls == [("seek", (KEY, 5))]
    consumer.refused = {"seek": KafkaError._STATE}
    assert not client.seek(KEY, 6)


@pytest.mark.parametrize(
    ("refused", "succeeds"),
    [
        ({}, True),
        ({"unassign": KafkaError._STATE}, True),  # an earlier call came this far
        ({"assign": KafkaError._STATE}, False),  # a rebalance goes on
        ({"resume": KafkaError._UNKNOWN_PARTITION}, False),
    ],
    ids=["accepted", "unassigned before", "rebalance", "not resumed"],
)
def test_a_partition_is_assigned_again_or_not_yet(
    client: ConsumerClient, consumer: FakeConsumer, refused: dict[str, int], *, succeeds: bool
) -> None:
    consumer.refused = refused
    assert client.assign_again(KEY, 7) is succeeds
    assert consumer.called("assign") == [[(KEY, 7)]]


def test_a_refused_commit_is_only_logged(
    client: ConsumerClient, consumer: FakeConsumer, caplog: pytest.LogCaptureFixture
) -> None:
    consumer.refused = {"commit": KafkaError.ILLEGAL_GENERATION}
    with caplog.at_level("INFO"):
        client.commit({KEY: 9}, wait=True)
    assert consumer.called("commit") == [({KEY: 9}, False)]
    assert "commit refused" in caplog.text


def test_nothing_is_asked_of_librdkafka_for_nothing(
    client: ConsumerClient, consumer: FakeConsumer
) -> None:
    client.commit({}, wait=False)
    client.pause([])
    client.resume([])
    assert consumer.calls == []

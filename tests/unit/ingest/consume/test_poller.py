"""A round of the polling thread, on a librdkafka and services that follow a script."""

import logging
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from corpus.dead_letter import DeadLetterReason
from ingest.consume import client as client_module
from ingest.consume import poller as poller_module
from ingest.consume.partition_state import MicroBatch, PartitionReader
from ingest.consume.poller import Poller
from ingest.consume.positions import PartitionStart
from ingest.consume.skips import Skip
from ingest.kafka import PartitionKey
from tests.support.clock import Clock
from tests.support.fake_consumer import FakeConsumer
from tests.support.fake_kafka import FakeMessage
from tests.support.readers import KEY, make_log, make_position, make_source


class Services:
    """Remember what was asked; the work itself is never run."""

    def __init__(self) -> None:
        self.batches: list[tuple[PartitionKey, PartitionReader, MicroBatch]] = []
        self.halted: list[tuple[str, int, str]] = []
        self.forgotten = 0

    async def _nothing(self) -> None: ...

    def read_positions(self, wanted: Any) -> Coroutine[Any, Any, None]:
        return self._nothing()

    def hand_over(self, *arguments: Any) -> Coroutine[Any, Any, None]:
        self.batches.append(arguments)  # type: ignore[arg-type]
        return self._nothing()

    def halt(self, *arguments: Any) -> Coroutine[Any, Any, None]:
        self.halted.append(arguments)  # type: ignore[arg-type]
        return self._nothing()

    def forget_topics(self) -> None:
        self.forgotten += 1


class Stand:
    """A poller that has partition t/0 with readers of these sources at offset 10."""

    def __init__(self, *names: str, **limits: int) -> None:
        self.services = Services()

        def start(work: Coroutine[Any, Any, None]) -> None:
            work.close()

        self.poller = Poller({}, self.services, start)
        self.consumer: Any = self.poller._client._consumer
        self.assignment = self.poller.assignment
        sources = [make_source(name, **limits) for name in names]
        self.assignment.apply_sources(sources)
        self.consumer.callbacks["on_assign"](self.consumer, [TopicPartition(*KEY)])
        wanted = {KEY: {source.spec.source: source for source in sources}}
        self.assignment.open_readers(wanted, {KEY: PartitionStart(log=make_log())})
        self.consumer.calls.clear()

    @property
    def partition(self) -> Any:
        return self.assignment.partitions[KEY]

    def run(self, *messages: FakeMessage) -> None:
        """One round, in which these messages come."""
        self.consumer.messages += messages
        self.poller._run_once()

    def confirm(self) -> None:
        """The workflow has the oldest micro-batch."""
        self.poller.confirm(*self.services.batches.pop(0))


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "Consumer", FakeConsumer)


@pytest.fixture
def stand() -> Stand:
    made = Stand("s")
    made.run()  # seek, and resume
    return made


def test_a_partition_is_sought_and_resumed_before_it_is_read() -> None:
    stand = Stand("s")
    stand.run(FakeMessage(0), FakeMessage(10))  # what came before the seek
    assert stand.consumer.calls[:2] == [("seek", (KEY, 10)), ("resume", [KEY])]
    assert not stand.partition.readers["s"].buffer
    assert stand.services.batches == []


def test_records_become_a_micro_batch_that_is_committed_when_it_is_handed_over(
    stand: Stand,
) -> None:
    stand.run(FakeMessage(10), FakeMessage(11))
    ((key, _, batch),) = stand.services.batches
    assert (key, batch.first_offset, batch.next_offset) == (KEY, 10, 12)
    assert stand.consumer.called("commit") == []
    stand.confirm()
    assert stand.consumer.called("commit") == [({KEY: 12}, True)]
    assert stand.poller.handed_over_records == 2
    stand.run()
    assert stand.poller.outstanding == {"s"}


def test_one_micro_batch_is_in_flight_per_reader(stand: Stand) -> None:
    stand.run(FakeMessage(10))
    stand.run(FakeMessage(11))
    assert len(stand.services.batches) == 1
    stand.confirm()
    stand.run()
    assert [batch.first_offset for _, _, batch in stand.services.batches] == [11]


def test_what_the_slowest_source_has_is_committed() -> None:
    stand = Stand("a", "b")
    stand.run()
    stand.run(FakeMessage(10))
    stand.confirm()
    assert stand.consumer.called("commit") == [({KEY: 10}, True)]
    stand.confirm()
    assert stand.consumer.called("commit")[-1] == ({KEY: 11}, True)


def test_a_full_buffer_pauses_the_partition_and_a_hand_over_resumes_it() -> None:
    stand = Stand("s", max_records=2)
    stand.run()
    stand.run(FakeMessage(10), FakeMessage(11), FakeMessage(12), FakeMessage(13))
    assert stand.consumer.called("pause") == [[KEY]]
    stand.confirm()
    stand.run()
    assert stand.consumer.called("resume") == [[KEY], [KEY]]


def test_a_source_that_is_behind_gives_nothing_away() -> None:
    stand = Stand("s", max_pending_records=1)
    stand.run()
    stand.run(FakeMessage(10))
    stand.confirm()
    stand.run(FakeMessage(11))
    assert (stand.services.batches, stand.partition.paused) == ([], True)


def test_a_seek_that_is_refused_assigns_the_partition_again(stand: Stand) -> None:
    stand.partition.seek_to = 10
    stand.consumer.refused = {"seek": KafkaError._STATE, "assign": KafkaError._STATE}
    stand.run(FakeMessage(10))
    assert (stand.partition.seek_to, stand.partition.paused) == (10, True)
    del stand.consumer.refused["assign"]
    stand.run(FakeMessage(10))
    assert (stand.partition.seek_to, stand.partition.paused) == (None, False)
    assert stand.consumer.called("assign")[-1] == [(KEY, 10)]
    stand.run(FakeMessage(10))
    assert len(stand.services.batches) == 1


@pytest.mark.parametrize(
    "code",
    [KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError.UNKNOWN_TOPIC_ID],
)
def test_a_log_that_changed_under_us_has_its_positions_read_again(stand: Stand, code: int) -> None:
    stand.run(FakeMessage(0, error=code))
    assert (stand.partition.readers, stand.partition.positions_requested) == ({}, True)
    assert stand.services.forgotten == 1


def test_the_end_of_a_partition_is_no_error(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    stand.run(FakeMessage(0, error=KafkaError._PARTITION_EOF), FakeMessage(10))
    assert len(stand.services.batches) == 1
    assert caplog.records == []


def test_another_error_is_logged_once_per_minute_and_ends_nothing(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        stand.run(FakeMessage(0, error=KafkaError.TOPIC_AUTHORIZATION_FAILED))
    stand.run(FakeMessage(10))
    assert len(stand.services.batches) == 1
    lines = [line for line in caplog.records if line.levelno == logging.WARNING]
    assert [vars(line)["topic"] for line in lines] == ["t"]


def test_a_record_that_cannot_be_read_halts_every_source_of_its_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand = Stand("a", "b")
    stand.run()
    monkeypatch.setattr(poller_module, "record_of", lambda _: 1 / 0)
    stand.run(FakeMessage(10))
    assert {source for source, _, _ in stand.services.halted} == {"a", "b"}
    assert stand.services.halted[0][2].startswith(
        "record at t/0/10 cannot be read: ZeroDivisionError"
    )
    assert stand.assignment.sources == {}


UNREADABLE = [
    KafkaError._BAD_COMPRESSION,
    KafkaError._BAD_MSG,
    KafkaError._NOT_IMPLEMENTED,
    KafkaError.INVALID_MSG,
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
]


@pytest.mark.parametrize("code", UNREADABLE)
def test_a_record_batch_that_cannot_be_read_halts_when_it_was_tried_three_times(
    code: int, stand: Stand
) -> None:
    stand.run(FakeMessage(10))
    for _ in range(2):
        # What comes behind it must not be taken for what follows a hole.
        stand.run(FakeMessage(11, error=code), FakeMessage(15))
        assert stand.consumer.called("seek")[-1] == (KEY, 11)
        assert stand.services.halted == []
    stand.run(FakeMessage(11, error=code), FakeMessage(15))
    [(source, _, reason)] = stand.services.halted
    assert source == "s"
    assert reason.startswith("record at t/0/11 cannot be read: ")
    command = "`freshet source skip s --topic t --partition 0 --offset 11 --reason TEXT` passes it"
    assert reason.endswith(command)
    assert [batch.next_offset for _, _, batch in stand.services.batches] == [11]


def test_one_that_can_be_read_the_next_time_halts_nothing(stand: Stand) -> None:
    for offset in range(10, 20):
        stand.run(FakeMessage(offset, error=KafkaError._BAD_MSG))
        stand.run(FakeMessage(offset))
        stand.confirm()
        stand.partition.readers["s"].forget_published(offset + 1, now=0.0)
    assert stand.services.halted == []


def test_what_waits_for_the_publication_before_it_is_handed_over_when_its_time_has_come(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("ingest.consume.poller.time.monotonic", clock)
    stand.run(FakeMessage(10))
    stand.confirm()
    clock.now += 2.0
    stand.run(FakeMessage(11))
    clock.now += 0.3
    stand.run(FakeMessage(12))
    assert stand.services.batches == []
    clock.now += 0.2
    stand.run()  # nothing comes, but the time has
    (batch,) = stand.services.batches
    assert [record.offset for record in batch[2].records] == [11, 12]


def test_what_waits_for_the_publication_before_it_is_handed_over_once_that_is_published(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("ingest.consume.poller.time.monotonic", clock)
    stand.run(FakeMessage(10))
    stand.confirm()
    clock.now += 2.0
    stand.run(FakeMessage(11))
    stand.run()
    assert stand.services.batches == []
    stand.assignment.apply_positions([make_position(11)])
    stand.run()
    assert len(stand.services.batches) == 1


def test_an_error_at_an_offset_that_nobody_reads_next_is_ignored(stand: Stand) -> None:
    """Behind a damaged record batch, librdkafka names any offset."""
    for _ in range(5):
        stand.run(FakeMessage(2**62, error=KafkaError._NOT_IMPLEMENTED))
    assert stand.services.halted == []


def test_who_was_told_to_pass_it_does_and_another_source_halts() -> None:
    stand = Stand("a", "b")
    stand.run()
    stand.run(FakeMessage(10))
    skip = Skip(
        source="a",
        topic="t",
        partition=0,
        topic_id="id",
        first_offset=11,
        next_offset=14,
        reason="a bomb",
    )
    stand.partition.readers["a"].skips = [skip]
    for _ in range(3):
        stand.run(FakeMessage(11, error=KafkaError._BAD_COMPRESSION))
    assert [source for source, _, _ in stand.services.halted] == ["b"]
    for _ in range(2):
        stand.confirm()
    stand.run()
    [(_, reader, batch)] = stand.services.batches
    assert (reader.spec.source, batch.first_offset, batch.next_offset) == ("a", 11, 14)
    assert {record.unread for record in batch.records} == {DeadLetterReason.NOT_READ}
    assert stand.consumer.called("seek")[-1] == (KEY, 14)


def test_records_of_a_partition_that_was_revoked_are_left_alone(stand: Stand) -> None:
    stand.consumer.callbacks["on_revoke"](stand.consumer, [TopicPartition(*KEY)])
    stand.run(FakeMessage(10), FakeMessage(10, topic="unknown"))
    assert stand.services.batches == []


def test_revoked_partitions_are_committed_and_lost_ones_are_not(stand: Stand) -> None:
    stand.run(FakeMessage(10))
    stand.consumer.callbacks["on_revoke"](stand.consumer, [TopicPartition(*KEY)])
    assert stand.consumer.called("commit") == [({KEY: 10}, False)]
    stand.confirm()  # too late: the next owner reads it again
    assert stand.poller.handed_over_records == 0
    stand.consumer.calls.clear()
    stand.consumer.callbacks["on_assign"](stand.consumer, [TopicPartition(*KEY)])
    stand.consumer.callbacks["on_lost"](stand.consumer, [TopicPartition(*KEY)])
    assert stand.consumer.called("commit") == []


def test_messages_are_called_in_their_order_before_the_records(stand: Stand) -> None:
    order: list[int] = []
    for number in range(3):
        stand.poller.call_soon(lambda number=number: order.append(number))
    stand.run()
    assert order == [0, 1, 2]


def run_in_thread(poller: Poller, grace: float) -> threading.Thread:
    thread = threading.Thread(target=poller.run, args=(grace,), daemon=True)
    thread.start()
    return thread


def test_stopping_waits_for_what_is_in_flight_and_commits_it(stand: Stand) -> None:
    stand.run(FakeMessage(10))
    stand.poller.stop()
    thread = run_in_thread(stand.poller, 30)
    stand.poller.call_soon(stand.confirm)
    thread.join(20)
    assert not thread.is_alive()
    assert stand.consumer.called("commit")[-1] == ({KEY: 11}, False)
    assert (stand.consumer.closed, stand.poller.failure) == (True, None)


def test_stopping_gives_up_after_the_grace_and_commits_what_was_handed_over(stand: Stand) -> None:
    stand.run(FakeMessage(10))
    stand.poller.stop()
    thread = run_in_thread(stand.poller, 0.05)
    thread.join(20)
    assert not thread.is_alive()
    assert stand.consumer.called("commit") == [({KEY: 10}, False)]


def test_a_mistake_ends_the_thread_with_its_error_and_leaves_the_group(stand: Stand) -> None:
    stand.poller.call_soon(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    thread = run_in_thread(stand.poller, 0)
    thread.join(20)
    assert isinstance(stand.poller.failure, ZeroDivisionError)
    assert stand.consumer.closed

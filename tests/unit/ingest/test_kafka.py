"""Kafka clients without a broker: properties, log lines, and records as odd as Kafka allows."""

import logging
from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError

from corpus.errors import ConfigurationError, DependencyError
from ingest import kafka as kafka_module
from ingest.kafka import (
    Cluster,
    LibrdkafkaLog,
    LogBounds,
    PartitionKey,
    log_error,
    properties,
)
from ingest.kafka_record import record_of
from tests.support.fake_kafka import FakeMessage
from tests.support.polling import wait_until


@pytest.fixture(autouse=True)
def no_log_limit() -> Iterator[None]:
    """Lines of other tests hold back none of these."""
    (limit,) = kafka_module.logger.filters
    limit.reset()  # type: ignore[union-attr]
    yield
    limit.reset()  # type: ignore[union-attr]


def test_the_users_properties_win_over_ours_and_the_address_over_both() -> None:
    given = {"client.id": "theirs", "bootstrap.servers": "elsewhere:1", "group.id": "theirs"}
    found = properties("here:1", given, group_id="ours", fetch_min_bytes=5)
    assert (found["client.id"], found["group.id"], found["fetch.min.bytes"]) == (
        "theirs",
        "theirs",
        5,
    )
    assert found["bootstrap.servers"] == "here:1"
    assert found["error_cb"] is log_error


def test_librdkafkas_lines_pass_once_per_kind_and_minute_and_at_most_as_information(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = LibrdkafkaLog()
    with caplog.at_level(logging.INFO):
        for number in range(3):
            log.log(logging.CRITICAL, "%s [%s] %s", "FAIL", "consumer-1", f"refused {number}")
        log.log(logging.DEBUG, "%s [%s] %s", "CONFWARN", "consumer-1", "not shown")
        log.log(logging.ERROR, "100% of it without arguments")
    lines = [(line.levelname, line.getMessage()) for line in caplog.records]
    assert lines == [
        ("INFO", "librdkafka: FAIL [consumer-1] refused 0"),
        ("INFO", "librdkafka: 100% of it without arguments"),
    ]


@pytest.mark.parametrize("value", ["hunter2", "", "hun`ter2", "`hunter2`", "hun\nter2"])
def test_no_value_of_a_property_is_logged(caplog: pytest.LogCaptureFixture, value: str) -> None:
    warning = f"Configuration property sasl.password set to `{value}` has no effect"
    with caplog.at_level(logging.INFO):
        LibrdkafkaLog().log(logging.WARNING, "%s [%s] %s", "CONFWARN", "producer-1", warning)
    [line] = caplog.records
    expected = "Configuration property sasl.password set to a value has no effect"
    assert line.getMessage() == f"librdkafka: CONFWARN [producer-1] {expected}"


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (KafkaError._AUTHENTICATION, "check sasl.username and sasl.password"),
        (KafkaError._ALL_BROKERS_DOWN, "is FRESHET_KAFKA_BOOTSTRAP right?"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "the user lacks READ on the consumer group"),
        (KafkaError._TRANSPORT, "the client tries again until it succeeds"),
    ],
)
def test_an_error_is_logged_once_per_minute_with_a_hint(
    code: int, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        log_error(KafkaError(code, "what happened"))
    (line,) = caplog.records
    assert line.levelno == logging.ERROR
    assert hint in line.getMessage()
    assert vars(line)["code"] == KafkaError(code).name()


def test_a_client_that_reaches_no_broker_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """The real client calls our log and our callback as we expect."""
    given = {"reconnect.backoff.max.ms": "50", "reconnect.backoff.ms": "10"}
    consumer = Consumer(properties("127.0.0.1:1", given, group_id="g"))

    def messages() -> list[str]:
        consumer.poll(0.05)
        return [
            line.getMessage() for line in caplog.records if "no broker answers" in line.getMessage()
        ]

    with caplog.at_level(logging.INFO, "ingest.kafka"):
        wait_until(messages)
        for _ in range(5):
            consumer.poll(0.05)
        assert len(messages()) == 1
    consumer.close()
    assert sum("librdkafka: FAIL" in line.getMessage() for line in caplog.records) == 1


@pytest.mark.parametrize(
    ("name", "partitions"),
    [("", 1), ("t", 0), ("t", -1), ("t", 100_001)],
)
def test_a_topic_that_there_cannot_be_is_not_asked_for(name: str, partitions: int) -> None:
    with pytest.raises(ConfigurationError, match="it needs a name and 1 to 100,000 partitions"):
        Cluster("127.0.0.1:1", {}).create_topic(name, partitions)


def test_no_topics_and_no_partitions_ask_nothing() -> None:
    cluster = Cluster("127.0.0.1:1", {})
    assert (cluster.topics([]), cluster.offsets([])) == ({}, {})
    with pytest.raises(ConfigurationError, match="name is empty"):
        cluster.topics(["t", ""])


def record(**fields: Any) -> Any:
    message: Any = FakeMessage(7, **fields)
    return record_of(message)


def test_a_record_is_what_the_message_was() -> None:
    found = record(headers=[("a", b"1"), ("a", None), ("b", "text")], topic="u", partition=3)
    assert (found.topic, found.partition, found.offset, found.timestamp_ms) == ("u", 3, 7, 5)
    assert found.headers == (("a", b"1"), ("a", None), ("b", b"text"))
    assert (found.key, found.value, found.unreadable) == (b"k", b"v", None)


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ((TIMESTAMP_NOT_AVAILABLE, 99), None),
        ((TIMESTAMP_LOG_APPEND_TIME, -1), None),
        ((TIMESTAMP_LOG_APPEND_TIME, 0), 0),
        ((TIMESTAMP_LOG_APPEND_TIME, 2**62), 2**62),
    ],
)
def test_a_record_without_a_time_has_none(timestamp: tuple[int, int], expected: int | None) -> None:
    assert record(timestamp=timestamp).timestamp_ms == expected


def test_a_tombstone_keeps_its_key() -> None:
    found = record(value=None)
    assert (found.key, found.value) == (b"k", None)


@pytest.mark.parametrize(
    "error", [SystemError("result with an exception set"), ValueError("utf-8")]
)
def test_headers_that_cannot_be_read_are_named_and_cost_nothing_else(error: Exception) -> None:
    found = record(headers=error)
    assert (found.headers, found.value) == ((), b"v")
    assert "a header's name must be UTF-8" in (found.unreadable or "")


def test_a_partition_is_shown_as_topic_and_number() -> None:
    assert f"{PartitionKey('t', 3)}" == "t/3"
    assert PartitionKey("t", 3) == ("t", 3)


class HalfAnswers:
    """A cluster whose connection is lost in the middle of an answer: the client names -1001 instead of an offset."""

    def __init__(self, offsets: dict[str, int]) -> None:
        self.offsets = offsets

    def list_offsets(self, specs: dict[Any, Any], **_: Any) -> dict[Any, Any]:
        answers: dict[Any, Future[Any]] = {}
        for partition in specs:
            answers[partition] = Future()
            answers[partition].set_result(SimpleNamespace(offset=self.offsets[partition.topic]))
        return answers


def test_an_offset_that_was_not_named_is_no_end_of_a_log() -> None:
    """Taken for an end, -1001 halted a source: "position 672 is beyond the end of the log"."""
    cluster = Cluster("here:1", {})
    cluster._admin = HalfAnswers({"known": 7, "half": -1001})
    known, half = PartitionKey("known", 0), PartitionKey("half", 0)
    bounds = cluster.bounds_of([known, half])
    assert bounds.answers == {known: LogBounds(first_offset=7, next_offset=7)}
    assert bounds.refusals == {half: "Kafka named no offset of half/0"}
    with pytest.raises(DependencyError, match="named no offset"):
        cluster.offsets([half])
    with pytest.raises(DependencyError, match="named no offset"):
        cluster.offsets_since([half], 0)


def test_no_record_of_a_time_or_later_is_the_end_of_the_log() -> None:
    class Ends(HalfAnswers):
        def list_offsets(self, specs: dict[Any, Any], **options: Any) -> dict[Any, Any]:
            answers = super().list_offsets(specs, **options)
            self.offsets = dict.fromkeys(self.offsets, 12)
            return answers

    cluster = Cluster("here:1", {})
    cluster._admin = Ends({"t": -1})
    assert cluster.offsets_since([("t", 0)], 0) == {PartitionKey("t", 0): 12}

"""The outbox without servers: what is sent and marked, and who waits when Kafka refuses."""

import asyncio
import base64
import logging
from collections import deque
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from confluent_kafka import KafkaError

from corpus import retry
from corpus.errors import DependencyError
from corpus.source import SourceSpec
from ingest.dead_letters import outbox as outbox_module
from ingest.dead_letters.outbox import Outbox, UnproducedDeadLetter, run_outbox
from tests.support.fake_database import FakeConnection
from tests.support.fake_kafka import FakeCluster, FakeProducer, refusal
from tests.support.polling import until


def letter(number: int, source: str = "a", **fields: Any) -> UnproducedDeadLetter:
    given: dict[str, Any] = {
        "dead_letter": number,
        "source": source,
        "spec": SourceSpec(source=source, topics=(source,)).to_json(),
        "batch": 1,
        "topic": source,
        "partition": 0,
        "record_offset": number,
        "document_id": None,
        "reason": "invalid_id",
        "detail": "id is blank",
        "key": b"key",
        "value": b"value",
        "headers": [],
    }
    return UnproducedDeadLetter(**{**given, **fields})


class Stand:
    """An outbox between a scripted database and a scripted Kafka."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.letters: list[UnproducedDeadLetter] = []
        self.database = FakeConnection(dead_letters_unproduced=self.unproduced)
        self.cluster = FakeCluster({})
        self.producers: list[FakeProducer] = []
        monkeypatch.setattr(outbox_module, "Producer", self._make_producer)
        self.outbox = Outbox(self.database, self.cluster, {})  # type: ignore[arg-type]

    def _make_producer(self, properties: dict[str, Any]) -> FakeProducer:
        self.producers.append(FakeProducer(properties))
        return self.producers[-1]

    @property
    def producer(self) -> FakeProducer:
        return self.producers[-1]

    def unproduced(self, arguments: dict[str, Any]) -> list[UnproducedDeadLetter]:
        """As the query: oldest first, without the sources that wait, at most a round."""
        marked = set(self.marked())
        waiting = [
            each
            for each in self.letters
            if each.dead_letter not in marked and each.source not in arguments["without"]
        ]
        return waiting[: arguments["most"]]

    def marked(self) -> list[int]:
        arguments = self.database.arguments_of("dead_letters_produced")
        return [number for each in arguments for number in each["dead_letters"]]


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    return Stand(monkeypatch)


@pytest.fixture(autouse=True)
def no_log_limit() -> Iterator[None]:
    """Lines of other tests hold back none of these."""
    (limit,) = outbox_module.logger.filters
    limit.reset()  # type: ignore[union-attr]
    yield
    limit.reset()  # type: ignore[union-attr]


def test_a_round_sends_and_marks_what_was_acknowledged(stand: Stand) -> None:
    header = ("trace", base64.b64encode(b"\x01").decode())
    stand.letters = [letter(1, headers=[header, ("none", None)]), letter(2, document_id="doc")]
    assert stand.outbox.produce_some() == 2
    assert (stand.marked(), stand.cluster.created) == ([1, 2], ["a.dead-letters"])
    first, second = stand.producer.acknowledged
    assert (first["topic"], first["key"], first["value"]) == ("a.dead-letters", b"key", b"value")
    assert first["headers"][:2] == [("trace", b"\x01"), ("none", None)]
    assert dict(first["headers"])["freshet.offset"] == b"1"
    assert dict(second["headers"])["freshet.document"] == b"doc"
    assert stand.outbox.produce_some() == 0


def test_nothing_is_marked_that_was_not_acknowledged(stand: Stand) -> None:
    stand.letters = [letter(1)]
    stand.producer.silent = True
    with pytest.raises(DependencyError, match="acknowledged none of 1"):
        stand.outbox.produce_some()
    assert stand.marked() == []


def test_a_value_that_is_too_large_becomes_a_pointer(stand: Stand) -> None:
    too_large = KafkaError.MSG_SIZE_TOO_LARGE
    stand.letters = [letter(1, headers=[("freshet.own", "AQ==")])]
    stand.producer.refusals["a.dead-letters"] = lambda sent: too_large if sent["value"] else None
    assert stand.outbox.produce_some() == 1
    (pointer,) = stand.producer.acknowledged
    headers = dict(pointer["headers"])
    assert (pointer["value"], headers["freshet.truncated"]) == (b"", b"1")
    assert headers["freshet.reason"] == b"invalid_id"
    assert "freshet.own" not in headers


def test_a_topic_that_refuses_even_pointers_delays_no_other_source(stand: Stand) -> None:
    stand.letters = [letter(number, "b") for number in range(60)] + [letter(100, "a")]
    stand.producer.refusals["b.dead-letters"] = KafkaError.MSG_SIZE_TOO_LARGE
    assert stand.outbox.produce_some() == 0
    assert stand.outbox.produce_some() == 1
    assert stand.marked() == [100]


def test_a_row_that_cannot_be_read_delays_no_other_source(stand: Stand) -> None:
    unreadable = {**letter(1, "b").spec, "version_rule": "of another version"}
    stand.letters = [letter(1, "b", spec=unreadable), letter(2, "a")]
    assert stand.outbox.produce_some() == 1
    assert stand.marked() == [2]


def test_a_source_that_waits_is_tried_again_later(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "_SOURCE_PAUSE_SECONDS", 0.0)
    stand.letters = [letter(1)]
    stand.cluster.refused = {"a.dead-letters"}
    assert stand.outbox.produce_some() == 0
    stand.cluster.refused = set()
    assert stand.outbox.produce_some() == 1


def test_a_topic_that_was_removed_is_created_again(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "_SOURCE_PAUSE_SECONDS", 0.0)
    stand.letters = [letter(1)]
    stand.producer.refusals["a.dead-letters"] = KafkaError.UNKNOWN_TOPIC_OR_PART
    stand.outbox.produce_some()
    stand.producer.refusals.clear()
    assert stand.outbox.produce_some() == 1
    assert stand.cluster.created == ["a.dead-letters", "a.dead-letters"]


def test_a_full_queue_leaves_the_letter_to_the_next_round(stand: Stand) -> None:
    stand.letters = [letter(1), letter(2)]
    stand.producer.queue_size = 1
    assert stand.outbox.produce_some() == 1
    assert stand.outbox.produce_some() == 1
    assert stand.marked() == [1, 2]


def test_a_letter_beyond_the_clients_own_limit_becomes_a_pointer(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.letters = [letter(1)]
    send = stand.producer.produce

    def produce(topic: str, **message: Any) -> None:
        if message["value"]:
            raise refusal(KafkaError.MSG_SIZE_TOO_LARGE)
        send(topic, **message)

    monkeypatch.setattr(stand.producer, "produce", produce)
    assert stand.outbox.produce_some() == 1
    assert stand.producer.acknowledged[0]["value"] == b""


def test_any_other_refusal_of_the_client_makes_its_source_wait(stand: Stand) -> None:
    stand.letters = [letter(1), letter(2, "b")]
    stand.producer.raises["a.dead-letters"] = refusal(KafkaError._INVALID_ARG)
    assert stand.outbox.produce_some() == 1
    assert stand.marked() == [2]


def test_a_producer_that_failed_for_good_is_replaced(stand: Stand) -> None:
    stand.letters = [letter(1), letter(2, "b")]
    fatal = refusal(KafkaError._FATAL, fatal=True)
    stand.producer.raises["a.dead-letters"] = fatal
    stand.outbox.produce_some()
    assert len(stand.producers) == 2
    stand.outbox.produce_some()
    assert sorted(stand.marked()) == [1, 2]


def test_a_database_that_is_away_is_a_dependency_error(stand: Stand) -> None:
    stand.database.answers["dead_letters_unproduced"] = psycopg.OperationalError("gone")
    with pytest.raises(DependencyError):
        stand.outbox.produce_some()


def test_a_letter_that_could_not_be_marked_is_marked_later_and_not_sent_again(stand: Stand) -> None:
    stand.letters = [letter(1)]
    gone = psycopg.OperationalError("gone")
    stand.database.answers["dead_letters_produced"] = deque([gone, []])
    with pytest.raises(DependencyError):
        stand.outbox.produce_some()
    assert stand.outbox.produce_some() == 1
    assert len(stand.producer.acknowledged) == 1


def test_a_source_that_waits_is_logged_once_per_minute(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox_module, "_SOURCE_PAUSE_SECONDS", 0.0)
    stand.letters = [letter(1), letter(2, "b")]
    stand.cluster.refused = {"a.dead-letters", "b.dead-letters"}
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            stand.outbox.produce_some()
    assert sorted(vars(line)["source"] for line in caplog.records) == ["a", "b"]


async def test_the_outbox_waits_for_its_services_and_continues(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(retry, "_sleep", sleep)
    gone = psycopg.OperationalError("gone")
    stand.letters = [letter(1)]
    stand.database.answers["dead_letters_unproduced"] = deque([gone] * 10 + [stand.letters])
    running = asyncio.create_task(run_outbox(Outbox(stand.database, stand.cluster, {})))  # type: ignore[arg-type]
    await until(stand.marked)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert stand.marked() == [1]

"""Redriving without servers: what is sent again, what stays open, what an operator is shown."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import KafkaError

from corpus.errors import ConfigurationError, DependencyError
from ingest.dead_letters import redrive as redrive_module
from ingest.dead_letters.redrive import Selection, find, redrive, settle, show
from tests.support.fake_database import FakeConnection
from tests.support.fake_kafka import FakeProducer, refusal


def row(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "dead_letter": number,
        "topic": "t",
        "partition": 2,
        "record_offset": 7,
        "reason": "not_decodable",
        "key": b"k",
        "value": b"v",
        "headers": [["own", "AQ=="]],
        "record_at": datetime(2026, 1, 1, tzinfo=UTC),
        "state": "open",
        **fields,
    }


class Stand:
    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.producer = FakeProducer({})
        self.database: Any = FakeConnection(
            show_dead_letter=self.shown, settle_dead_letters=self.settled
        )

    def add(self, *rows: dict[str, Any]) -> list[int]:
        self.rows = {each["dead_letter"]: each for each in rows}
        return list(self.rows)

    def shown(self, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        found = self.rows.get(arguments["dead_letter"])
        return [] if found is None else [found]

    def settled(self, arguments: dict[str, Any]) -> list[int]:
        return arguments["dead_letters"]

    def redrive(self, *numbers: int) -> list[int]:
        return redrive(self.database, {}, numbers)


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    made = Stand()
    monkeypatch.setattr(redrive_module, "Producer", lambda _: made.producer)
    yield made


def test_a_record_goes_to_its_old_partition_with_its_first_position(stand: Stand) -> None:
    numbers = stand.add(row(3))
    assert stand.redrive(*numbers) == [3]
    (sent,) = stand.producer.acknowledged
    assert (sent["topic"], sent["partition"], sent["key"], sent["value"]) == ("t", 2, b"k", b"v")
    assert sent["headers"] == [
        ("own", b"\x01"),
        ("freshet.redriven-from", b"t/2/7#3"),
        ("freshet.redriven-timestamp", b"1767225600000"),
    ]


def test_a_record_without_a_time_or_headers_is_redriven_too(stand: Stand) -> None:
    stand.add(row(3, record_at=None, headers=None, key=None, value=None))
    assert stand.redrive(3) == [3]
    assert stand.producer.acknowledged[0]["headers"] == [
        ("freshet.redriven-from", b"t/2/7#3"),
        ("freshet.redriven-timestamp", b"none"),
    ]


@pytest.mark.parametrize("reason", ["too_large", "not_read"])
def test_one_that_was_kept_without_its_bytes_is_no_delete(reason: str, stand: Stand) -> None:
    """Its null value would be a tombstone."""
    stand.add(row(1, reason=reason, value=None, key=None), row(2))
    assert stand.redrive(1, 2) == [2]
    assert len(stand.producer.sent) == 1
    with pytest.raises(ConfigurationError, match="dead letter 1 was kept without its bytes"):
        stand.redrive(1)


def test_only_open_ones_are_sent_in_the_order_of_their_numbers(stand: Stand) -> None:
    stand.add(row(3), row(2, state="discarded"), row(1))
    assert stand.redrive(3, 2, 1) == [1, 3]
    assert [sent["headers"][1][1] for sent in stand.producer.sent] == [b"t/2/7#1", b"t/2/7#3"]


def test_one_that_kafka_refuses_stays_open_and_the_others_are_settled(stand: Stand) -> None:
    stand.add(row(1, topic="gone"), row(2))
    stand.producer.refusals["gone"] = KafkaError.UNKNOWN_TOPIC_OR_PART
    assert stand.redrive(1, 2) == [2]
    assert stand.database.arguments_of("settle_dead_letters")[0]["dead_letters"] == [2]


@pytest.mark.parametrize("how", ["refused", "raised"])
def test_it_is_an_error_when_kafka_accepts_none(stand: Stand, how: str) -> None:
    stand.add(row(1))
    if how == "refused":
        stand.producer.refusals["t"] = KafkaError.TOPIC_AUTHORIZATION_FAILED
    else:
        stand.producer.raises["t"] = refusal(KafkaError.MSG_SIZE_TOO_LARGE)
    with pytest.raises(DependencyError, match="accepted none"):
        stand.redrive(1)


def test_a_full_queue_is_waited_for(stand: Stand) -> None:
    stand.add(*(row(number) for number in range(5)))
    stand.producer.queue_size = 1
    assert stand.redrive(*range(5)) == [*range(5)]


def test_a_number_that_does_not_exist_is_named(stand: Stand) -> None:
    with pytest.raises(ConfigurationError, match="no dead letter 9"):
        stand.redrive(9)
    with pytest.raises(ConfigurationError, match="no dead letter 9"):
        show(stand.database, 9)


def test_no_numbers_redrive_nothing(stand: Stand) -> None:
    assert stand.redrive() == []


def test_a_selection_becomes_the_arguments_of_the_query() -> None:
    database: Any = FakeConnection(list_dead_letters=[row(1)])
    assert find(database, Selection(source="a", dead_letters=(1, 2), most=5)) == [row(1)]
    assert database.arguments_of("list_dead_letters") == [
        {"source": "a", "reason": None, "state": None, "dead_letters": [1, 2], "most": 5}
    ]


def test_settling_returns_what_was_open_in_order() -> None:
    database: Any = FakeConnection(settle_dead_letters=[3, 1])
    assert settle(database, [1, 2, 3], "discarded") == [1, 3]

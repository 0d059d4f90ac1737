"""Single records of a topic, read at their offsets."""

from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from corpus.errors import DependencyError
from ingest import look
from ingest.look import record_reader

pytestmark = pytest.mark.service


def test_records_are_read_at_their_offsets_in_any_order(
    kafka_bootstrap: str, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    for number in range(5):
        producer.produce(topic, f"value {number}", headers={"n": str(number)})
    assert producer.flush(30) == 0
    with record_reader(kafka_bootstrap, {}) as reader:
        for offset in (4, 0, 2):
            record = reader.read(topic, 0, offset)
            assert record is not None
            assert (record.offset, record.value) == (offset, f"value {offset}".encode())
        assert reader.read(topic, 0, 5) is None  # the end
        assert reader.read(topic, 0, 99) is None  # beyond it
        again = reader.read(topic, 0, 1)
        assert again is not None
        assert again.headers == (("n", b"1"),)


def test_a_kafka_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "_ANSWER_SECONDS", 0.01)
    with (
        record_reader("127.0.0.1:1", {}) as reader,
        pytest.raises(DependencyError, match="t/0@0 failed"),
    ):
        reader.read("t", 0, 0)

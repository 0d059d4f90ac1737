"""Sending files without a broker: order of acknowledgements, full queues, refusals, rates, progress."""

import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from corpus.errors import ConfigurationError, DependencyError
from ingest import produce
from ingest.event_file import ResumeFile, zstd
from ingest.produce import FileProducer, ProduceProgress


class FakeKafka:
    """Stands in for librdkafka's producer: keeps records in a queue until it is polled or flushed."""

    def __init__(self, properties: dict[str, Any]) -> None:
        self.properties = properties
        self.records: list[tuple[bytes | None, bytes]] = []
        self.queue: deque[Callable[[KafkaError | None], None]] = deque()
        self.queue_size = 1_000
        self.is_silent = False  # acknowledges nothing
        self.newest_first = False
        self.error: KafkaError | None = None
        self.too_large = 1_000_000

    def produce(self, topic: str, *, key: bytes | None, value: bytes, **other: Any) -> None:
        if len(value) > self.too_large:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        if len(self.queue) >= self.queue_size:
            raise BufferError
        self.records.append((key, value))
        on_delivery = other["on_delivery"]
        self.queue.append(lambda error: on_delivery(error, None))

    def poll(self, timeout: float) -> int:
        if timeout:
            self._acknowledge()
        return 0

    def flush(self, timeout: float) -> int:
        self._acknowledge()
        return len(self.queue)

    def _acknowledge(self) -> None:
        while self.queue and not self.is_silent:
            acknowledge = self.queue.pop() if self.newest_first else self.queue.popleft()
            acknowledge(self.error)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[FileProducer, FakeKafka]]:
    monkeypatch.setattr(produce, "Producer", FakeKafka)

    def make(properties: dict[str, Any] | None = None, **options: Any) -> Any:
        producer = FileProducer(properties or {}, "t", **options)
        return producer, producer._producer

    return make


def events(path: Path, count: int) -> str:
    lines = [json.dumps({"id": f"d{number}"}) for number in range(count)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def test_lines_are_records_keyed_by_their_id(tmp_path: Path, kafka: Any) -> None:
    producer, fake = kafka()
    producer.send(events(tmp_path / "e.jsonl", 3))
    assert fake.records == [(b"d%d" % n, b'{"id": "d%d"}' % n) for n in range(3)]
    assert (producer.result.records, producer.result.value_bytes) == (3, 36)


def test_line_ends_blank_lines_and_a_byte_order_mark_are_not_sent(
    tmp_path: Path, kafka: Any
) -> None:
    (tmp_path / "e").write_bytes(b'\xef\xbb\xbf{"id":"a"}\r\n\r\n \t\n{"id":"b"}\n\n{"id":"c"}')
    producer, fake = kafka()
    producer.send(str(tmp_path / "e"))
    assert [value for _, value in fake.records] == [b'{"id":"a"}', b'{"id":"b"}', b'{"id":"c"}']


def test_raw_lines_are_sent_as_they_are_without_a_key(tmp_path: Path, kafka: Any) -> None:
    (tmp_path / "e").write_bytes(b"\xef\xbb\xbf{\n\xff\x00 \n")
    producer, fake = kafka(raw=True)
    producer.send(str(tmp_path / "e"))
    assert fake.records == [(None, b"\xef\xbb\xbf{"), (None, b"\xff\x00 ")]


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.zst"])
def test_an_empty_file_sends_nothing(tmp_path: Path, kafka: Any, name: str) -> None:
    (tmp_path / name).write_bytes(zstd.compress(b"") if name.endswith("zst") else b"")
    producer, fake = kafka()
    producer.send(str(tmp_path / name))
    assert (fake.records, producer.result.records) == ([], 0)


def test_a_full_queue_is_waited_for(tmp_path: Path, kafka: Any) -> None:
    producer, fake = kafka()
    fake.queue_size = 2
    producer.send(events(tmp_path / "e.jsonl", 20))
    assert producer.result.records == 20


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bad_line_is_named_and_what_came_before_is_acknowledged(
    tmp_path: Path, kafka: Any
) -> None:
    file = tmp_path / "e.jsonl"
    file.write_text('{"id": "a"}\n{"id": 5}\n{"id": "c"}\n', encoding="utf-8")
    producer, fake = kafka()
    with pytest.raises(ConfigurationError, match=r"e\.jsonl:2: .* --raw sends lines as they are"):
        producer.send(str(file))
    assert (len(fake.records), producer.result.records) == (1, 1)


def test_a_record_that_kafka_finds_too_large_is_named(tmp_path: Path, kafka: Any) -> None:
    producer, fake = kafka()
    fake.too_large = 20
    (tmp_path / "e").write_bytes(b'{"id":"a"}\n{"id":"b","content":"long"}\n')
    with pytest.raises(ConfigurationError, match=r"e:2: Kafka does not take these 27 bytes: "):
        producer.send(str(tmp_path / "e"))


def test_the_limit_of_a_line_is_that_of_the_users_properties(tmp_path: Path, kafka: Any) -> None:
    producer, _ = kafka({"message.max.bytes": "20"})
    (tmp_path / "e").write_bytes(b'{"id":"a"}\n{"id":"b","content":"long"}\n')
    with pytest.raises(ConfigurationError, match=r"e:2: the line is longer than the 20 bytes"):
        producer.send(str(tmp_path / "e"))


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (KafkaError._MSG_TIMED_OUT, "does the topic exist"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "--create-topic"),
        (KafkaError.MSG_SIZE_TOO_LARGE, "max.message.bytes"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "topic t: "),
    ],
)
def test_a_refusal_says_what_to_do(tmp_path: Path, kafka: Any, code: int, hint: str) -> None:
    producer, fake = kafka()
    fake.error = KafkaError(code)
    with pytest.raises(DependencyError, match="Kafka does not take records for topic t") as caught:
        producer.send(events(tmp_path / "e.jsonl", 3))
    assert hint in str(caught.value)
    assert producer.result.records == 0


def test_a_refusal_ends_the_sending_of_a_long_file(tmp_path: Path, kafka: Any) -> None:
    producer, fake = kafka()
    fake.error, fake.queue_size = KafkaError(KafkaError.BROKER_NOT_AVAILABLE), 10
    with pytest.raises(DependencyError):
        producer.send(events(tmp_path / "e.jsonl", 1_000))
    assert len(fake.records) <= 10


def test_records_that_are_never_acknowledged_are_counted(
    tmp_path: Path, kafka: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(produce, "_FLUSH_SECONDS", 0)
    producer, fake = kafka()
    fake.is_silent = True
    with pytest.raises(DependencyError, match="did not acknowledge 3 records within 0 s"):
        producer.send(events(tmp_path / "e.jsonl", 3))


# ── resume, limit, rate ─────────────────────────────────────────────────────────────────────────────────────────────


def test_resume_continues_after_the_last_line_of_an_unbroken_row(
    tmp_path: Path, kafka: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acknowledged out of order and then cut off: nothing that was not acknowledged is skipped."""
    monkeypatch.setattr(produce, "_FLUSH_SECONDS", 0)
    file, state = events(tmp_path / "e.jsonl", 5), tmp_path / "state"
    producer, fake = kafka()
    fake.is_silent = True
    with pytest.raises(DependencyError):
        producer.send(file, resume_folder=state)
    assert ResumeFile(file, "t", state).read() == 0
    for acknowledge in (fake.queue[0], fake.queue[3], fake.queue[4]):
        acknowledge(None)
    assert producer._acknowledged.upto == 1
    fake.queue[2](None)
    fake.queue[1](None)
    assert producer._acknowledged.upto == 5


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_second_run_sends_only_what_is_left(
    tmp_path: Path, kafka: Any, newest_first: bool
) -> None:
    file, state = events(tmp_path / "e.jsonl", 10), tmp_path / "state"
    for limit, sent, skipped in ((4, 4, 0), (None, 6, 4), (None, 0, 10)):
        producer, fake = kafka(limit=limit)
        fake.newest_first = newest_first
        producer.send(file, resume_folder=state)
        assert (producer.result.records, producer.result.skipped) == (sent, skipped)


def test_after_a_bad_line_the_next_run_begins_at_it(tmp_path: Path, kafka: Any) -> None:
    file, state = tmp_path / "e.jsonl", tmp_path / "state"
    file.write_text('{"id": "a"}\n{"id": 5}  \n{"id": "c"}\n', encoding="utf-8")
    for _ in range(2):
        producer, _fake = kafka()
        with pytest.raises(ConfigurationError, match="2: not an event"):
            producer.send(str(file), resume_folder=state)
    assert ResumeFile(str(file), "t", state).read() == 1


def test_standard_input_is_never_resumed(
    tmp_path: Path, kafka: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(events(tmp_path / "e.jsonl", 2)).open(encoding="utf-8") as standard_input:
        monkeypatch.setattr("sys.stdin", standard_input)
        producer, _ = kafka()
        producer.send("-", resume_folder=tmp_path / "state")
    assert producer.result.records == 2
    assert not (tmp_path / "state").exists()


def test_no_record_is_waited_for_before_the_first_or_after_the_last(
    tmp_path: Path, kafka: Any
) -> None:
    producer, _ = kafka(rate=1e-12, limit=1)
    producer.send(events(tmp_path / "e.jsonl", 3))
    assert producer.result.records == 1


def test_a_limit_counts_over_all_files(tmp_path: Path, kafka: Any) -> None:
    producer, _ = kafka(limit=3)
    for name in ("a.jsonl", "b.jsonl"):
        producer.send(events(tmp_path / name, 2))
    assert producer.result.records == 3


# ── progress ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_progress_ends_with_what_was_done(tmp_path: Path, kafka: Any) -> None:
    shown: list[ProduceProgress] = []
    producer, _ = kafka(progress=shown.append)
    file = events(tmp_path / "e.jsonl", 3)
    producer.send(file)
    last = shown[-1]
    assert (last.file, last.sent, last.acknowledged, last.is_read) == (file, 3, 3, True)
    assert last.acknowledged_bytes == producer.result.value_bytes


def test_progress_is_shown_while_a_slow_rate_is_waited_for(
    tmp_path: Path, kafka: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(produce, "_PROGRESS_SECONDS", 0.01)
    shown: list[ProduceProgress] = []
    producer, _ = kafka(progress=shown.append, rate=10, limit=2)
    producer.send(events(tmp_path / "e.jsonl", 2))
    assert any(not progress.is_read and progress.sent == 1 for progress in shown)


def test_progress_is_shown_after_an_error(tmp_path: Path, kafka: Any) -> None:
    shown: list[ProduceProgress] = []
    producer, _ = kafka(progress=shown.append)
    with pytest.raises(ConfigurationError):
        producer.send(str(tmp_path / "missing"))
    assert shown[-1].sent == 0

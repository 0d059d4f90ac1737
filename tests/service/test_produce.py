"""`freshet produce`: files to a topic; resumable; a bad line is named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from corpus.errors import ConfigurationError, DependencyError
from ingest.event_file import zstd
from ingest.kafka import Cluster, properties
from ingest.produce import FileProducer
from tests.support.collector import collecting
from tests.support.commands import CommandLine

pytestmark = pytest.mark.service


def lines(path: Path, count: int) -> Path:
    text = "".join(
        json.dumps({"id": f"d{number}", "content": "x"}) + "\n" for number in range(count)
    )
    if path.suffix == ".zst":
        # two frames, as `cat a.zst b.zst` makes
        half = len(text) // 2
        frames = [zstd.compress(part.encode()) for part in (text[:half], text[half:])]
        path.write_bytes(b"".join(frames))
    else:
        path.write_text(text + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.zst"])
def test_a_file_is_sent_line_by_line(
    kafka_bootstrap: str, make_topic: Callable[..., str], tmp_path: Path, name: str
) -> None:
    topic = make_topic()
    producer = FileProducer(properties(kafka_bootstrap, {}), topic)
    producer.send(str(lines(tmp_path / name, 500)))
    assert producer.result.records == 500
    assert Cluster(kafka_bootstrap, {}).offsets([(topic, 0)]) == {(topic, 0): (0, 500)}


def test_resume_continues_after_what_was_acknowledged(
    kafka_bootstrap: str, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic, file, state = make_topic(), str(lines(tmp_path / "e.jsonl", 30)), tmp_path / "state"
    for limit, expected in ((10, 10), (15, 15), (None, 5), (None, 0)):
        producer = FileProducer(properties(kafka_bootstrap, {}), topic, limit=limit)
        producer.send(file, resume_folder=state)
        assert producer.result.records == expected
    assert Cluster(kafka_bootstrap, {}).offsets([(topic, 0)]) == {(topic, 0): (0, 30)}
    lines(tmp_path / "e.jsonl", 40)  # another file under the same name starts at its first line
    producer = FileProducer(properties(kafka_bootstrap, {}), topic)
    producer.send(file, resume_folder=state)
    assert producer.result.records == 40


@pytest.mark.parametrize("bad", ['{"id": 5}', "{", '{"content": "x"}', "[]"])
def test_a_bad_line_is_named_and_raw_sends_it(
    kafka_bootstrap: str, make_topic: Callable[..., str], tmp_path: Path, bad: str
) -> None:
    topic, file = make_topic(), tmp_path / "e.jsonl"
    file.write_text(f'{{"id": "a"}}\n{bad}\n', encoding="utf-8")
    producer = FileProducer(properties(kafka_bootstrap, {}), topic)
    with pytest.raises(ConfigurationError, match=r"e\.jsonl:2: "):
        producer.send(str(file))
    assert producer.result.records == 1
    raw = FileProducer(properties(kafka_bootstrap, {}), topic, raw=True)
    raw.send(str(file))
    assert raw.result.records == 2


def test_a_missing_topic_is_a_clear_error(kafka_bootstrap: str, tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="does the topic exist"):
        FileProducer(
            {**properties(kafka_bootstrap, {}), "message.timeout.ms": 3_000}, "no-such-topic"
        ).send(str(lines(tmp_path / "e.jsonl", 1)))


def test_no_record_is_waited_for_before_the_first_or_after_the_last(
    kafka_bootstrap: str, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    producer = FileProducer(properties(kafka_bootstrap, {}), make_topic(), rate=1e-12, limit=1)
    producer.send(str(lines(tmp_path / "e.jsonl", 3)))
    assert producer.result.records == 1


def test_records_go_out_at_the_rate(
    kafka_bootstrap: str, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    producer = FileProducer(properties(kafka_bootstrap, {}), make_topic(), rate=20)
    producer.send(str(lines(tmp_path / "e.jsonl", 21)))
    assert producer.result.seconds >= 1


@pytest.mark.parametrize(
    ("name", "partitions"), [("", 1), ("x", 0), ("x", 2**40), ("x", 2**31 - 1)]
)
def test_a_topic_that_cannot_be_is_a_clear_error(
    kafka_bootstrap: str, name: str, partitions: int
) -> None:
    with pytest.raises(ConfigurationError, match="needs a name and 1 to 100,000 partitions"):
        Cluster(kafka_bootstrap, {}).create_topic(name, partitions)
    with pytest.raises(ConfigurationError, match="name is empty"):
        Cluster(kafka_bootstrap, {}).topics([""])


def test_records_carry_the_trace_of_the_command(
    kafka_bootstrap: str,
    make_topic: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = make_topic()
    file = lines(tmp_path / "e.jsonl", 2)
    freshet = CommandLine(tmp_path, monkeypatch, capsys)
    settings = {
        "FRESHET_KAFKA_BOOTSTRAP": kafka_bootstrap,
        "FRESHET_DATABASE_URL": "host=unused",
        "TEMPORAL_ADDRESS": "unused:7233",
    }
    with collecting() as collector:
        endpoint = collector.endpoint
        done = freshet(
            *("produce", str(file), "--topic", topic, "--json"),
            **settings,
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        )
        assert done.code == 0, done.stderr
        [span] = collector.named("freshet.produce")
    assert freshet("produce", str(file), "--topic", topic, "--json", **settings).code == 0
    consumer = Consumer({"bootstrap.servers": kafka_bootstrap, "group.id": topic})
    consumer.assign([TopicPartition(topic, 0, 0)])
    headers = [message.headers() for message in consumer.consume(4, timeout=30)]
    consumer.close()
    assert span.attributes["messaging.destination.name"] == topic
    [traced, again, *plain] = headers
    assert traced == again
    [(name, value)] = traced or []
    assert (name, value[3:35].decode()) == ("traceparent", span.trace_id)
    assert plain == [None, None]

"""`freshet try` on a broker with ACLs: the message names the right that is missing, and only that one."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation

from corpus.audit.audit import AuditedPartition
from ingest.audit.replay import log_reader
from ingest.kafka import Cluster
from ingest.look import record_reader
from tests.support.authorized_kafka import AuthorizedBroker, authorized_broker
from tests.support.commands import CommandLine, Done

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizedBroker]:
    with authorized_broker(tmp_path_factory.mktemp("authorized")) as running:
        yield running


@pytest.fixture
def freshet(
    broker: AuthorizedBroker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Done]:
    """As the visitor."""
    lines = [f"{name}={value}\n" for name, value in broker.visitor.items()]
    file = tmp_path / "kafka.properties"
    file.write_text("".join(lines[1:]), encoding="utf-8")
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", broker.address)
    monkeypatch.setenv("FRESHET_KAFKA_PROPERTIES", str(file))
    return CommandLine(tmp_path, monkeypatch, capsys)


def test_readers_of_single_records_need_no_right_on_a_group(broker: AuthorizedBroker) -> None:
    """What `freshet sources`, audits and backfills look at."""
    topic = topic_with_a_record(broker, "looked-at")
    broker.allow(AclOperation.READ, topic)
    given = dict(broker.visitor)
    bootstrap = given.pop("bootstrap.servers")
    assert Cluster(bootstrap, given).next_record(topic, 0, 0) == 0
    with record_reader(bootstrap, given) as reader:
        record = reader.read(topic, 0, 0)
        assert record is not None
    partition = AuditedPartition(
        topic=topic, partition=0, topic_id="i", first_offset=0, next_offset=1, is_complete=True
    )
    with log_reader(bootstrap, given) as pages:
        assert pages.read(partition, 0, limit=10).records == [record]


def topic_with_a_record(broker: AuthorizedBroker, name: str) -> str:
    broker.make_topic(name)
    producer = Producer(broker.owner)
    producer.produce(name, b'{"nr": 1, "title": "One", "body": "Some words."}', b"1")
    assert producer.flush(30) == 0
    return name


def test_read_is_all_that_is_needed(broker: AuthorizedBroker, freshet: Callable[..., Done]) -> None:
    """No right on a group either."""
    topic = topic_with_a_record(broker, "may-read")
    broker.allow(AclOperation.READ, topic)
    done = freshet("try", "--topic", topic)
    assert done.code == 0, done.stderr
    assert "1 upsert; nothing was written" in done.stderr


@pytest.mark.parametrize("offset", ["end", "beginning"])
def test_without_read(broker: AuthorizedBroker, freshet: Callable[..., Done], offset: str) -> None:
    topic = topic_with_a_record(broker, f"may-describe-{offset}")
    broker.allow(AclOperation.DESCRIBE, topic)
    done = freshet("try", "--topic", topic, "--offset", offset)
    assert (done.code, done.stdout) == (2, "")
    assert f"user 'visitor' may not read topic '{topic}': it lacks READ" in done.stderr
    assert "DESCRIBE" not in done.stderr
    assert "FRESHET_KAFKA_PROPERTIES" in done.stderr
    assert "a-visitor-of-the-test" not in done.stderr


def test_without_any_right(broker: AuthorizedBroker, freshet: Callable[..., Done]) -> None:
    topic = topic_with_a_record(broker, "may-nothing")
    done = freshet("try", "--topic", topic)
    assert (done.code, done.stdout) == (2, "")
    assert f"user 'visitor' may not describe topic '{topic}': it lacks DESCRIBE" in done.stderr
    assert "READ" in done.stderr


def test_a_topic_that_is_not_there(broker: AuthorizedBroker, freshet: Callable[..., Done]) -> None:
    """Kafka does not say whether it is not there, or may not be described."""
    done = freshet("try", "--topic", "may-noting")
    assert (done.code, done.stdout) == (2, "")
    assert "topic 'may-noting'" in done.stderr
    assert "DESCRIBE" in done.stderr

"""Kafka's password is revoked and replaced under a running consumer: one clear line, and no restart."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from corpus.database import connect
from corpus.source import SourceSpec
from ingest.kafka import Cluster
from tests.support.consuming import INSERT_SOURCE
from tests.support.fix_temporal import TemporalEnv
from tests.support.guarded_kafka import SECRET, GuardedBroker, guarded_broker
from tests.support.polling import until
from workers.config.settings import load
from workers.roles import credentials
from workers.roles.consumer import consume

pytestmark = pytest.mark.timeout(180)
NEW = "battery-staple"
LOGIN_MS = 3_000


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[GuardedBroker]:
    """Clients must log in again every few seconds, so a password that is revoked counts soon."""
    with guarded_broker(tmp_path, login_ms=LOGIN_MS) as made:
        yield made


async def test_a_password_that_is_revoked_and_replaced_needs_no_restart(
    broker: GuardedBroker,
    database_url: str,
    temporal_env: TemporalEnv,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(credentials, "LOOK_SECONDS", 0.5)
    await _installed(broker, database_url, temporal_env, tmp_path, monkeypatch)
    consuming = asyncio.create_task(consume(load()))
    try:
        _produce(broker, "one")
        await until(lambda: _handed_over(broker) == 1)
        caplog.clear()
        broker.set_password(NEW)
        await until(lambda: _complaints(caplog), seconds=30)
        _produce(broker, "two")
        assert not consuming.done()
        assert _handed_over(broker) == 1
        broker.write_password(NEW)
        await until(lambda: _handed_over(broker) == 2)
        # Dead letters and topics of the others are asked about with the new one, too.
        current = Cluster(broker.bootstrap, load().kafka_properties)
        assert await asyncio.to_thread(current.topics, ["t"])
        assert len(_complaints(caplog)) <= 2  # one per minute
        assert not any(word in line for line in caplog.messages for word in (SECRET, NEW))
    finally:
        consuming.cancel()
        with suppress(asyncio.CancelledError):
            await consuming


async def _installed(
    broker: GuardedBroker,
    database_url: str,
    temporal: TemporalEnv,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A source, and the settings of a consumer."""
    settings = {
        "FRESHET_HOME": str(folder / "home"),
        "FRESHET_DATABASE_URL": database_url,
        "FRESHET_KAFKA_BOOTSTRAP": broker.bootstrap,
        "FRESHET_KAFKA_PROPERTIES": str(broker.properties),
        "TEMPORAL_ADDRESS": temporal.address,
        "TEMPORAL_NAMESPACE": await temporal.namespace(),
        "FRESHET_STAGING_URL": (folder / "staging").as_uri(),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    Cluster(broker.plain, {}).create_topic("t", 1)
    spec = SourceSpec(source="s", topics=("t",)).to_json()
    with connect(database_url) as connection:
        connection.execute(INSERT_SOURCE, ("s", json.dumps(spec)))


def _produce(broker: GuardedBroker, document: str) -> None:
    producer = Producer({"bootstrap.servers": broker.plain})
    producer.produce("t", f'{{"id": "{document}", "version": 1, "content": "Weir."}}', key=document)
    assert producer.flush(20) == 0


def _handed_over(broker: GuardedBroker) -> int:
    """By the offset that the consumer commits after it."""
    look = Consumer({"bootstrap.servers": broker.plain, "group.id": "freshet"})
    try:
        return look.committed([TopicPartition("t", 0)], timeout=10)[0].offset
    except KafkaException:  # a broker that has just started knows no group yet
        return 0
    finally:
        look.close()


def _complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.ERROR and "sasl.password" in record.getMessage()
    ]

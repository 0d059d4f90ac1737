"""Kafka for tests: one broker a session; topics are named after their test."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compose.local.machine.ports import free_port
from compose.local.parts.kafka import Kafka
from compose.local.run import running

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def kafka_server(service_home: Path) -> Iterator[Kafka]:
    """The broker."""
    port = free_port()
    server = Kafka(home=service_home, port=port, controller_port=free_port({port}))
    with running(server):
        yield server


@pytest.fixture(scope="session")
def kafka_bootstrap(kafka_server: Kafka) -> str:
    """Its address, host:port."""
    return kafka_server.address


@pytest.fixture
def make_topic(kafka_bootstrap: str) -> Callable[..., str]:
    """`make_topic(partitions=1, **config)`: a new topic; returns its name once the broker tells of it."""
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})

    def make(partitions: int = 1, **config: str) -> str:
        name = f"topic-{next(_NUMBERS)}"
        admin.create_topics(
            [NewTopic(name, num_partitions=partitions, replication_factor=1, config=config)]
        )[name].result(30)
        return name

    return make

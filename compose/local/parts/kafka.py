"""Apache Kafka as one KRaft node on loopback, from its published jars."""

import secrets
import shutil
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compose.local.machine.files import make_private_folder, write_private
from compose.local.machine.ports import accepts_connections, require_free
from compose.local.machine.process import ProcessId, run_tool
from compose.local.parts.java import KAFKA_VERSION, jars, java
from compose.local.parts.part import Part

_USER = "freshet"
# A record may be 64 MB: a document of 20 MB can be escaped to three times that in JSON.
_RECORD_BYTES = 64 * 1024 * 1024
# A small heap, and a fast start rather than the highest throughput.
_JVM = (
    "-Xms128m",
    "-Xmx768m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)
_LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.log.kafka.server=info",
)


@dataclass(kw_only=True)
class Kafka(Part):
    """The broker, which is its own controller.

    Attributes:
        port: port of the listener for clients.
        controller_port: port of the controller, whose only client is the broker.
        asks_password: whether clients have to log in, as `client_properties` says.
    """

    port: int
    controller_port: int
    asks_password: bool = False
    name: str = "kafka"
    grace_seconds: float = 20.0
    # One that was killed reads its logs again: 5,000 partitions take more than a minute on two cores.
    ready_seconds: float = 300.0

    def __post_init__(self) -> None:
        """Set the address and the version."""
        self.address = f"127.0.0.1:{self.port}"
        self.version = KAFKA_VERSION

    @property
    def folder(self) -> Path:
        """The folder of its settings and its data."""
        return self.home / "kafka"

    @property
    def data(self) -> Path:
        """The folder of its log segments and metadata."""
        return self.folder / "data"

    @property
    def properties(self) -> Path:
        """The file of its settings."""
        return self.folder / "server.properties"

    @property
    def client_properties(self) -> Path:
        """The file by which clients log in, in librdkafka's words."""
        return self.folder / "client.properties"

    def login(self) -> dict[str, str]:
        """Properties of a client; the password is made at the first call."""
        if not self.asks_password:
            return {}
        return {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": _USER,
            "sasl.password": self._password(),
        }

    def _password(self) -> str:
        path = self.folder / "password"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text(encoding="utf-8").strip()

    def install(self) -> None:
        """Find Java, and fetch the jars once per user."""
        java()
        jars(self.mark)

    def prepare(self) -> None:
        """Write the settings, and format the metadata log once."""
        make_private_folder(self.folder)
        write_private(self.properties, _lines(self._settings()))
        if self.asks_password:
            write_private(self.client_properties, _lines(self.login()))
        if not (self.data / "meta.properties").exists():
            self._format()
        require_free("kafka", self.port)
        require_free("kafka-controller", self.controller_port)

    def command(self) -> Sequence[str]:
        """Return the command of the broker."""
        java_command = self._java(*_JVM, *_LOGGING)
        return [*java_command, "kafka.Kafka", str(self.properties)]

    def is_ready(self, process: ProcessId) -> bool:
        """Return whether it lists its topics, which it does some time after it accepts connections."""
        if not accepts_connections(self.port):
            return False
        properties = {"bootstrap.servers": self.address, **self.login()}
        return bool(brokers(properties, timeout=2))

    def _format(self) -> None:
        # A kill in the middle leaves a folder without meta.properties, which Kafka would refuse to format again.
        shutil.rmtree(self.data, ignore_errors=True)
        command = [
            *self._java("-Xmx128m"),
            "kafka.tools.StorageTool",
            "format",
            "-t",
            _new_cluster_id(),
            "-c",
            str(self.properties),
        ]
        run_tool(command, mark=self.mark, purpose="format Kafka's storage", timeout=60)

    def _java(self, *options: str) -> list[str]:
        return [java(), *options, "-cp", str(jars(self.mark) / "*")]

    def _settings(self) -> dict[str, object]:
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"CLIENTS://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"CLIENTS://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "CLIENTS",
            **self._security(),
            "log.dirs": self.data,
            "auto.create.topics.enable": "false",
            "message.max.bytes": _RECORD_BYTES,
            "replica.fetch.max.bytes": _RECORD_BYTES,
            # With one node there is nothing to wait for: a group's first member gets its partitions at once.
            "group.initial.rebalance.delay.ms": 0,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 8,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 8,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "default.replication.factor": 1,
            "min.insync.replicas": 1,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "num.recovery.threads.per.data.dir": 2,
            "log.segment.bytes": 256 * 1024 * 1024,
            # The default of 128 MB would be a quarter of the heap.
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
            # A fetch that was answered is kept until so many were, by each partition that it named: by default 1,000.
            # With 5,000 partitions, half a kilobyte each, 270 of them filled the heap.
            "fetch.purgatory.purge.interval.requests": 50,
        }

    def _security(self) -> dict[str, object]:
        """Both listeners ask for the password: who reaches the controller needs no broker."""
        protocol = "SASL_PLAINTEXT" if self.asks_password else "PLAINTEXT"
        protocols = f"CLIENTS:{protocol},CONTROLLER:{protocol}"
        if not self.asks_password:
            return {"listener.security.protocol.map": protocols}
        password = self._password()
        login = (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'username="{_USER}" password="{password}" user_{_USER}="{password}";'
        )
        return {
            "listener.security.protocol.map": protocols,
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.clients.plain.sasl.jaas.config": login,
            "listener.name.controller.plain.sasl.jaas.config": login,
        }


def _lines(properties: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def _new_cluster_id() -> str:
    """A new id. Like Kafka's own it does not begin with a dash, which would be read as an option."""
    while True:
        encoded = urlsafe_b64encode(uuid.uuid4().bytes)
        cluster_id = encoded.decode().rstrip("=")
        if not cluster_id.startswith("-"):
            return cluster_id


def brokers(properties: Mapping[str, str], *, timeout: float) -> list[str]:
    """Return host:port of every broker that the cluster names; empty if it does not answer within `timeout` seconds."""
    import logging

    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    # librdkafka writes a line to standard error every second while it cannot connect.
    silent = logging.getLogger("freshet.kafka.probe")
    silent.addHandler(logging.NullHandler())
    silent.propagate = False
    try:
        client = AdminClient({**properties, "log_level": "0"}, logger=silent)
        metadata = client.list_topics(timeout=timeout)
    except KafkaException:
        return []
    return [f"{broker.host}:{broker.port}" for broker in metadata.brokers.values()]

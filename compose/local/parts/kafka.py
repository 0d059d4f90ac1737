"""Apache Kafka as one KRaft node on loopback, from its published jars."""

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
    """The broker, which is its own controller."""

    port: int
    controller_port: int
    name: str = "kafka"
    grace_seconds: float = 20.0

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

    def install(self) -> None:
        """Find Java, and fetch the jars once per user."""
        java()
        jars(self.mark)

    def prepare(self) -> None:
        """Write the settings, and format the metadata log once."""
        make_private_folder(self.folder)
        lines = [f"{name}={value}\n" for name, value in self._settings().items()]
        write_private(self.properties, "".join(lines))
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
        return bool(brokers({"bootstrap.servers": self.address}, timeout=2))

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
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
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
        }


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

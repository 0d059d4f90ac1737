"""Kafka Connect, standalone, with Debezium's connector: started, killed, and started again where it left off."""

import contextlib
import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compose.local.machine.ports import free_port
from compose.local.machine.process import spawn
from compose.local.parts.java import java
from tests.bench.debezium.jars import converter_jars, jars
from tests.support.polling import wait_until

CONNECTOR = "shop"
SLOT = "freshet_bench"
_AVRO_CONVERTER = "io.apicurio.registry.utils.converter.AvroConverter"
_JVM = (
    "-Xms64m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)
_START_SECONDS = 420.0  # of two cores that are busy with other things
_ASK_SECONDS = 2.0
_PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


class Connect:
    """One worker process, which may be killed and started again; its offsets are in a file, as in standalone Connect.

    Args:
        folder: for its files.
        kafka: properties of a client, in librdkafka's words.
        connector: properties of the connector.
        converter: properties of the converter of keys and values, without `key.` or `value.` (`json_converter`).
    """

    def __init__(
        self,
        folder: Path,
        kafka: Mapping[str, str],
        connector: Mapping[str, str],
        converter: Mapping[str, str],
    ) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._port = free_port()
        self._writes_avro = converter["converter"] == _AVRO_CONVERTER
        self._process: subprocess.Popen[bytes] | None = None
        _write(folder / "worker.properties", self._worker(kafka, converter))
        _write(folder / "connector.properties", connector)

    def start(self) -> None:
        """Start it; returns when the connector's task runs."""
        command = [java(), *_JVM, "-cp", self._classes()]
        command += ["org.apache.kafka.connect.cli.ConnectStandalone"]
        command += [str(self._folder / f"{name}.properties") for name in ("worker", "connector")]
        self._process = spawn(
            command,
            mark="",
            environment={},
            log=self._folder / "connect.log",
            cwd=self._folder,
        )
        wait_until(self._runs, _START_SECONDS, "Debezium's task runs")

    def _classes(self) -> str:
        """Where the classes are. Of two jars with one class the first counts: Debezium's own libraries."""
        folders = [jars()]
        if self._writes_avro:
            folders.append(converter_jars())
        return ":".join(str(folder / "*") for folder in folders)

    def kill(self) -> None:
        """kill -9."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        self._process = None

    def failure(self) -> str:
        """Why the task has failed; empty: it has not, as far as is known."""
        status = self._status()
        traces = [task.get("trace", "") for task in status.get("tasks", ())]
        return next((trace[:500] for trace in traces if trace), "")

    def _runs(self) -> bool:
        process = self._process
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"Kafka Connect ended: see {self._folder / 'connect.log'}")
        tasks = self._status().get("tasks", ())
        return any(task["state"] == "RUNNING" for task in tasks)

    def _status(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self._port}/connectors/{CONNECTOR}/status"
        try:
            with urllib.request.urlopen(url, timeout=_ASK_SECONDS) as response:
                return json.load(response)
        except (OSError, ValueError):
            return {}

    def _worker(self, kafka: Mapping[str, str], converter: Mapping[str, str]) -> dict[str, str]:
        client = _java_properties(kafka)
        converters = {
            f"{part}.{name}": value
            for part in ("key", "value")
            for name, value in converter.items()
        }
        return {
            **client,
            **{f"producer.{name}": value for name, value in client.items()},
            **converters,
            "offset.storage.file.filename": str(self._folder / "offsets"),
            # A kill loses what was sent since: it is sent again.
            "offset.flush.interval.ms": "3000",
            "topic.creation.enable": "false",
            # The converter to Avro names itself in no service file.
            "plugin.discovery": "hybrid_warn" if self._writes_avro else "service_load",
            "listeners": f"http://127.0.0.1:{self._port}",
        }


def json_converter(*, with_schemas: bool) -> dict[str, str]:
    """Properties of the converter to JSON, whose values carry their schema or not."""
    return {
        "converter": "org.apache.kafka.connect.json.JsonConverter",
        "converter.schemas.enable": str(with_schemas).lower(),
    }


def avro_converter(registry: str) -> dict[str, str]:
    """Properties of the converter to Avro, which registers its schemas and writes Confluent's wire format.

    Args:
        registry: address of Apicurio, whose own protocol it speaks.
    """
    own = registry.replace("/apis/ccompat/v7", "/apis/registry/v2")
    settings = {
        "url": own,
        "auto-register": "true",
        "as-confluent": "true",
        "use-id": "contentId",
        "headers.enabled": "false",
    }
    named = {f"converter.apicurio.registry.{name}": value for name, value in settings.items()}
    return {"converter": _AVRO_CONVERTER, **named}


def postgres_connector(database: Mapping[str, str], table: str) -> dict[str, str]:
    """Properties of a connector that reads one table, beside its transactions and heartbeats.

    Args:
        database: hostname, port, user, password and dbname.
        table: with its schema.
    """
    return {
        "name": CONNECTOR,
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        **{f"database.{name}": value for name, value in database.items()},
        "topic.prefix": CONNECTOR,
        "table.include.list": table,
        "plugin.name": "pgoutput",
        "publication.autocreate.mode": "filtered",
        "slot.name": SLOT,
        "snapshot.mode": "initial",
        "skipped.operations": "none",
        "provide.transaction.metadata": "true",
        "heartbeat.interval.ms": "2000",
    }


def _java_properties(kafka: Mapping[str, str]) -> dict[str, str]:
    properties = {name: value for name, value in kafka.items() if not name.startswith("sasl.user")}
    password = properties.pop("sasl.password", None)
    if password is not None:
        user = kafka["sasl.username"]
        login = f'{_PLAIN_LOGIN} username="{user}" password="{password}";'
        properties["sasl.jaas.config"] = login
    return properties


def _write(path: Path, properties: Mapping[str, str]) -> None:
    lines = (f"{name}={value}\n" for name, value in properties.items())
    path.write_text("".join(lines), encoding="utf-8")
    path.chmod(0o600)

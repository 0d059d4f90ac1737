"""Kafka: loopback only, a storage that is formatted once, a cluster id that is never read as an option."""

import uuid
from pathlib import Path

import pytest

from compose.local.machine.process import current_process
from compose.local.parts import kafka as module
from compose.local.parts.kafka import Kafka, brokers
from corpus.errors import DependencyError
from workers.config import readers


@pytest.fixture
def kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """A broker whose Java and jars are names only."""
    monkeypatch.setattr(module, "java", lambda: "/opt/java")
    monkeypatch.setattr(module, "jars", lambda _mark: Path("/opt/jars"))
    monkeypatch.setattr(module, "require_free", lambda _name, _port: None)
    return Kafka(home=tmp_path, port=21_000, controller_port=21_001)


def read_properties(kafka: Kafka) -> dict[str, str]:
    lines = kafka.properties.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_the_broker_listens_on_loopback_only(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "run_tool", lambda *_, **__: "")
    kafka.prepare()
    properties = read_properties(kafka)
    addresses = [properties["listeners"], properties["advertised.listeners"]]
    hosts = [
        word.split("://")[1].rpartition(":")[0] for line in addresses for word in line.split(",")
    ]
    assert set(hosts) == {"127.0.0.1"}
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:21001"
    assert properties["auto.create.topics.enable"] == "false"
    assert kafka.properties.stat().st_mode & 0o077 == 0


def test_a_password_is_asked_on_every_listener_and_made_once(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run_tool", lambda *_, **__: "")
    assert kafka.login() == {}
    kafka.asks_password = True
    kafka.prepare()
    properties = read_properties(kafka)
    protocols = properties["listener.security.protocol.map"].split(",")
    assert {one.partition(":")[2] for one in protocols} == {"SASL_PLAINTEXT"}
    assert readers.properties(str(kafka.client_properties)) == kafka.login()
    assert kafka.client_properties.stat().st_mode & 0o077 == 0
    kafka.prepare()
    assert read_properties(kafka) == properties
    assert kafka.login()["sasl.password"] not in " ".join(kafka.command())


def test_the_storage_is_formatted_until_that_was_completed(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def fail(command: list[str], **_options: object) -> str:
        commands.append(command)
        kafka.data.mkdir()
        (kafka.data / "half").write_text("")
        raise DependencyError("killed")

    def complete(command: list[str], **_options: object) -> str:
        commands.append(command)
        assert not (kafka.data / "half").exists()
        kafka.data.mkdir()
        (kafka.data / "meta.properties").write_text("")
        return ""

    monkeypatch.setattr(module, "run_tool", fail)
    with pytest.raises(DependencyError):
        kafka.prepare()
    monkeypatch.setattr(module, "run_tool", complete)
    kafka.prepare()
    kafka.prepare()
    assert len(commands) == 2
    assert commands[1][:5] == [
        "/opt/java",
        "-Xmx128m",
        "-cp",
        "/opt/jars/*",
        "kafka.tools.StorageTool",
    ]


def test_a_cluster_id_never_begins_with_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    dash = uuid.UUID(bytes=b"\xf8" + bytes(15))
    good = uuid.UUID(bytes=bytes(16))
    ids = iter([dash, dash, good])
    monkeypatch.setattr(uuid, "uuid4", lambda: next(ids))
    assert module._new_cluster_id() == "A" * 22
    assert next(ids, None) is None


def test_the_command_keeps_the_heap_small(kafka: Kafka) -> None:
    command = list(kafka.command())
    assert command[0] == "/opt/java"
    assert "-Xmx768m" in command
    assert command[-2:] == ["kafka.Kafka", str(kafka.properties)]


def test_a_cluster_that_does_not_answer_has_no_brokers(capfd: pytest.CaptureFixture[str]) -> None:
    assert brokers({"bootstrap.servers": "127.0.0.1:1"}, timeout=0.2) == []
    assert brokers({"bootstrap.servers": "127.0.0.1:1", "no.such.property": "1"}, timeout=0.2) == []
    output = capfd.readouterr()
    assert output.err + output.out == ""


def test_a_broker_that_does_not_listen_is_not_ready(tmp_path: Path) -> None:
    assert not Kafka(home=tmp_path, port=1, controller_port=2).is_ready(current_process())

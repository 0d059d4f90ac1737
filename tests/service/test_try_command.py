"""`freshet try` at a real Kafka, with nothing else: no database, no Temporal server, and nothing is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from tests.support.commands import CommandLine
from workers.config.file import parse

GROUP = "freshet-look"


@pytest.fixture
def freshet(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kafka_bootstrap: str,
) -> CommandLine:
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", kafka_bootstrap)
    return CommandLine(tmp_path, monkeypatch, capsys)


def write(bootstrap: str, topic: str, *values: Any, partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in values:
        sent = value if isinstance(value, bytes) else json.dumps(value).encode()
        key = str(value.get("nr")) if isinstance(value, dict) else None
        producer.produce(topic, sent, key, partition=partition)
    assert producer.flush(30) == 0


def test_a_topic_of_ones_own_is_tried(
    freshet: CommandLine, kafka_bootstrap: str, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = make_topic(3)
    pages = [{"nr": number, "title": f"T\x1b[2J{number}", "body": "Words."} for number in range(9)]
    write(kafka_bootstrap, topic, *pages[:6])
    write(kafka_bootstrap, topic, *pages[6:], partition=2)

    shown = freshet("try", "--topic", topic)
    assert shown.code == 0, shown.stderr
    assert "format: json, 9 of 9 records" in shown.stdout
    assert "9 upsert; nothing was written" in shown.stderr
    assert "\x1b" not in shown.stdout

    written = freshet("try", "--topic", topic, "--toml")
    assert written.code == 0
    [spec] = parse(written.stdout).sources
    assert (spec.format, spec.mapping.id, spec.mapping.content) == ("json", "nr", "body")

    # The last of each partition, as far as it has some.
    newest = json.loads(freshet("try", "--topic", topic, "--count", "4", "--json").stdout)
    places = [(row["partition"], row["offset"]) for row in newest["records"]]
    assert places == [(0, 4), (0, 5), (2, 1), (2, 2)]
    first = freshet(
        "try", "--topic", topic, "--offset", "1", "--partition", "2", "-n", "1", "--json"
    )
    assert [row["document_id"] for row in json.loads(first.stdout)["records"]] == ["7"]

    # By a source of a file; one record has not what it needs.
    (tmp_path / "f.toml").write_text(written.stdout.replace('"body"', '"title"'), encoding="utf-8")
    write(kafka_bootstrap, topic, {"nr": 10})
    by_file = freshet("try", "--topic", topic, "--config", "f.toml", "--json")
    answer = json.loads(by_file.stdout)
    assert (by_file.code, answer["source"]) == (1, topic)
    assert answer["counts"]["dead letter"] == 1
    [refused] = [row for row in answer["records"] if row["outcome"] == "dead letter"]
    assert (refused["document_id"], refused["reason"]) == ("10", "invalid_field")
    assert "the record has no title" in refused["detail"]

    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    groups = admin.list_consumer_groups().result(30).valid
    assert GROUP not in [group.group_id for group in groups]


def test_a_truncated_table_is_named(
    freshet: CommandLine, kafka_bootstrap: str, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    source = {"connector": "postgresql", "lsn": 7, "ts_ms": 1}
    write(kafka_bootstrap, topic, {"op": "t", "before": None, "after": None, "source": source})
    done = freshet("try", "--topic", topic, "--json")
    assert done.code == 1
    assert json.loads(done.stdout)["counts"]["halts"] == 1


def test_what_no_source_can_read_is_said(
    freshet: CommandLine, kafka_bootstrap: str, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    write(kafka_bootstrap, topic, b"Obj\x01\x04\x16avro.schema")
    done = freshet("try", "--topic", topic)
    assert (done.code, "an Avro file" in done.stdout) == (1, True)
    assert freshet("try", "--topic", topic, "--toml").stdout == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "is empty: write a record to it"),
        (("--partition", "5"), "has 1 partitions; there is no 5"),
        (("--source", "wiki"), "no address of PostgreSQL"),
    ],
)
def test_what_cannot_be_tried_is_one_line(
    freshet: CommandLine,
    kafka_bootstrap: str,
    make_topic: Callable[..., str],
    words: tuple[str, ...],
    message: str,
) -> None:
    topic = make_topic()
    if "--source" in words:
        write(kafka_bootstrap, topic, {"nr": 1, "body": "Words."})
    done = freshet("try", "--topic", topic, *words)
    assert done.code in (2, 3)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_topic_that_is_missing_is_named_with_similar_ones(
    freshet: CommandLine, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    done = freshet("try", "--topic", f"{topic}s")
    assert done.code == 2
    assert f"there is no topic '{topic}s'" in done.stderr
    assert topic in done.stderr.partition("similar ones: ")[2]


def test_a_kafka_that_does_not_answer_is_one_line(freshet: CommandLine) -> None:
    done = freshet("try", "--topic", "t", FRESHET_KAFKA_BOOTSTRAP="127.0.0.1:1")
    assert (done.code, done.stderr.count("\n")) == (3, 1), done.stderr

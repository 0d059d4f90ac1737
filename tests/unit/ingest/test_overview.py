"""The overview of sources without servers: lag by partition, missing topics, a Kafka that does not answer."""

from datetime import datetime
from typing import Any

import pytest

from corpus.locks import StillSession
from corpus.source import SourceSpec
from ingest.kafka import PartitionKey
from ingest.overview import overview
from tests.support.fake_database import FakeConnection
from tests.support.fake_kafka import FakeCluster
from tests.support.readers import make_position


def shown(
    *positions: Any, kafka: FakeCluster | None = None, sources: tuple[str, ...] = ("s",)
) -> list[dict[str, Any]]:
    rows = [
        {
            "source": name,
            "spec": SourceSpec(source=name, topics=("t", "u")).to_json(),
            "documents": 3,
        }
        for name in sources
    ]
    database: Any = FakeConnection(source_overview=rows, positions_of_sources=list(positions))
    cluster: Any = kafka or FakeCluster({"t": 2, "u": 1}, {("t", 1): (0, 0)})
    return overview(database, cluster)


def test_lag_counts_from_the_position_or_from_the_oldest_record() -> None:
    (row,) = shown(make_position(13))
    topic, other = row["topics"]
    assert topic["partitions"] == [
        {"partition": 0, "next_offset": 13, "end_offset": 20, "lag": 7},
        {"partition": 1, "next_offset": None, "end_offset": 0, "lag": 0},
    ]
    assert (topic["lag"], other["lag"], row["lag"], row["kafka"]) == (7, 10, 17, None)
    assert (row["documents"], "spec" in row) == (3, False)


@pytest.mark.parametrize("offset", [20, 25, 2**60])
def test_a_position_at_or_beyond_the_end_has_no_lag(offset: int) -> None:
    (row,) = shown(make_position(offset))
    assert row["topics"][0]["lag"] == 0


def test_sources_of_one_topic_have_their_own_lag() -> None:
    rows = shown(make_position(13), make_position(19, source="other"), sources=("s", "other"))
    assert [row["topics"][0]["lag"] for row in rows] == [7, 1]


def test_a_missing_topic_is_named_and_the_others_are_counted() -> None:
    (row,) = shown(make_position(13), kafka=FakeCluster({"u": 1}))
    assert row["topics"][0] == {"topic": "t", "missing": True, "lag": None, "partitions": []}
    assert row["lag"] == 10


def test_without_an_answer_of_kafka_the_positions_are_shown_and_no_lag() -> None:
    kafka = FakeCluster({"t": 2, "u": 1})
    kafka.down = True
    (row,) = shown(make_position(5, partition=1), make_position(13), kafka=kafka)
    assert (row["lag"], row["kafka"]) == (None, "Kafka is down")
    assert row["topics"][0] == {
        "topic": "t",
        "missing": False,
        "lag": None,
        "partitions": [
            {"partition": 0, "next_offset": 13, "end_offset": None, "lag": None},
            {"partition": 1, "next_offset": 5, "end_offset": None, "lag": None},
        ],
    }


def test_no_source_asks_nothing_of_kafka() -> None:
    assert shown(sources=()) == []


def test_what_holds_up_a_source_is_in_its_row_and_in_no_other() -> None:
    still = StillSession(pid=7, application="storer", since=datetime(2026, 11, 26), sources=["s"])
    rows = [
        {"source": name, "spec": SourceSpec(source=name, topics=("t",)).to_json()}
        for name in ("s", "other")
    ]
    database: Any = FakeConnection(source_overview=rows, still_sessions=[still])
    cluster: Any = FakeCluster({"t": 1})
    first, second = overview(database, cluster)
    assert first["held_up_by"] == [still.describe()]
    assert second["held_up_by"] == []


def test_what_keeps_a_source_from_being_read_is_named() -> None:
    kafka = FakeCluster({"t": 2, "u": 1})
    kafka.leaderless.add(PartitionKey("t", 1))
    kafka.cannot_describe.add("u")
    (row,) = shown(make_position(13), kafka=kafka)
    assert row["problems"] == [
        "asking offsets of t/1 failed: no leader",
        "describing topic u failed",
    ]
    assert (row["lag"], row["kafka"]) == (7, None)


def test_a_source_that_cannot_be_read_is_shown_with_the_others() -> None:
    rows: list[dict[str, Any]] = [
        {
            "source": "newer",
            "spec": {"source": "newer", "topics": ["t"], "version_rule": "content"},
        },
        {"source": "s", "spec": SourceSpec(source="s", topics=("t",)).to_json()},
    ]
    database: Any = FakeConnection(source_overview=rows, positions_of_sources=[make_position(13)])
    cluster: Any = FakeCluster({"t": 1})
    newer, readable = overview(database, cluster)
    assert (newer["topics"], newer["lag"]) == ([], None)
    assert "'content' is not a valid VersionRule" in newer["problems"][0]
    assert (readable["lag"], readable["problems"]) == (7, [])

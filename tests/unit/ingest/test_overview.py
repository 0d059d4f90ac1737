"""The overview of sources without servers: lag by partition, missing topics, a Kafka that does not answer."""

from datetime import datetime
from typing import Any

import pytest

from corpus.errors import DependencyError
from corpus.locks import StillSession
from corpus.source import SourceSpec
from ingest.condition import origins_awaited
from ingest.kafka import PartitionKey
from ingest.overview import _Prepared, overview
from tests.support.fake_database import FakeConnection
from tests.support.fake_kafka import FakeCluster
from tests.support.readers import make_position

ACTIVE = {
    "state": "active",
    "state_reason": None,
    "published_seconds_ago": None,
    "documents_deleted": 0,
    "deletes_without_document": 0,
    "waiting_documents": 0,
    "waiting_seconds": None,
    "waiting_hosts": [],
}


def shown(
    *positions: Any, kafka: FakeCluster | None = None, sources: tuple[str, ...] = ("s",)
) -> list[dict[str, Any]]:
    rows = [
        {
            "source": name,
            "spec": SourceSpec(source=name, topics=("t", "u")).to_json(),
            "documents": 3,
            **ACTIVE,
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
        {"source": name, "spec": SourceSpec(source=name, topics=("t",)).to_json(), **ACTIVE}
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
            **ACTIVE,
        },
        {"source": "s", "spec": SourceSpec(source="s", topics=("t",)).to_json(), **ACTIVE},
    ]
    database: Any = FakeConnection(source_overview=rows, positions_of_sources=[make_position(13)])
    cluster: Any = FakeCluster({"t": 1})
    newer, readable = overview(database, cluster)
    assert (newer["topics"], newer["lag"]) == ([], None)
    assert "'content' is not a valid VersionRule" in newer["problems"][0]
    assert (readable["lag"], readable["problems"]) == (7, [])


# ── conditions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def condition(
    position: Any, *, seconds_ago: float | None, kafka: FakeCluster | None = None, **row: Any
) -> tuple[str, str]:
    """Of a source with one topic of one partition, whose log has the offsets 10 to 19."""
    stored = SourceSpec(source="s", topics=("t",)).to_json()
    columns = {"source": "s", "spec": stored, **ACTIVE, "published_seconds_ago": seconds_ago, **row}
    database: Any = FakeConnection(source_overview=[columns], positions_of_sources=[position])
    cluster: Any = kafka or FakeCluster({"t": 1})
    (shown_row,) = overview(database, cluster)
    assert "published_seconds_ago" not in shown_row
    return shown_row["condition"], shown_row["why"]


@pytest.mark.parametrize("seconds_ago", [None, 5.0, 1e6])
def test_a_source_without_lag_is_active_however_old_its_newest_batch_is(
    seconds_ago: float | None,
) -> None:
    assert condition(make_position(20), seconds_ago=seconds_ago) == ("active", "")


def test_old_records_and_nothing_published_for_a_minute_is_stuck() -> None:
    name, why = condition(make_position(13), seconds_ago=75)
    assert name == "stuck"
    assert why == "records that wait: 7 (in t/0 for more than 60 s); nothing was published in 75 s"


def test_a_source_that_has_never_published_is_stuck_too() -> None:
    assert condition(make_position(13), seconds_ago=None) == (
        "stuck",
        "records that wait: 7 (in t/0 for more than 60 s); nothing was published ever",
    )


def test_a_source_that_publishes_is_behind() -> None:
    assert condition(make_position(13), seconds_ago=59) == ("behind", "")


def test_records_that_have_just_come_are_behind() -> None:
    kafka = FakeCluster({"t": 1})
    kafka.recent_from[PartitionKey("t", 0)] = 13
    assert condition(make_position(13), seconds_ago=1e6, kafka=kafka) == ("behind", "")


def test_the_marker_of_a_transaction_is_not_waited_for() -> None:
    kafka = FakeCluster({"t": 1})
    kafka.only_holes.add(PartitionKey("t", 0))
    assert condition(make_position(19), seconds_ago=1e6, kafka=kafka) == ("active", "")


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (make_position(15, topic_id="old"), "the topic was recreated"),
        (make_position(15, cluster_id="other"), "belongs to Kafka cluster other, this one is c"),
        (make_position(5), "5 offsets from 5 to 9 were removed"),
        (make_position(25), "position 25 is beyond the end of the log, 20: the log was truncated"),
    ],
)
def test_a_position_that_is_not_in_the_log_is_stuck_also_without_lag(
    position: Any, reason: str
) -> None:
    name, why = condition(position, seconds_ago=1)
    assert name == "stuck"
    assert reason in why
    assert "--skip-gap" in why


def test_without_kafka_nobody_says_that_all_is_well() -> None:
    kafka = FakeCluster({"t": 1})
    kafka.down = True
    name, why = condition(make_position(20), seconds_ago=1, kafka=kafka)
    assert (name, why) == ("stuck", "the lag is not known: Kafka is down")


def test_a_missing_topic_is_stuck() -> None:
    name, why = condition(make_position(20), seconds_ago=1, kafka=FakeCluster({"u": 1}))
    assert (name, why) == ("stuck", "topic t is missing; `freshet apply` creates it")


@pytest.mark.parametrize("state", ["halted", "paused", "retired"])
def test_what_a_person_or_a_gap_has_stopped_keeps_its_own_word(state: str) -> None:
    found = condition(make_position(13), seconds_ago=1e6, state=state, state_reason="a reason")
    assert found == (state, "a reason")


def test_documents_that_were_prepared_otherwise_are_counted() -> None:
    current = SourceSpec(source="s", topics=("t",)).pipeline.fingerprint()
    prepared = [("s", current, 7), ("s", "older", 4), ("s", "other", 1), ("gone", "older", 9)]
    database: Any = FakeConnection(
        source_overview=[
            {"source": "s", "spec": SourceSpec(source="s", topics=("t",)).to_json(), **ACTIVE},
            {"source": "broken", "spec": {"source": "broken"}, **ACTIVE},
        ],
        preparations=[_Prepared(source=a, pipeline=b, documents=c) for a, b, c in prepared],
    )
    cluster: Any = FakeCluster({"t": 1})
    rows = overview(database, cluster)
    assert [row["prepared_otherwise"] for row in rows] == [5, None]


def test_a_topic_that_the_source_reads_no_more_says_nothing() -> None:
    """Another source reads it, so that its log is known."""
    positions = [make_position(20), make_position(5, source="u"), make_position(15, source="u")]
    rows = [
        {"source": name, "spec": SourceSpec(source=name, topics=(topic,)).to_json(), **ACTIVE}
        for name, topic in (("s", "t"), ("u", "v"))
    ]
    database: Any = FakeConnection(source_overview=rows, positions_of_sources=positions)
    cluster: Any = FakeCluster({"t": 1, "v": 1}, {("v", 0): (0, 0)})
    found = {row["source"]: row["condition"] for row in overview(database, cluster)}
    assert found == {"s": "active", "u": "active"}


def test_one_partition_that_refuses_concerns_no_source_without_lag(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> Any:
        raise DependencyError("no leader")

    kafka = FakeCluster({"t": 1, "u": 1}, {("u", 0): (0, 0)})
    monkeypatch.setattr(kafka, "offsets_since", refuse)
    rows = [
        {"source": name, "spec": SourceSpec(source=name, topics=(topic,)).to_json(), **ACTIVE}
        for name, topic in (("s", "t"), ("x", "u"))
    ]
    database: Any = FakeConnection(source_overview=rows, positions_of_sources=[make_position(13)])
    cluster: Any = kafka
    found = {row["source"]: row["condition"] for row in overview(database, cluster)}
    assert found == {"s": "stuck", "x": "active"}


def test_documents_that_wait_for_their_origin_are_named() -> None:
    waiting = {
        "waiting_documents": 7,
        "waiting_seconds": 61.0,
        "waiting_hosts": ["a.example", "b.example", "c.example", "d.example"],
    }
    said = origins_awaited(waiting)
    assert said.startswith("7 documents wait for their origin (a.example, b.example")
    assert "61 s" in said
    assert origins_awaited({**waiting, "waiting_documents": 0}) == ""

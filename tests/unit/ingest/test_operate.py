"""What an operator can do with a source, without servers: pause, resume, accept a gap."""

from typing import Any

import pytest

from corpus.errors import ConfigurationError, DependencyError
from corpus.source import SourceSpec
from ingest.operate import ConfiguredSource, pause, resume, skip_gaps
from tests.support.fake_database import FakeConnection
from tests.support.fake_kafka import FakeCluster
from tests.support.readers import make_position


def configured(state: str = "active", reason: str | None = None) -> ConfiguredSource:
    spec = SourceSpec(source="s", topics=("t", "u"))
    return ConfiguredSource(
        source="s", spec=spec.to_json(), revision=1, state=state, state_reason=reason
    )


def database(**answers: Any) -> Any:
    def named(asked: Any) -> list[ConfiguredSource]:
        return [configured()] if "s" in asked["sources"] else []

    return FakeConnection(**{"sources_named": named, "skip_gap": 1, **answers})


@pytest.mark.parametrize(
    "act", [lambda at: pause(at, "s", "why"), lambda at: resume(at, "s")], ids=["pause", "resume"]
)
def test_a_source_in_another_state_is_refused_with_the_reason(act: Any) -> None:
    at = database(
        pause_source=0,
        resume_source=0,
        sources_named=[configured("retired", "no longer configured")],
    )
    with pytest.raises(
        ConfigurationError, match=r"'s' cannot be .*: it is retired \(no longer configured\)"
    ):
        act(at)


def test_pausing_stores_the_reason() -> None:
    at = database(pause_source=1)
    pause(at, "s", "maintenance")
    assert at.arguments_of("pause_source") == [{"source": "s", "reason": "maintenance"}]


@pytest.mark.parametrize(
    "act",
    [
        lambda at: pause(at, "nope", ""),
        lambda at: resume(at, "nope"),
        lambda at: skip_gaps(at, cluster(), "nope"),
    ],
    ids=["pause", "resume", "skip"],
)
def test_a_source_that_does_not_exist_is_named(act: Any) -> None:
    with pytest.raises(ConfigurationError, match="there is no source 'nope'"):
        act(database(pause_source=0, resume_source=0))


def cluster(**bounds: tuple[int, int]) -> Any:
    return FakeCluster({"t": 2, "u": 1}, {("t", 0): bounds.get("t0", (10, 20))})


def skipped(*positions: Any, at: Any = None, kafka: Any = None) -> list[tuple[str, int, int, int]]:
    at = at or database()
    at.answers["positions_of_sources"] = list(positions)
    gaps = skip_gaps(at, kafka or cluster(), "s")
    return [(gap.topic, gap.partition, gap.was, gap.is_now) for gap in gaps]


def test_a_position_that_can_be_read_is_not_moved() -> None:
    at = database()
    assert skipped(make_position(10), make_position(20, partition=1), at=at) == []
    assert at.arguments_of("skip_gap") == []


@pytest.mark.parametrize(
    "position",
    [
        make_position(4),
        make_position(21),
        make_position(15, topic_id="older"),
        make_position(15, cluster_id="older"),
    ],
    ids=["removed", "truncated", "recreated", "another cluster"],
)
def test_a_gap_moves_the_position_to_the_oldest_record(position: Any) -> None:
    at = database()
    assert skipped(position, at=at) == [("t", 0, position.next_offset, 10)]
    (arguments,) = at.arguments_of("skip_gap")
    assert (arguments["was"], arguments["was_topic_id"]) == (
        position.next_offset,
        position.topic_id,
    )
    assert (arguments["cluster_id"], arguments["topic_id"], arguments["next_offset"]) == (
        "c",
        "id",
        10,
    )


def test_only_partitions_in_a_gap_are_moved() -> None:
    assert skipped(make_position(4), make_position(12, partition=1)) == [("t", 0, 4, 10)]


def test_partitions_and_topics_that_do_not_exist_any_more_are_left_alone() -> None:
    kafka = cluster()
    assert skipped(make_position(4, partition=7), kafka=kafka) == []
    del kafka.counts["t"]
    assert skipped(make_position(4), kafka=kafka) == []
    assert kafka.asked == []


def test_a_topic_that_the_source_does_not_read_any_more_is_left_alone() -> None:
    at = database(
        sources_named=[
            ConfiguredSource(
                source="s",
                spec=SourceSpec(source="s", topics=("u",)).to_json(),
                revision=2,
                state="halted",
                state_reason=None,
            )
        ]
    )
    assert skipped(make_position(4), at=at) == []


def test_a_position_that_moves_meanwhile_is_not_overwritten() -> None:
    with pytest.raises(DependencyError, match="the position of s in t/0 moved meanwhile"):
        skipped(make_position(4), at=database(skip_gap=0))


def test_no_position_is_moved_while_kafka_does_not_answer() -> None:
    at, kafka = database(), cluster()
    kafka.down = True
    with pytest.raises(DependencyError):
        skipped(make_position(4), at=at, kafka=kafka)
    assert at.arguments_of("skip_gap") == []

"""From where sources read, on a database and a cluster that follow a script."""

from collections import deque
from typing import Any

import psycopg
import pytest

from corpus.errors import DependencyError
from corpus.source import SourceSpec
from ingest.consume.positions import Positions, partition_logs
from ingest.kafka import PartitionKey
from tests.support.fake_database import FakeConnection
from tests.support.fake_kafka import FakeCluster
from tests.support.readers import KEY, make_position, make_source

OTHER = PartitionKey("t", 1)


def positions(cluster: Any = None, **answers: Any) -> tuple[Positions, FakeConnection]:
    database: Any = FakeConnection(**answers)
    return Positions(database, cluster or FakeCluster({"t": 2})), database


def wanted(*names: str) -> Any:
    return {KEY: {name: make_source(name) for name in names}}


def test_a_known_source_starts_at_its_row_and_nothing_is_written() -> None:
    asked, database = positions(positions_of_sources=[make_position(15)])
    starts = asked.read(wanted("s"))
    assert starts[KEY].positions["s"].next_offset == 15
    assert (starts[KEY].log.first_offset, starts[KEY].log.next_offset) == (10, 20)
    assert database.arguments_of("begin_position") == []


def test_a_new_source_gets_a_row_at_the_oldest_record_before_anything_is_read() -> None:
    answers = deque([[], [make_position(10)]])
    asked, database = positions(positions_of_sources=answers)
    starts = asked.read(wanted("s"))
    (row,) = database.arguments_of("begin_position")
    assert (row["source"], row["topic"], row["partition"], row["next_offset"]) == ("s", "t", 0, 10)
    assert starts[KEY].positions["s"].next_offset == 10


def test_a_row_that_another_process_wrote_meanwhile_decides() -> None:
    answers = deque([[], [make_position(17)]])
    asked, _ = positions(positions_of_sources=answers)
    assert asked.read(wanted("s"))[KEY].positions["s"].next_offset == 17


def test_only_the_sources_without_a_row_get_one() -> None:
    answers = deque([[make_position(15)], []])
    asked, database = positions(positions_of_sources=answers)
    asked.read(wanted("s", "new"))
    assert [row["source"] for row in database.arguments_of("begin_position")] == ["new"]


def test_rows_of_other_partitions_and_topics_are_left_out() -> None:
    rows = [make_position(15), make_position(5, partition=1)]
    asked, _ = positions(positions_of_sources=rows)
    assert asked.read(wanted("s")).keys() == {KEY}


def test_a_topic_that_is_missing_has_no_start_and_gets_no_row() -> None:
    asked, database = positions(FakeCluster({}))
    assert asked.read(wanted("s")) == {}
    assert database.arguments_of("begin_position") == []


def test_a_partition_that_is_gone_does_not_hold_up_the_others() -> None:
    cluster: Any = FakeCluster({"t": 1})  # recreated with one partition
    assert partition_logs(cluster, [KEY, OTHER]).keys() == {KEY}


def test_the_positions_are_read_before_the_log() -> None:
    """A position that moves in between must not look as if it were beyond the end of the log."""
    cluster = FakeCluster({"t": 2})
    order: list[str] = []
    describe = cluster.describe

    def noted(names: Any) -> Any:
        order.append("log")
        return describe(names)

    cluster.describe = noted  # type: ignore[method-assign]
    asked, _ = positions(
        cluster, positions_of_sources=lambda _: order.append("rows") or [make_position(15)]
    )
    asked.read(wanted("s"))
    assert order == ["rows", "log"]


def test_active_sources_come_with_their_epoch() -> None:
    spec = SourceSpec(source="s", topics=("t",))
    asked, _ = positions(sources_active=[{"source": "s", "spec": spec.to_json(), "epoch": 3}])
    (active,) = asked.active_sources()
    assert (active.spec, active.epoch) == (spec, 3)


@pytest.mark.parametrize(("changed", "halted"), [(1, True), (0, False)])
def test_halting_says_whether_the_source_was_still_active(changed: int, *, halted: bool) -> None:
    asked, database = positions(halt_source=changed)
    assert asked.halt("s", 4, "a gap") is halted
    assert database.arguments_of("halt_source") == [{"source": "s", "epoch": 4, "reason": "a gap"}]


@pytest.mark.parametrize("query", ["sources_active", "positions_of_sources", "halt_source"])
def test_a_database_that_is_away_is_a_dependency_error(query: str) -> None:
    asked, _ = positions(**{query: psycopg.OperationalError("gone")})
    with pytest.raises(DependencyError):
        asked.active_sources()
        asked.of_sources(["s"])
        asked.halt("s", 0, "")


def test_topics_have_ids_and_the_cluster_is_asked_again_after_forgetting() -> None:
    cluster = FakeCluster({"t": 2})
    asked, _ = positions(cluster)
    assert asked.topic_ids(["t", "missing"]) == {"t": "id"}
    asked.forget_cluster_id()
    assert cluster.cluster_id() == "another"

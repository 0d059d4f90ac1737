"""The plan of preparing a source again, without servers."""

from typing import Any

import pytest

from corpus.errors import ConfigurationError
from ingest.prepare_again import PreparedOtherwise, ReadAgain, carry_out, make_plan
from tests.support.fake_database import FakeConnection
from tests.support.readers import make_position


def otherwise(**values: Any) -> PreparedOtherwise:
    row = {
        "topic": "t",
        "partition": 0,
        "is_older_version": True,
        "is_in_log": True,
        "documents": 3,
        "chunks": 7,
        "first_offset": 5,
        "example": "a",
    }
    return PreparedOtherwise(**(row | values))


def lines_of(*rows: PreparedOtherwise, offset: int = 20) -> list[str]:
    return make_plan("s", "now", rows, [make_position(offset)]).lines()


def test_where_everything_is_prepared_so_there_is_nothing_to_do() -> None:
    plan = make_plan("s", "now", [], [make_position(20)])
    assert (plan.documents, plan.partitions) == (0, ())
    assert plan.lines() == ["every document is prepared as it would be now"]


def test_positions_go_back_to_the_oldest_record_of_such_a_document() -> None:
    rows = [otherwise(), otherwise(is_older_version=False, documents=2, chunks=2, first_offset=3)]
    plan = make_plan("s", "now", rows, [make_position(20)])
    (partition,) = plan.partitions
    assert (partition.first_offset, partition.next_offset, plan.records) == (3, 20, 17)
    assert (plan.documents, plan.of_older_version, plan.chunks) == (5, 3, 9)
    assert plan.lines() == [
        "5 documents were prepared otherwise: 3 by an older version, 2 with other settings",
        "17 records are read again; newer ones of the source wait for them",
        "5 documents with 9 chunks are prepared again; about as many texts are embedded at most, "
        "and none that stays the same",
    ]


def test_a_partition_without_such_a_document_is_not_read_again() -> None:
    positions = [make_position(20), make_position(30, partition=1)]
    plan = make_plan("s", "now", [otherwise()], positions)
    assert [partition.partition for partition in plan.partitions] == [0]


def test_what_kafka_has_no_more_is_named_and_moves_nothing() -> None:
    gone = otherwise(is_in_log=False, example="lost")
    lines = lines_of(gone)
    assert lines[1:] == [
        "3 of them stay as they are: Kafka no longer has their records, for example that of 'lost'; send them again"
    ]
    plan = make_plan("s", "now", [gone, otherwise(topic=None, partition=None, is_in_log=False)], [])
    assert (plan.gone, plan.reachable, plan.partitions) == (6, 0, ())


def test_what_is_read_again_already_moves_nothing() -> None:
    assert lines_of(otherwise(), offset=4)[1:] == [
        "the records of 3 documents are read again already; `freshet sources` has the lag"
    ]


def test_the_plan_is_what_is_executed() -> None:
    database: Any = FakeConnection(ask_to_prepare_again=1, move_position_back=1)
    carry_out(database, make_plan("s", "now", [otherwise()], [make_position(20)]))
    assert database.executed == [
        ("ask_to_prepare_again", {"source": "s", "preparation": "now"}),
        (
            "move_position_back",
            {"source": "s", "topic": "t", "partition": 0, "topic_id": "id", "first_offset": 5},
        ),
    ]


def test_a_source_that_was_retired_meanwhile_is_refused() -> None:
    database: Any = FakeConnection(ask_to_prepare_again=0)
    plan = make_plan("s", "now", [otherwise()], [make_position(20)])
    with pytest.raises(ConfigurationError, match="there is no source 's'"):
        carry_out(database, plan)


def test_records_of_a_partition_are_counted_between_its_offsets() -> None:
    partition = ReadAgain(topic="t", partition=0, topic_id="id", first_offset=4, next_offset=9)
    assert partition.records == 5

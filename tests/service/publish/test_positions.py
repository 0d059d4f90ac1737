"""The position moves with the effects: what is applied is left out, what is missing is an error."""

from dataclasses import replace

import psycopg
import pytest

from corpus.answer.await_fresh import current_outcome
from corpus.errors import (
    PositionGapError,
    StalePreparationError,
)
from corpus.service import AwaitFreshRequest, WaitOutcome
from corpus.sql import query
from tests.support.pipeline import Pipeline, make_event, tombstone


def test_what_was_applied_already_is_trimmed(pipeline: Pipeline) -> None:
    records = pipeline.records(
        [make_event("a", 1, "one"), make_event("b", 1, "one"), make_event("c", 1, "one")]
    )
    pipeline.run(pipeline.stage(records[:2]))
    report = pipeline.run(pipeline.stage(records))  # a consumer read again from an older position
    assert (report.records, report.applied) == (1, 1)
    assert pipeline.position(0) == 3
    assert (
        pipeline.run(pipeline.stage(records)).published_at_ms == 0
    )  # nothing left of it: no batch in the ledger
    rows = pipeline.connection.execute(
        "SELECT first_offset, next_offset, records FROM freshet.batch_range ORDER BY 1"
    ).fetchall()
    assert rows == [(0, 2, 2), (2, 3, 1)]


def test_what_another_batch_applied_since_is_folded_anew(pipeline: Pipeline) -> None:
    """Two batches in flight overlap (a consumer was replaced), and a document's events lie in two partitions."""
    first = pipeline.stage(
        pipeline.records([tombstone("a"), make_event("c", 5, "five")], partition=0)
    )
    second = pipeline.stage(
        pipeline.records([make_event("a", 5, "five"), make_event("b", 1, "one")], partition=1)
    )
    number = 9
    prepared = pipeline.prepare([first, second], number)
    pipeline.embed(prepared)
    pipeline.run(second)
    with pytest.raises(
        StalePreparationError, match="s/1 is at offset 2, the prepared batch begins at 0"
    ):
        pipeline.publish([first, second], prepared, number)
    report = pipeline.run(first, second)
    assert (report.records, report.applied) == (2, 2)
    assert pipeline.visible() == {"b": (1, "one"), "c": (5, "five")}


def test_a_gap_is_an_error_and_changes_nothing(pipeline: Pipeline) -> None:
    records = pipeline.records([make_event("a", 1, "one"), make_event("b", 1, "one")])
    with pytest.raises(PositionGapError, match="offsets 0 to 0 are missing"):
        pipeline.run(pipeline.stage(records[1:]))
    assert pipeline.visible() == {}
    assert pipeline.position(0) == 0


def test_holes_that_kafka_leaves_are_counted_apart(pipeline: Pipeline) -> None:
    [record] = pipeline.records([make_event("a", 1, "one")])
    pipeline.run(pipeline.stage([replace(record, offset=4)], first_offset=0))
    assert pipeline.connection.execute(
        "SELECT records, absent FROM freshet.batch_range"
    ).fetchall() == [(1, 4)]
    assert pipeline.position(0) == 5


def test_what_was_prepared_before_a_failover_skips_nothing(pipeline: Pipeline) -> None:
    """A repeated reference is prepared as applied already; then a standby without the last transactions takes over."""
    ref = pipeline.stage(pipeline.records([make_event("a", 1, "one"), make_event("b", 1, "two")]))
    pipeline.run(ref)
    number = pipeline.number()
    again = pipeline.prepare([ref], number)
    for table in ("chunk", "document", "batch_range", "batch"):
        pipeline.connection.execute(f"DELETE FROM freshet.{table}".encode())
    pipeline.connection.execute("UPDATE freshet.source_position SET next_offset = 0")
    pipeline.connection.execute("UPDATE freshet.source SET last_batch = 0")
    with pytest.raises(
        StalePreparationError, match="s/0 is at offset 0, the prepared batch begins at 2"
    ):
        pipeline.publish([ref], again, number)
    assert pipeline.position(0) == 0


def test_rows_that_refer_to_a_source_do_not_wait_for_its_publisher(
    pipeline: Pipeline, database_url: str
) -> None:
    """A consumer writes a position row, a team subscribes, while a large batch is being published."""
    with (
        psycopg.connect(database_url) as publisher,
        psycopg.connect(database_url, autocommit=True) as other,
    ):
        publisher.execute(query("lock_source"), {"source": "s"})
        other.execute("SET lock_timeout = '300ms'")
        other.execute(
            "INSERT INTO freshet.source_position VALUES ('s', 'cluster', 's', 'topic-id', 7, 0)"
        )
        with pytest.raises(psycopg.errors.LockNotAvailable):  # another publisher does wait
            other.execute(query("lock_source"), {"source": "s"})


def test_a_wait_for_a_record_is_not_answered_by_an_older_topic_of_that_name(
    pipeline: Pipeline,
) -> None:
    wanted = AwaitFreshRequest(source="s", topic="s", partition=0, offset=1)
    pipeline.ingest(make_event("a", 1, "one"), b"not json")
    assert current_outcome(pipeline.connection, wanted).why is WaitOutcome.DEAD_LETTERED
    # The topic was made anew, the gap accepted.
    pipeline.connection.execute("UPDATE freshet.source_position SET next_offset = 0")
    pipeline.connection.execute("UPDATE freshet.source SET epoch = epoch + 1")
    pipeline.next_offset[0] = 0
    pipeline.ingest(make_event("c", 1, "one"), make_event("d", 1, "two"))
    assert current_outcome(pipeline.connection, wanted).reached

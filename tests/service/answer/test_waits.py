"""A wait is about the record that it names, and about now."""

from dataclasses import replace
from typing import Any

import pytest

from corpus.answer.await_fresh import current_outcome
from corpus.batch import OUTCOMES_KEPT_DAYS
from corpus.service import AwaitFreshRequest, AwaitFreshResponse
from ingest.event import KafkaRecord
from tests.support.pipeline import NOW_MS, Pipeline, make_event, tombstone, with_time

LONG_AGO = NOW_MS // 1000 - 10**9


def wait_for(pipeline: Pipeline, offset: int, partition: int = 0, **fields: Any) -> str:
    """How a wait for a record ends now."""
    record = {"topic": "s", "partition": partition, "offset": offset}
    return str(outcome(pipeline, **record, **fields).why)


def outcome(pipeline: Pipeline, **target: Any) -> AwaitFreshResponse:
    response = current_outcome(pipeline.connection, AwaitFreshRequest(source="s", **target))
    assert response.reached is (response.why in ("retrievable", "unchanged"))
    assert response.detail
    return response


# ── a record whose document changed since ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("since", "why"),
    [
        ([], ("retrievable", "unchanged")),
        ([make_event("a", 2, op="delete")], ("deleted", "deleted")),
        ([tombstone("a")], ("deleted", "deleted")),
        ([make_event("a", 2, "other")], ("superseded", "superseded")),
        (
            [make_event("a", 2, op="delete"), make_event("a", 3, "text")],
            ("superseded", "superseded"),
        ),
        ([make_event("b", 2, "other")], ("retrievable", "unchanged")),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_record_and_its_repetition_say_what_is_there_now(
    pipeline: Pipeline, since: list[Any], why: tuple[str, str]
) -> None:
    pipeline.ingest(make_event("a", 1, "text"))
    pipeline.ingest(make_event("a", 1, "text"))
    assert (wait_for(pipeline, 0), wait_for(pipeline, 1)) == ("retrievable", "unchanged")
    if since:
        pipeline.ingest(*since)
    assert (wait_for(pipeline, 0), wait_for(pipeline, 1)) == why
    assert ("a" in pipeline.visible()) is (why[0] != "deleted")


def test_a_record_whose_document_expired_since_and_came_back(pipeline: Pipeline) -> None:
    event = make_event("a", 1, "text", expires_at=LONG_AGO)
    pipeline.ingest(event)
    pipeline.ingest(event)
    pipeline.expire()
    assert pipeline.visible() == {}
    assert (wait_for(pipeline, 0), wait_for(pipeline, 1)) == ("expired", "expired")


def test_a_document_past_its_own_end_is_not_retrievable_before_it_is_withdrawn(
    pipeline: Pipeline,
) -> None:
    pipeline.ingest(make_event("a", 1, "text", expires_at=LONG_AGO))
    assert wait_for(pipeline, 0) == "expired"
    assert outcome(pipeline, document_id="a", version=1).why == "expired"


def test_the_record_of_a_version_that_expired_and_was_restored_by_another_record(
    pipeline: Pipeline,
) -> None:
    pipeline.ingest(make_event("a", 1, "text"))
    pipeline.expire(after_seconds=1)
    assert wait_for(pipeline, 0) == "expired"
    pipeline.expire(after_seconds=None)
    again = with_time(pipeline.records([make_event("a", 1, "text")])[0], NOW_MS + 10_000)
    assert pipeline.run(pipeline.stage([again])).applied == 1
    assert (wait_for(pipeline, 0), wait_for(pipeline, 1)) == ("retrievable", "retrievable")


def test_a_repetition_that_its_own_batch_outdates(pipeline: Pipeline) -> None:
    """Version 1 twice, then version 2: nothing of version 1 was ever visible."""
    pipeline.ingest(*(make_event("a", n, f"text {n}") for n in (1, 1, 2)))
    assert [wait_for(pipeline, offset) for offset in range(3)] == [
        "superseded",
        "superseded",
        "retrievable",
    ]


# ── records that wrote nothing ──────────────────────────────────────────────────────────────────────────────────────


def test_a_delete_of_what_was_never_there(pipeline: Pipeline) -> None:
    pipeline.ingest(tombstone("nobody"))
    assert wait_for(pipeline, 0) == "deleted"


def test_an_offset_that_is_a_hole(pipeline: Pipeline) -> None:
    """A transaction's marker or a compacted record: a range covers it, no record is there."""
    records = [
        *pipeline.records([make_event("a", 1, "one")], first_offset=0),
        *pipeline.records([make_event("b", 1, "two")], first_offset=5),
    ]
    pipeline.run(pipeline.stage(records))
    assert [wait_for(pipeline, offset) for offset in (0, 3, 5, 6)] == [
        "retrievable",
        "no_change",
        "retrievable",
        "timeout",
    ]
    assert "there is no record s/0@3" in outcome(pipeline, topic="s", partition=0, offset=3).detail


def test_a_batch_that_begins_with_holes(pipeline: Pipeline) -> None:
    """A transaction that was aborted: offsets are passed and no record came."""
    [record] = pipeline.records([make_event("a", 1, "one")])
    pipeline.run(pipeline.stage([replace(record, offset=8)], first_offset=0))
    assert {wait_for(pipeline, offset) for offset in range(8)} == {"no_change"}


def test_every_record_of_a_mixed_batch_has_its_own_outcome(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("old", 5, "five"))
    pipeline.ingest(
        make_event("new", 1, "one"),
        make_event("old", 3, "three"),
        make_event("old", 5, "five"),
        b"not json",
        make_event("old", 5, "another five"),
        make_event("new", 2, op="delete"),
    )
    assert [wait_for(pipeline, offset) for offset in range(1, 7)] == [
        "superseded",
        "superseded",
        "unchanged",
        "dead_lettered",
        "superseded",
        "deleted",
    ]


def test_the_delete_that_acted_among_partitions(pipeline: Pipeline) -> None:
    """The delete is in partition 0, an outdated upsert of the same document in partition 1."""
    pipeline.ingest(make_event("a", 5, "five"))
    first = pipeline.stage(pipeline.records([tombstone("a")], partition=0))
    second = pipeline.stage(pipeline.records([make_event("a", 3, "three")], partition=1))
    assert pipeline.run(first, second).documents_deleted == 1
    assert wait_for(pipeline, 1, 0) == "deleted"
    assert wait_for(pipeline, 0, 1) == "superseded"


# ── logs of a topic ─────────────────────────────────────────────────────────────────────────────────────────────────


def recreate_topic(pipeline: Pipeline, topic_id: str, next_offset: int = 0) -> None:
    """The topic was deleted and created again, and an operator accepted the gap."""
    pipeline.connection.execute(
        "UPDATE freshet.source_position SET topic_id = %s, next_offset = %s, newest_at = NULL",
        (topic_id, next_offset),
    )
    pipeline.connection.execute("UPDATE freshet.source SET epoch = epoch + 1")


def test_a_record_of_an_earlier_log_of_the_topic_is_not_that_of_the_present_one(
    pipeline: Pipeline,
) -> None:
    pipeline.ingest(make_event("a", 1, "one"), make_event("b", 1, "two"))
    recreate_topic(pipeline, "second")
    assert wait_for(pipeline, 1) == "timeout"
    recreate_topic(pipeline, "third", next_offset=2)
    assert wait_for(pipeline, 1) == "no_change"


def test_a_caller_who_knows_the_log_is_answered_about_that_log(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    assert wait_for(pipeline, 0, topic_id="topic-id") == "retrievable"
    assert wait_for(pipeline, 0, topic_id="of a topic that was made since") == "timeout"
    recreate_topic(pipeline, "second")
    assert wait_for(pipeline, 0, topic_id="topic-id") == "retrievable"
    assert wait_for(pipeline, 0, topic_id="second") == "timeout"


def test_what_was_read_again_with_other_cuts_counts(pipeline: Pipeline) -> None:
    """The position was moved back: the newest reading of an offset decides."""
    pipeline.ingest(make_event("a", 1, "one"))
    pipeline.ingest(b"not json")
    pipeline.ingest(make_event("c", 1, "three"))
    assert wait_for(pipeline, 1) == "dead_lettered"
    recreate_topic(pipeline, "topic-id")
    pipeline.next_offset[0] = 0
    pipeline.ingest(make_event("a", 1, "one"), make_event("b", 1, "two"))
    assert [wait_for(pipeline, offset) for offset in range(3)] == [
        "unchanged",
        "retrievable",
        "timeout",
    ]


# ── what is not kept ────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_became_of_records_is_swept_and_the_answer_says_so(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"), b"not json")
    pipeline.ingest(make_event("a", 1, "one"))
    pipeline.connection.execute(
        "UPDATE freshet.record_outcome SET published_at = now() - make_interval(days => %s)",
        (OUTCOMES_KEPT_DAYS + 1,),
    )
    pipeline.ingest(make_event("b", 1, "two"))
    kept = pipeline.connection.execute("SELECT batch FROM freshet.record_outcome").fetchall()
    assert kept == [(3,)]
    assert [wait_for(pipeline, offset) for offset in range(4)] == [
        "retrievable",
        "dead_lettered",
        "no_change",
        "retrievable",
    ]
    detail = outcome(pipeline, topic="s", partition=0, offset=2).detail
    assert f"keeps that for {OUTCOMES_KEPT_DAYS} days" in detail


def test_a_batch_of_before_outcomes_were_kept(pipeline: Pipeline) -> None:
    """An older version of Freshet published it: neither outcomes nor the log of its range are there."""
    pipeline.ingest(make_event("a", 1, "one"))
    pipeline.ingest(make_event("a", 1, "one"))
    pipeline.connection.execute("DELETE FROM freshet.record_outcome")
    pipeline.connection.execute("UPDATE freshet.batch_range SET topic_id = NULL")
    assert [wait_for(pipeline, offset) for offset in range(3)] == [
        "retrievable",
        "no_change",
        "timeout",
    ]


# ── a batch, a time ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_number_that_was_passed_over(pipeline: Pipeline) -> None:
    """Batch 2 fails, its records come as batch 3: there will never be a batch 2."""
    pipeline.ingest(make_event("a", 1, "one"))
    pipeline.number()
    assert outcome(pipeline, batch=2).why == "timeout"
    pipeline.ingest(make_event("a", 2, "two"))
    assert outcome(pipeline, batch=2).why == "not_published"
    assert outcome(pipeline, batch=3).why == "retrievable"
    assert outcome(pipeline, batch=4).why == "timeout"


def timed(document_id: str, timestamp_ms: int) -> KafkaRecord:
    return replace(tombstone(document_id), timestamp_ms=timestamp_ms)


def test_a_time_that_another_partition_has_not_reached(pipeline: Pipeline) -> None:
    early, late = 1_700_000_000_000, 1_700_000_100_000
    pipeline.position(1)
    waiting = pipeline.records([timed("early", early)], partition=0)
    pipeline.run(pipeline.stage(pipeline.records([timed("late", late)], partition=1)))
    between = outcome(pipeline, time_ms=early)
    assert (between.why, "no event of s/0 yet" in between.detail) == ("timeout", True)
    pipeline.run(pipeline.stage(waiting))
    assert outcome(pipeline, time_ms=early).why == "retrievable"
    assert outcome(pipeline, time_ms=early + 1).why == "timeout"
    pipeline.ingest(timed("early", late))
    assert outcome(pipeline, time_ms=late).why == "retrievable"


def test_a_time_in_the_future_of_a_producers_clock_reaches_nothing(pipeline: Pipeline) -> None:
    pipeline.ingest(timed("a", 4_000_000_000_000))
    assert outcome(pipeline, time_ms=3_000_000_000_000).why == "timeout"


def test_a_topic_that_the_source_no_longer_reads_holds_up_no_time(pipeline: Pipeline) -> None:
    pipeline.connection.execute(
        "INSERT INTO freshet.source_position VALUES ('s', 'cluster', 'former', 'topic-id', 0, 0)"
    )
    pipeline.ingest(timed("a", NOW_MS))
    assert outcome(pipeline, time_ms=1_700_000_000_000).why == "retrievable"

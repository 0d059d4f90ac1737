"""Expiry withdraws what is overdue; a newer event, or the same one sent again, brings it back."""

import json
import time
from typing import Any

import pytest

from corpus.answer.await_fresh import current_outcome
from corpus.batch import BatchInput, Expire, PublishRequest
from corpus.errors import (
    MassExpiryError,
)
from corpus.service import AwaitFreshRequest
from ingest.event import KafkaRecord
from tests.support.pipeline import Pipeline, make_event, with_time


def test_expiry_withdraws_and_a_newer_event_brings_back(pipeline: Pipeline) -> None:
    pipeline.ingest(
        make_event("a", 1, "one"), make_event("b", 1, "kept", expires_at="2199-01-01T00:00:00Z")
    )
    before = pipeline.connection.execute("SELECT clock_timestamp()").fetchone()
    assert before is not None
    with pytest.raises(MassExpiryError, match="1 of 2"):
        pipeline.expire(after_seconds=1800, max_ratio=0.4)
    report = pipeline.expire(after_seconds=1800)
    assert (report.documents_expired, report.chunks_closed) == (1, 1)
    assert set(pipeline.visible()) == {"b"}
    assert {hit.document_id for hit in pipeline.search("one", k=5)} == {"b"}
    earlier = pipeline.search("one", k=5, as_of_ms=int(before[0].timestamp() * 1000))
    assert {hit.document_id for hit in earlier} == {"a", "b"}
    embedded = pipeline.embedder.embedded.total()
    pipeline.ingest(make_event("a", 2, "one"))
    assert pipeline.visible()["a"] == (2, "one")
    assert pipeline.embedder.embedded.total() == embedded


def test_an_expired_document_that_is_sent_again_comes_back(pipeline: Pipeline) -> None:
    event = make_event("a", 1, "one")
    pipeline.ingest(event)
    pipeline.expire(after_seconds=60)
    late = pipeline.records([event])[0]
    pipeline.run(pipeline.stage([with_time(late, 1_000)]))
    assert pipeline.visible() == {}  # a late duplicate from before the expiry is no sign of life
    now = pipeline.connection.execute(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 60000"
    ).fetchone()
    assert now is not None
    fresh = pipeline.records([event])[0]
    pipeline.run(pipeline.stage([with_time(fresh, now[0])]))
    assert pipeline.visible() == {"a": (1, "one")}


def test_a_late_duplicate_does_not_hide_that_an_expired_document_was_sent_again(
    pipeline: Pipeline,
) -> None:
    event = make_event("a", 1, "one")
    pipeline.ingest(event)
    pipeline.expire(after_seconds=60)
    now = pipeline.connection.execute(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 60000"
    ).fetchone()
    assert now is not None
    late, fresh = pipeline.records([event, event])
    report = pipeline.run(pipeline.stage([with_time(late, 1_000), with_time(fresh, now[0])]))
    assert (report.applied, report.unchanged) == (1, 1)
    assert pipeline.visible() == {"a": (1, "one")}


def seconds_ago(event: dict[str, Any], seconds: int) -> KafkaRecord:
    milliseconds = round(time.time() * 1000) - seconds * 1000
    return KafkaRecord(
        topic="",
        partition=0,
        offset=0,
        timestamp_ms=milliseconds,
        key=None,
        value=json.dumps(event).encode(),
    )


def test_what_its_source_sent_again_and_waits_is_not_withdrawn(pipeline: Pipeline) -> None:
    """The source is behind: the order to expire comes before the batch."""
    event = make_event("a", 1, "one")
    pipeline.ingest(seconds_ago(event, 100))
    again = pipeline.stage(pipeline.records([seconds_ago(event, 10)]))
    assert pipeline.expire(after_seconds=60).documents_expired == 0
    assert pipeline.visible() == {"a": (1, "one")}
    assert pipeline.run(again).unchanged == 1
    assert pipeline.expire(after_seconds=60).documents_expired == 0


def test_what_waits_in_another_partition_counts_and_a_deletion_does_not(
    pipeline: Pipeline,
) -> None:
    events = [make_event(name, 1, name) for name in "abc"]
    for event in events:
        pipeline.ingest(seconds_ago(event, 100))
    moved = pipeline.records([seconds_ago(events[0], 10)], partition=1)
    deleted = pipeline.records([seconds_ago(make_event("b", 1, op="delete"), 10)], partition=1)
    pipeline.stage([*moved, *deleted])
    assert pipeline.expire(after_seconds=60).documents_expired == 2
    assert set(pipeline.visible()) == {"a"}


def test_a_staged_file_that_cannot_be_read_stops_nothing(pipeline: Pipeline) -> None:
    pipeline.ingest(seconds_ago(make_event("a", 1, "one"), 100))
    pipeline.store.put("events/s/s/0/5-9-abc.parquet", b"not parquet", rows=1)
    pipeline.store.put("events/s/other name", b"", rows=1)
    assert pipeline.expire(after_seconds=60).documents_expired == 1


HOUR = 3_600


def age_by_an_hour(pipeline: Pipeline) -> None:
    pipeline.connection.execute(
        b"UPDATE freshet.document SET observed_at = observed_at - interval '1 hour' "
        b"WHERE visible_to IS NULL"
    )


def spread_over_hours(pipeline: Pipeline, documents: int) -> None:
    for number in range(documents):
        pipeline.connection.execute(
            b"UPDATE freshet.document SET observed_at = now() - make_interval(hours => %s) "
            b"WHERE document_id = %s",
            (number, f"d{number}"),
        )


def test_a_mass_expiry_in_small_steps_stops_too(pipeline: Pipeline) -> None:
    """Nothing arrives any more; the documents were last seen an hour apart, and a check runs every hour."""
    pipeline.ingest(*(make_event(f"d{number}", 1, f"text {number}") for number in range(20)))
    spread_over_hours(pipeline, 20)
    assert "silent" in first_refusal(pipeline)
    assert len(pipeline.visible()) > 10


def test_small_steps_stop_although_one_document_is_still_sent(pipeline: Pipeline) -> None:
    """One of many partitions of the origin is alive, so the source is not silent."""
    pipeline.ingest(*(make_event(f"d{number}", 1, f"text {number}") for number in range(21)))
    spread_over_hours(pipeline, 21)
    assert "within one expire_after" in first_refusal(
        pipeline, alive=make_event("d20", 1, "text 20")
    )
    assert len(pipeline.visible()) == 11


def first_refusal(pipeline: Pipeline, *, alive: dict[str, Any] | None = None) -> str:
    """Check every hour for two days; the message of the first check that refuses."""
    for _ in range(48):
        age_by_an_hour(pipeline)
        if alive is not None:
            pipeline.ingest(seconds_ago(alive, 0))
        try:
            pipeline.expire(after_seconds=24 * HOUR, max_ratio=0.5)
        except MassExpiryError as error:
            return str(error)
    return ""


def test_a_source_whose_documents_come_and_go_expires_them_for_ever(pipeline: Pipeline) -> None:
    """Every hour one document is new and one is overdue: nothing is wrong with it."""
    pipeline.ingest(*(make_event(f"d{number}", 1, f"text {number}") for number in range(6)))
    spread_over_hours(pipeline, 6)
    for hour in range(12):
        age_by_an_hour(pipeline)
        pipeline.ingest(seconds_ago(make_event(f"new{hour}", 1, f"new {hour}"), 0))
        assert pipeline.expire(after_seconds=6 * HOUR, max_ratio=0.5).documents_expired <= 1
    assert len(pipeline.visible()) == 6


def test_a_silent_source_is_left_as_it_is(pipeline: Pipeline) -> None:
    pipeline.ingest(*(make_event(f"d{number}", 1, f"text {number}") for number in range(10)))
    pipeline.connection.execute(
        b"UPDATE freshet.document SET observed_at = now() - CASE document_id "
        b"WHEN 'd0' THEN interval '25 hours' ELSE interval '13 hours' END"
    )
    with pytest.raises(MassExpiryError, match="the source is silent"):
        pipeline.expire(after_seconds=24 * HOUR, max_ratio=0.5)
    assert pipeline.expire(after_seconds=24 * HOUR, max_ratio=1.0).documents_expired == 1


@pytest.mark.parametrize("state", ["paused", "halted", "retired"])
def test_a_source_that_does_not_run_loses_only_what_has_ended(
    pipeline: Pipeline, state: str
) -> None:
    ended = make_event("ended", 1, "road closed until May", expires_at="2020-05-01T00:00:00Z")
    pipeline.ingest(ended, *(make_event(f"d{number}", 1, f"{number}") for number in range(4)))
    pipeline.connection.execute(b"UPDATE freshet.source SET state = %s", (state,))
    report = pipeline.expire(after_seconds=60)
    assert report.documents_expired == 1
    assert set(pipeline.visible()) == {f"d{number}" for number in range(4)}
    with pytest.raises(MassExpiryError, match=f"the source is {state}"):
        pipeline.expire(after_seconds=60)


def test_an_end_of_its_own_is_outside_the_ratio(pipeline: Pipeline) -> None:
    """One document of one would be over any ratio, for ever."""
    pipeline.ingest(make_event("notice", 1, "closed until May", expires_at="2020-05-01T00:00:00Z"))
    assert pipeline.expire(max_ratio=0.5).documents_expired == 1
    assert pipeline.visible() == {}


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_what_has_ended_is_not_found_although_no_check_ran(pipeline: Pipeline, mode: str) -> None:
    """Also in a retired source, which nobody checks; and the others fill the places that it leaves."""
    ended = [
        make_event(f"e{number}", 1, f"road closed {number}", expires_at="2020-05-01T00:00:00Z")
        for number in range(8)
    ]
    pipeline.ingest(
        *ended, *(make_event(f"d{number}", 1, f"road open {number}") for number in range(4))
    )
    pipeline.connection.execute(b"UPDATE freshet.source SET state = 'retired'")
    hits = pipeline.search("road", k=4, mode=mode)
    assert {hit.document_id for hit in hits} == {"d0", "d1", "d2", "d3"}


def test_an_end_that_comes_is_honoured_at_once_and_not_before(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("notice", 1, "road closed", expires_at="2199-05-01T00:00:00Z"))
    assert [hit.document_id for hit in pipeline.search("road", k=1)] == ["notice"]
    before = pipeline.connection.execute(b"SELECT clock_timestamp()").fetchone()
    assert before is not None
    pipeline.connection.execute(b"UPDATE freshet.document SET expires_at = clock_timestamp()")
    assert pipeline.search("road", k=1) == ()
    earlier = int(before[0].timestamp() * 1000)
    assert len(pipeline.search("road", k=1, as_of_ms=earlier)) == 1


def test_what_is_overdue_although_it_was_sent_again_stays_withdrawn(pipeline: Pipeline) -> None:
    event = make_event("a", 1, "one")
    pipeline.ingest(seconds_ago(event, 100))
    again = pipeline.stage(pipeline.records([seconds_ago(event, 80)]))
    pipeline.expire(after_seconds=60)
    assert pipeline.run(again).superseded == 1
    assert pipeline.visible() == {}
    found = current_outcome(
        pipeline.connection, AwaitFreshRequest(source="s", topic="s", partition=0, offset=1)
    )
    assert found.reached is False


def test_an_order_that_waited_is_judged_by_the_rule_of_now(pipeline: Pipeline) -> None:
    pipeline.ingest(seconds_ago(make_event("a", 1, "one"), 100))
    order = Expire(request_id="1", rule="expire_after=60s", expire_after_seconds=60, max_ratio=1.0)
    batch = BatchInput.of(order, source="s", batch=pipeline.number(), first_in_line=True)
    report = pipeline.publisher.publish(
        PublishRequest(batch=batch, prepared=None, workflow_id="w", run_id="r")
    )
    assert (
        report.documents_expired == 0
    )  # the source expires nothing, whatever it did when the order was given
    assert set(pipeline.visible()) == {"a"}

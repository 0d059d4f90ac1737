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


def test_what_its_source_sent_again_before_it_expired_comes_back(pipeline: Pipeline) -> None:
    """The consumer lagged: the order to expire came first."""
    event = make_event("a", 1, "one")
    pipeline.ingest(seconds_ago(event, 100))
    again = pipeline.stage(pipeline.records([seconds_ago(event, 10)]))
    assert pipeline.expire(after_seconds=60).documents_expired == 1
    assert pipeline.run(again).applied == 1
    assert pipeline.visible() == {"a": (1, "one")}


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

"""Attempts that are repeated, come too late, or are refused."""

from dataclasses import replace

import pytest

from corpus.errors import (
    BatchNumberTakenError,
    ConfigurationError,
    DatabaseRefusalError,
    MissingVectorError,
    StalePreparationError,
)
from tests.support.pipeline import NOW_MS, Pipeline, make_event, with_time


def test_a_repeated_attempt_returns_what_the_first_did(pipeline: Pipeline) -> None:
    ref = pipeline.stage(pipeline.records([make_event("a", 1, "one")]))
    number = pipeline.number()
    prepared = pipeline.prepare([ref], number)
    pipeline.embed(prepared)
    first = pipeline.publish([ref], prepared, number, run_id="run")
    assert pipeline.publish([ref], prepared, number, run_id="run") == first
    with pytest.raises(BatchNumberTakenError):
        pipeline.publish([ref], prepared, number, run_id="another")


def test_a_number_behind_the_ledger_is_refused(pipeline: Pipeline) -> None:
    """A subscriber that was told of a later batch would never hear of it."""
    late = pipeline.stage(pipeline.records([make_event("a", 1, "one")], partition=0))
    prepared = pipeline.prepare([late], 1)
    pipeline.embed(prepared)
    pipeline.number()
    assert (
        pipeline.run(
            pipeline.stage(pipeline.records([make_event("b", 1, "two")], partition=1))
        ).batch
        == 2
    )
    with pytest.raises(BatchNumberTakenError, match="batch 1 of source 's' comes after batch 2"):
        pipeline.publish([late], prepared, 1)


def test_records_that_were_staged_in_another_format_are_refused(pipeline: Pipeline) -> None:
    """`freshet apply` may change a source while batches wait; the entity lets the consumer read their records again."""
    record = pipeline.records([make_event("a", 1, "one")])[0]
    staged = pipeline.stage([record])
    pipeline.spec = replace(pipeline.spec, format="text")
    pipeline.configure()
    with pytest.raises(ConfigurationError, match="format of source 's' was changed"):
        pipeline.prepare([staged], 1)
    pipeline.run(pipeline.stage([record]))
    assert pipeline.visible()["a"][1].startswith('{"id": "a"')


def test_publishing_without_vectors_asks_for_them(pipeline: Pipeline) -> None:
    ref = pipeline.stage(pipeline.records([make_event("a", 1, "one")]))
    prepared = pipeline.prepare([ref], 1)
    with pytest.raises(MissingVectorError):
        pipeline.publish([ref], prepared, 1)
    assert pipeline.visible() == {}


def test_a_preparation_that_leaned_on_an_older_head_is_refused(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    late = pipeline.stage(
        pipeline.records([make_event("a", 3, "one")])
    )  # same content as version 1
    prepared = pipeline.prepare([late], 9)
    other = pipeline.stage(pipeline.records([make_event("a", 2, "two")], partition=1))
    pipeline.run(other)
    with pytest.raises(StalePreparationError):
        pipeline.publish([late], prepared, 9)
    pipeline.run(late)
    assert pipeline.visible() == {"a": (3, "one")}


def test_a_refusal_of_the_database_is_no_outage(pipeline: Pipeline) -> None:
    """What PostgreSQL refuses it refuses again: to wait for ever would stop the source without a word."""
    pipeline.spec = replace(pipeline.spec, text_search_language="klingon")
    pipeline.configure()
    with pytest.raises(DatabaseRefusalError, match="klingon"):
        pipeline.ingest(make_event("a", 1, "one"))


def test_every_event_is_accounted_for(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    report = pipeline.ingest(
        make_event("a", 1, "one"),
        make_event("b", 2, "two"),
        make_event("b", 1, "old"),
        b"no json",
        b'{"op": "upsert"}',
        make_event("c", 1, "three"),
    )
    assert (
        report.records,
        report.applied,
        report.unchanged,
        report.superseded,
        report.dead_lettered,
    ) == (6, 2, 1, 1, 2)
    letters = pipeline.connection.execute(
        "SELECT record_offset, value FROM freshet.dead_letter ORDER BY 1"
    ).fetchall()
    assert letters == [(4, b"no json"), (5, b'{"op": "upsert"}')]


def test_a_time_in_another_unit_is_read_in_its_unit(pipeline: Pipeline) -> None:
    """A producer writes microseconds where Kafka wants milliseconds."""
    records = pipeline.records([make_event("a", 1, "one"), b"no json"])
    report = pipeline.run(pipeline.stage([with_time(record, NOW_MS * 1000) for record in records]))
    assert (report.applied, report.dead_lettered) == (1, 1)
    hit = pipeline.search("one", k=1)[0]
    assert hit.observed_at_ms == NOW_MS


def test_a_time_that_no_calendar_has_stops_nothing(pipeline: Pipeline) -> None:
    records = pipeline.records([make_event("a", 1, "one"), b"no json"])
    report = pipeline.run(pipeline.stage([with_time(record, 2**62) for record in records]))
    assert (report.applied, report.dead_lettered) == (1, 1)
    hit = pipeline.search("one", k=1)[0]
    assert hit.observed_at_ms == report.published_at_ms

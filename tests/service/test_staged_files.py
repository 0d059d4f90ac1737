"""A source that is drained leaves no staged files behind, whatever happened on the way."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from corpus.errors import StagedFileError, StalePreparationError
from corpus.staging.layout import batch_file_name, events_name
from corpus.staging.sweep import Sweeper
from ingest.source_state import Acceptance, SourceState, accept
from tests.support.pipeline import Pipeline, make_event

pytestmark = pytest.mark.service


def files(pipeline: Pipeline) -> list[str]:
    return sorted([*pipeline.store.names("events"), *pipeline.store.names("batches")])


def test_preparations_that_are_out_of_date_are_removed(pipeline: Pipeline) -> None:
    """An earlier version arrives by another partition while a batch is prepared."""
    pipeline.ingest(make_event("a", 3, "three"))
    late = pipeline.stage(pipeline.records([make_event("a", 5, "three", title="other")]))
    number = 99
    out_of_date = pipeline.prepare([late], number)
    pipeline.ingest(make_event("a", 4, "four"), partition=1)
    with pytest.raises(StalePreparationError):
        pipeline.publish([late], out_of_date, number)
    again = pipeline.prepare([late], number)
    pipeline.embed(again)
    pipeline.publish([late], again, number)
    assert pipeline.visible()["a"][0] == 5
    assert files(pipeline) == []


def test_a_preparation_whose_files_are_gone_is_made_again(pipeline: Pipeline) -> None:
    """The source goes on from what is staged; it does not read again from Kafka."""
    ref = pipeline.stage(pipeline.records([make_event("a", 1, "one")]))
    number = pipeline.number()
    prepared = pipeline.prepare([ref], number)
    pipeline.embed(prepared)
    pipeline.store.delete([prepared.chunks.url])
    with pytest.raises(StalePreparationError, match=r"is missing .* prepare again"):
        pipeline.publish([ref], prepared, number)
    assert pipeline.publish([ref], pipeline.prepare([ref], number), number).applied == 1
    assert files(pipeline) == []


def test_a_forged_reference_reads_and_removes_nothing_of_another(pipeline: Pipeline) -> None:
    """Its range is applied already, so that nothing would be read; its file would have been removed afterwards."""
    applied = pipeline.stage(pipeline.records([make_event("a", 1, "one")]))
    pipeline.run(applied)
    waiting = pipeline.stage(pipeline.records([make_event("b", 1, "two")]))
    forged = replace(applied, url=waiting.url, sha256=waiting.sha256)
    number = pipeline.number()
    with pytest.raises(StagedFileError, match="a reference to source 's': its file is"):
        pipeline.prepare([forged], number)
    prepared = pipeline.prepare([applied], number)
    with pytest.raises(StagedFileError, match="its file is"):
        pipeline.publish([forged], prepared, number)
    with pytest.raises(StagedFileError, match="is no file of the chunks of batch"):
        other = replace(prepared.chunks, url=waiting.url)
        pipeline.publish([applied], replace(prepared, chunks=other), number)
    assert files(pipeline)[-1] == waiting.url
    pipeline.run(waiting)
    assert pipeline.visible().keys() == {"a", "b"}


def test_no_position_moves_over_records_that_were_not_read(pipeline: Pipeline) -> None:
    """A file of the right name and checksum whose records end before its range does."""
    records = pipeline.records([make_event(f"x{n}", 1, "x") for n in range(4)])
    short = pipeline.stage(records[:2])
    content = pipeline.store.get(short)
    name = events_name(
        "s", short.topic, 0, short.first_offset, records[-1].offset + 1, short.sha256
    )
    pipeline.store.put(name, content, rows=2)
    longer = replace(short, url=name, next_offset=records[-1].offset + 1)
    before = pipeline.position(0)
    with pytest.raises(StagedFileError, match="holds other records than its name says"):
        pipeline.run(longer)
    assert pipeline.position(0) == before
    pipeline.run(pipeline.stage(records))
    assert pipeline.position(0) == before + 4


def test_other_cuts_of_the_same_records_are_removed(pipeline: Pipeline) -> None:
    """A consumer that started again cuts the records elsewhere; the entity knows them."""
    records = pipeline.records([make_event(f"x{n}", 1, "x") for n in range(4)])
    state = SourceState(source="s")
    whole = pipeline.stage(records)
    assert accept(state, whole) is Acceptance.ACCEPTED
    assert accept(state, pipeline.stage(records[:2])) is Acceptance.REPEATED
    assert accept(state, pipeline.stage(records[2:])) is Acceptance.REPEATED
    pipeline.run(whole)
    assert files(pipeline) == []


def test_what_other_batches_need_stays(pipeline: Pipeline) -> None:
    first = pipeline.stage(pipeline.records([make_event("a", 1, "one")]))
    second = pipeline.stage(pipeline.records([make_event("b", 1, "two")]))
    elsewhere = pipeline.stage(pipeline.records([make_event("c", 1, "three")], partition=1))
    first_number, second_number = pipeline.number(), pipeline.number()
    prepared_first = pipeline.prepare([first], first_number)
    prepared = pipeline.prepare([second, elsewhere], second_number)
    pipeline.embed(prepared_first)
    pipeline.embed(prepared)
    pipeline.publish([first], prepared_first, first_number)
    needed = [prepared.events, prepared.documents, prepared.chunks, prepared.texts]
    kept = {second.url, elsewhere.url, *(file.url for file in needed)}
    assert {*files(pipeline)} == kept
    # The source is behind the preparation that it needs now: it is prepared again, with the files that it needs.
    pipeline.run(second, elsewhere)
    assert files(pipeline) == []


def test_a_repeated_attempt_of_a_published_batch_removes_its_own_files_only(
    pipeline: Pipeline,
) -> None:
    ref = pipeline.stage(pipeline.records([make_event("a", 1, "one")]))
    number = pipeline.number()
    prepared = pipeline.prepare([ref], number)
    pipeline.embed(prepared)
    pipeline.publish([ref], prepared, number, run_id="run")
    again = pipeline.stage(pipeline.records([make_event("a", 1, "one")], first_offset=0))
    other = batch_file_name("s", number, "texts", hashlib.sha256(b"other").hexdigest())
    pipeline.store.put(other, b"other", rows=0)
    pipeline.publish([ref], prepared, number, run_id="run")
    assert files(pipeline) == sorted({other} | {again.url} - {ref.url})


def test_what_came_after_its_batch_is_swept_and_what_waits_is_not(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    killed = pipeline.stage(pipeline.records([make_event("z", 1, "late")], first_offset=0))
    waiting = pipeline.stage(pipeline.records([make_event("b", 1, "two")]))
    lost = pipeline.stage(pipeline.records([make_event("b", 1, "two")] * 2, first_offset=1))
    prepared = pipeline.prepare([waiting], 7)  # a batch that failed: its number is taken by none
    sweeper = Sweeper(pipeline.store, pipeline.pool)
    tomorrow = datetime.now(UTC) + timedelta(days=1, minutes=1)
    held = {"s": {waiting.url}}
    assert sweeper.remove(sweeper.find(datetime.now(UTC)), held).removed == 0
    asked = sweeper.find(tomorrow)
    assert [file.name for file in asked.settled] == [killed.url]
    assert sweeper.remove(asked, {"s": None}).removed == 1
    swept = sweeper.remove(sweeper.find(tomorrow), held)
    assert (swept.removed, swept.needed) == (5, 1)  # what was lost, and four files of batch 7
    assert files(pipeline) == [waiting.url]
    assert lost.url != waiting.url
    assert prepared.batch == 7
    pipeline.run(waiting)
    assert pipeline.visible().keys() == {"a", "b"}

"""The fence: which version of a document is visible after a batch."""

from pathlib import Path

import pytest

from corpus.clean.cleaner import Cleaner
from corpus.preparation import PreparationSpec
from tests.support.pipeline import LONG_TEXT, Pipeline, make_event, tombstone


def test_an_older_version_never_replaces_a_newer_one(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 5, "five"))
    report = pipeline.ingest(make_event("a", 4, "four"))
    assert report.superseded == 1
    assert pipeline.visible() == {"a": (5, "five")}


def test_a_delete_is_remembered(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 5, "five"))
    assert pipeline.ingest(make_event("a", 7, op="delete")).documents_deleted == 1
    assert pipeline.ingest(make_event("a", 6, "six")).superseded == 1
    assert pipeline.visible() == {}
    pipeline.ingest(make_event("a", 8, "eight"))
    assert pipeline.visible() == {"a": (8, "eight")}


def test_a_delete_before_the_document_is_remembered(pipeline: Pipeline) -> None:
    assert pipeline.ingest(make_event("a", 7, op="delete")).applied == 1
    assert pipeline.ingest(make_event("a", 6, "six")).superseded == 1
    assert pipeline.visible() == {}


def test_a_tombstone_without_a_version_acts_on_what_is_there(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 5, "five"))
    assert pipeline.ingest(tombstone("a")).documents_deleted == 1
    assert pipeline.ingest(make_event("a", 5, "five")).superseded == 1
    assert pipeline.visible() == {}
    assert pipeline.ingest(tombstone("a"), tombstone("never-seen")).unchanged == 2
    pipeline.ingest(make_event("a", 6, "six"))
    assert pipeline.visible() == {"a": (6, "six")}


def test_a_tombstone_in_the_middle_of_a_batch(pipeline: Pipeline) -> None:
    report = pipeline.ingest(
        make_event("a", 3, "three"),
        tombstone("a"),
        make_event("b", 1, "one"),
        tombstone("b"),
        make_event("b", 2, "two"),
    )
    assert pipeline.visible() == {"b": (2, "two")}
    assert (report.applied, report.superseded) == (2, 3)
    assert pipeline.ingest(make_event("a", 3, "three")).superseded == 1


def test_the_same_records_again_change_nothing(pipeline: Pipeline) -> None:
    events = [make_event("a", 1, LONG_TEXT), make_event("b", 1, "other")]
    pipeline.ingest(*events)
    embedded = pipeline.embedder.embedded.total()
    report = pipeline.ingest(*events)
    assert (report.unchanged, report.chunks_opened, report.chunks_closed) == (2, 0, 0)
    assert pipeline.embedder.embedded.total() == embedded


def test_a_trimmed_tombstone_does_not_act_again(pipeline: Pipeline) -> None:
    records = pipeline.records(
        [
            make_event("a", 1, "one"),
            tombstone("a"),
            make_event("a", 2, "two"),
            make_event("a", 3, "three"),
        ]
    )
    pipeline.run(pipeline.stage(records[:3]))
    pipeline.run(pipeline.stage(records))
    assert pipeline.visible() == {"a": (3, "three")}


def test_a_document_that_cannot_be_used_gives_way_to_its_next_best(
    database_url: str, tmp_path: Path, cleaner: Cleaner
) -> None:
    """As it would had each event come in a batch of its own."""
    with Pipeline(
        database_url, tmp_path, cleaner=cleaner, pipeline=PreparationSpec(max_chunks=3)
    ) as pipeline:
        report = pipeline.ingest(
            make_event("a", 1, "fine"),
            make_event("a", 2, LONG_TEXT),
            make_event("b", 1, "fine too"),
        )
        assert (report.applied, report.dead_lettered, report.superseded) == (2, 1, 0)
        assert pipeline.visible() == {"a": (1, "fine"), "b": (1, "fine too")}
        value = pipeline.connection.execute(
            "SELECT reason, value FROM freshet.dead_letter"
        ).fetchone()
        assert value is not None
        assert value[0] == "too_many_chunks"
        assert b"Paragraph 29" in value[1]


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "a batch each"])
def test_a_deleted_version_that_could_never_be_used_keeps_nothing_out(
    database_url: str, tmp_path: Path, cleaner: Cleaner, together: bool
) -> None:
    """What the corpus holds does not depend on where batches are cut."""
    with Pipeline(
        database_url, tmp_path, cleaner=cleaner, pipeline=PreparationSpec(max_chunks=3)
    ) as pipeline:
        events = [
            make_event("a", 7, LONG_TEXT),
            tombstone("a"),
            make_event("a", 6, "six"),
            make_event("b", 7, "fine"),
            tombstone("b"),
            make_event("b", 6, "six"),
        ]
        reports = (
            [pipeline.ingest(*events)] if together else [pipeline.ingest(event) for event in events]
        )
        assert pipeline.visible() == {"a": (6, "six")}
        assert sum(report.dead_lettered for report in reports) == 1
        assert sum(report.records for report in reports) == 6


def test_deletes_of_what_was_never_there_are_counted(pipeline: Pipeline) -> None:
    """A converter that quotes keys lets every tombstone name another document."""
    pipeline.ingest(make_event("a", 1, "one"))
    never_there = [tombstone("none"), make_event("nobody", 1, op="delete")]
    report = pipeline.ingest(*never_there, tombstone("a"), make_event("b", 1, "two"))
    assert report.deletes_without_document == 2
    again = pipeline.ingest(*never_there)
    assert again.deletes_without_document == 0

"""An upgrade of the preparation changes nothing by itself; a source is prepared again when an operator asks."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from corpus.batch import BatchReport
from corpus.clean.cleaner import Cleaner
from corpus.errors import ConfigurationError, PositionGapError
from corpus.sql import query
from corpus.staging.frames import to_parquet
from corpus.staging.layout import batch_file_name
from ingest import prepare_again
from ingest.event import KafkaRecord
from ingest.prepare_again import PreparePlan
from tests.support.fake_kafka import FakeCluster
from tests.support.pipeline import Pipeline, make_event, tombstone
from tests.support.upgrading import NEWER, OLDER, upgrade

pytestmark = pytest.mark.service

MARKED = make_event("marked", 1, "The ~sluice~ is open.")
PLAIN = make_event("plain", 1, "The mill stands by the river.")


def kafka(pipeline: Pipeline, *, first_offset: int = 0) -> Any:
    """Kafka, as the pipeline's records are in it."""
    source = pipeline.spec.source
    end = pipeline.next_offset.get(0, 0)
    cluster = FakeCluster({source: 1}, {(source, 0): (first_offset, end)})
    cluster.id = "cluster"
    cluster.topic_ids = {source: pipeline.topic_id}
    return cluster


def planned(pipeline: Pipeline, **log: int) -> PreparePlan:
    return prepare_again.plan(pipeline.connection, kafka(pipeline, **log), pipeline.spec.source)


def ask(pipeline: Pipeline, **log: int) -> PreparePlan:
    plan = planned(pipeline, **log)
    prepare_again.carry_out(pipeline.connection, plan)
    return plan


def read_from(pipeline: Pipeline, records: list[KafkaRecord]) -> BatchReport:
    """What the consumer does after a rewind: read from the position row."""
    position = pipeline.position(0)
    return pipeline.run(pipeline.stage([one for one in records if one.offset >= position]))


def versions(pipeline: Pipeline, document_id: str) -> list[tuple[int, str, bool]]:
    """Version, fingerprint and visibility of every row of a document, the oldest first."""
    return pipeline.connection.execute(
        """SELECT version, pipeline, visible_to IS NULL FROM freshet.document
           WHERE source = %s AND document_id = %s ORDER BY document_key""",
        (pipeline.spec.source, document_id),
    ).fetchall()  # type: ignore[return-value]


def fingerprint(pipeline: Pipeline, version: int) -> str:
    return pipeline.spec.pipeline.fingerprint(version)


def test_an_upgrade_alone_embeds_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every record comes once more, the same and under a newer version: nothing is prepared anew."""
    pipeline.ingest(MARKED, PLAIN)
    before = pipeline.visible()
    upgrade(monkeypatch)
    again = pipeline.ingest(MARKED, PLAIN)
    assert (again.unchanged, again.texts_embedded) == (2, 0)
    newer = pipeline.ingest({**MARKED, "version": 2}, {**PLAIN, "version": 2})
    assert (newer.applied, newer.texts_embedded, newer.chunks_opened) == (2, 0, 0)
    assert pipeline.texts() == {name: text for name, (_, text) in before.items()}
    assert planned(pipeline).of_older_version == 2


def test_a_changed_document_is_prepared_by_the_newer_version(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.ingest(MARKED, PLAIN)
    upgrade(monkeypatch)
    pipeline.ingest(make_event("marked", 2, "The ~sluice~ is closed."))
    assert pipeline.visible()["marked"] == (2, "The sluice is closed.")
    assert planned(pipeline).documents == 1


def test_one_of_two_sources_is_prepared_again(
    pipeline: Pipeline,
    database_url: str,
    tmp_path: Path,
    cleaner: Cleaner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Pipeline(database_url, tmp_path, source="other", cleaner=cleaner) as other:
        records = pipeline.records([MARKED, PLAIN])
        pipeline.run(pipeline.stage(records))
        other.ingest(MARKED, PLAIN)
        upgrade(monkeypatch)
        plan = ask(pipeline)
        assert (plan.documents, plan.chunks, plan.records, plan.gone) == (2, 2, 2, 0)
        report = read_from(pipeline, records)
        assert (report.applied, report.texts_embedded, report.chunks_reused) == (2, 1, 1)
        assert pipeline.visible() == {
            "marked": (1, "The sluice is open."),
            "plain": (1, "The mill stands by the river."),
        }
        assert planned(pipeline).documents == 0
        assert other.visible()["marked"] == (1, "The ~sluice~ is open.")
        assert planned(other).of_older_version == 2
        assert versions(other, "marked") == [(1, fingerprint(other, OLDER), True)]
    assert versions(pipeline, "plain") == [
        (1, fingerprint(pipeline, OLDER), False),
        (1, fingerprint(pipeline, NEWER), True),
    ]


def test_as_of_before_it_returns_what_was_there(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = pipeline.records([MARKED])
    pipeline.run(pipeline.stage(records))
    upgrade(monkeypatch)
    ask(pipeline)
    read_from(pipeline, records)
    (now,) = pipeline.search("sluice", mode="text")
    (then,) = pipeline.search("sluice", mode="text", sources=("s",), as_of_batch=1)
    assert (now.text, then.text) == ("The sluice is open.", "The ~sluice~ is open.")


def test_reading_it_twice_prepares_it_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = pipeline.records([MARKED, MARKED, PLAIN])
    pipeline.run(pipeline.stage(records))
    upgrade(monkeypatch)
    ask(pipeline)
    report = read_from(pipeline, records)
    assert (report.applied, report.unchanged) == (2, 1)
    pipeline.connection.execute("UPDATE freshet.source_position SET next_offset = 0")
    pipeline.connection.execute("UPDATE freshet.source SET epoch = epoch + 1")
    again = read_from(pipeline, records)
    assert (again.applied, again.unchanged, again.documents_written) == (0, 3, 0)


def test_older_versions_and_deletes_change_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [
        make_event("a", 1, "The ~first~ text."),
        make_event("b", 1, "A ~deleted~ text."),
        make_event("a", 2, "The ~second~ text."),
        tombstone("b"),
        make_event("c", 1, "A ~third~ document."),
        make_event("c", 2, op="delete"),
    ]
    records = pipeline.records(events)
    for record in records:
        pipeline.run(pipeline.stage([record]))
    upgrade(monkeypatch)
    plan = ask(pipeline)
    assert (plan.documents, plan.partitions[0].first_offset, plan.records) == (1, 2, 4)
    pipeline.connection.execute("UPDATE freshet.source_position SET next_offset = 0")
    for record in records:
        pipeline.run(pipeline.stage([record]))
    assert pipeline.visible() == {"a": (2, "The second text.")}


def test_records_that_kafka_has_no_more_leave_their_documents_as_they_are(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = pipeline.records([MARKED, make_event("late", 1, "A ~late~ text.")])
    pipeline.run(pipeline.stage(records))
    upgrade(monkeypatch)
    plan = ask(pipeline, first_offset=1)
    assert (plan.documents, plan.gone, plan.example_gone) == (2, 1, "marked")
    assert "1 of them stay as they are" in plan.lines()[1]
    read_from(pipeline, records)
    assert planned(pipeline, first_offset=1).gone == 1
    assert pipeline.visible()["marked"] == (1, "The ~sluice~ is open.")
    # Sent again, it is prepared again: the operator has asked for it.
    pipeline.ingest(MARKED)
    assert pipeline.visible()["marked"] == (1, "The sluice is open.")
    assert planned(pipeline).documents == 0


def test_a_recreated_topic_has_the_records_no_more(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.ingest(MARKED)
    pipeline.recreate_topic()
    pipeline.ingest(PLAIN)
    upgrade(monkeypatch)
    plan = planned(pipeline)
    assert (plan.documents, plan.gone, plan.example_gone) == (2, 1, "marked")


def test_another_setting_is_counted_too(pipeline: Pipeline) -> None:
    pipeline.ingest(MARKED)
    other = replace(pipeline.spec.pipeline, max_tokens=100)
    pipeline.spec = replace(pipeline.spec, pipeline=other)
    pipeline.configure()
    plan = planned(pipeline)
    assert (plan.documents, plan.of_older_version) == (1, 0)


def test_a_batch_of_before_is_refused_and_nothing_is_lost(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was prepared by the older version when the operator asked."""
    records = pipeline.records([MARKED, PLAIN])
    pipeline.run(pipeline.stage(records[:1]))
    ref = pipeline.stage(records[1:])
    prepared = pipeline.prepare([ref], 2)
    pipeline.embed(prepared)
    upgrade(monkeypatch)
    ask(pipeline)
    with pytest.raises(PositionGapError):
        pipeline.publish([ref], prepared, 2)
    read_from(pipeline, records)
    assert set(pipeline.visible()) == {"marked", "plain"}
    assert planned(pipeline).documents == 0


def test_a_dead_letter_that_is_read_again_is_kept_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = pipeline.records([MARKED, b"no event"])
    pipeline.run(pipeline.stage(records))
    upgrade(monkeypatch)
    ask(pipeline)
    report = read_from(pipeline, records)
    assert (report.applied, report.dead_lettered) == (1, 1)
    letters = pipeline.connection.execute("SELECT batch FROM freshet.dead_letter").fetchall()
    assert letters == [(1,)]


def test_how_a_document_was_verified_stays(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = pipeline.records([MARKED])
    pipeline.run(pipeline.stage(records))
    pipeline.connection.execute("UPDATE freshet.document SET verified_at = '2026-11-25 10:00+00'")
    kept = (
        "SELECT first_record, verified_at, observed_at, written FROM freshet.document WHERE is_head"
    )
    before = pipeline.connection.execute(kept).fetchall()
    upgrade(monkeypatch)
    ask(pipeline)
    read_from(pipeline, records)
    assert pipeline.connection.execute(kept).fetchall() == before


def test_a_withdrawn_document_is_not_prepared_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = pipeline.records([MARKED, PLAIN])
    pipeline.run(pipeline.stage(records))
    pipeline.connection.execute(
        """UPDATE freshet.document SET visible_to = now(), end_reason = 'expired'
           WHERE document_id = 'marked'"""
    )
    upgrade(monkeypatch)
    assert ask(pipeline).documents == 1
    pipeline.connection.execute("UPDATE freshet.source_position SET next_offset = 0")
    read_from(pipeline, records)
    assert set(pipeline.visible()) == {"plain"}


def test_a_retired_source_is_refused(pipeline: Pipeline) -> None:
    pipeline.connection.execute(query("retire_source"), {"source": "s"})
    with pytest.raises(ConfigurationError, match="cannot be prepared again: it is retired"):
        planned(pipeline)


def test_a_gap_is_accepted_first(pipeline: Pipeline) -> None:
    pipeline.ingest(MARKED)
    with pytest.raises(ConfigurationError, match="removed from the log"):
        planned(pipeline, first_offset=2)


def as_before_languages(pipeline: Pipeline) -> None:
    """Rows as a version of before migration 0011 wrote them."""
    pipeline.connection.execute(
        "UPDATE freshet.document SET stated_language = NULL, language = NULL, language_from = NULL"
    )
    pipeline.connection.execute("UPDATE freshet.chunk SET language = NULL")


def test_an_event_that_always_named_a_language_is_prepared_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = make_event("a", 1, "Die ~Tore~ sind breit.", language="de")
    pipeline.ingest(event)
    as_before_languages(pipeline)
    upgrade(monkeypatch)
    ask(pipeline)
    records = pipeline.records([event], first_offset=0)
    assert pipeline.run(pipeline.stage(records)).applied == 1
    assert planned(pipeline).documents == 0


def test_the_same_record_is_unchanged_also_where_its_language_was_not_kept(
    pipeline: Pipeline,
) -> None:
    event = make_event("a", 1, "Die Tore sind breit.", language="de")
    pipeline.ingest(event)
    as_before_languages(pipeline)
    assert pipeline.ingest(event).unchanged == 1


def test_a_batch_that_an_older_preparer_wrote_is_published(pipeline: Pipeline) -> None:
    """Storers are restarted before the others."""
    ref = pipeline.stage(pipeline.records([make_event("a", 1, "One fact.")]))
    prepared = pipeline.prepare([ref], 1)
    pipeline.embed(prepared)
    frame = pl.read_parquet(io.BytesIO(pipeline.store.get(prepared.documents)))
    added = (
        "is_again",
        "unknown_characters",
        "language",
        "language_from",
        "language_note",
        "notes",
    )
    older = to_parquet(frame.drop(*added, "stated_language"))
    name = batch_file_name("s", 1, "documents", hashlib.sha256(older).hexdigest())
    documents = pipeline.store.put(name, older, rows=frame.height)
    report = pipeline.publish([ref], replace(prepared, documents=documents), 1)
    assert report.applied == 1
    assert versions(pipeline, "a")[0][2]

"""A source of several languages: each document version has its own, and its chunks the dictionary of it."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from corpus.prepare import language as language_module
from corpus.prepare import preparer as preparer_module
from corpus.staging.frames import to_parquet
from corpus.staging.layout import events_name
from corpus.text_search import rebuild_search_texts
from ingest.event import KafkaRecord
from tests.support.pipeline import LONG_TEXT, NOW_MS, Pipeline, make_event

pytestmark = pytest.mark.service

GERMAN = "Die Wärter öffnen die Schleusentore und warnen die Dörfer."
ENGLISH = "The keepers were opening the sluices and warned the villages."
STATED = [
    ("de", "german", "event", None),
    ("de-AT", "german", "event", None),
    ("German", "german", "event", None),
    ("th", "simple", "event", None),
    ("tlh", "english", "source", "unknown"),
    (["de", "en"], "english", "source", "unknown"),
    ("x" * 5_000, "english", "source", "unknown"),
    ("und", "english", "source", None),
    ("", "english", "source", None),
    (None, "english", "source", None),
]


@pytest.fixture
def checked(pipeline: Pipeline) -> Iterator[Pipeline]:
    """What is in the corpus afterwards is indexed as it says."""
    yield pipeline
    assert pipeline.wrongly_indexed() == []


def language(pipeline: Pipeline, document_id: str) -> tuple[Any, ...]:
    row = pipeline.connection.execute(
        """SELECT freshet.language_of(d), language_from, language_note FROM freshet.document d
           WHERE document_id = %s AND is_head""",
        (document_id,),
    ).fetchone()
    assert row is not None
    return row


def found(pipeline: Pipeline, words: str, **request: Any) -> set[str]:
    return {hit.document_id for hit in pipeline.search(words, mode="text", **request)}


def sums(pipeline: Pipeline, batch: int) -> tuple[Any, ...] | None:
    return pipeline.connection.execute(
        "SELECT languages_unknown, languages_unsure FROM freshet.batch WHERE batch = %s", (batch,)
    ).fetchone()


@pytest.mark.parametrize(
    ("stated", "configuration", "origin", "note"), STATED, ids=lambda stated: repr(stated)[:20]
)
def test_an_event_names_the_language(
    checked: Pipeline, stated: Any, configuration: str, origin: str, note: str | None
) -> None:
    report = checked.ingest(make_event("a", 1, GERMAN, language=stated))
    assert (report.applied, report.dead_lettered) == (1, 0)
    assert language(checked, "a") == (configuration, origin, note)
    assert sums(checked, report.batch) == (int(note == "unknown"), 0)
    assert found(checked, "Dorf") == ({"a"} if configuration == "german" else set())
    assert [hit.language for hit in checked.search("Dörfer")] == [configuration]


def test_a_header_names_it_too(checked: Pipeline) -> None:
    checked.spec = replace(checked.spec, format="text")
    checked.configure()
    record = KafkaRecord(
        topic="",
        partition=0,
        offset=0,
        timestamp_ms=NOW_MS,
        key=b"a",
        value=GERMAN.encode(),
        headers=(("Language", b"de"),),
    )
    checked.ingest(record)
    assert language(checked, "a") == ("german", "event", None)
    checked.ingest(replace(record, headers=(("language", b"\xff"),)))
    assert language(checked, "a") == ("english", "source", "unknown")


def test_another_language_of_the_same_content_embeds_nothing(checked: Pipeline) -> None:
    first = checked.ingest(
        make_event("a", 1, LONG_TEXT + "\n\n" + GERMAN), make_event("b", 1, ENGLISH)
    )
    assert found(checked, "Dorf") == set()
    second = checked.ingest(make_event("a", 2, LONG_TEXT + "\n\n" + GERMAN, language="de"))
    assert (second.applied, second.texts_embedded, second.chunks_reused) == (1, 0, 0)
    assert second.chunks_opened == second.chunks_closed == first.chunks_opened - 1
    assert found(checked, "Dorf") == {"a"}
    assert found(checked, "opened sluices") == {"b"}
    # In the past it has the dictionary of then.
    assert found(checked, "Dorf", as_of_batch=first.batch) == set()
    third = checked.ingest(make_event("a", 3, LONG_TEXT + "\n\n" + GERMAN, language="de-CH"))
    assert (third.applied, third.chunks_opened, third.chunks_closed) == (1, 0, 0)
    assert third.chunks_reused == second.chunks_opened
    assert found(checked, "Dorf", as_of_batch=second.batch) == {"a"}


def test_a_text_that_repeats_is_indexed_again_once(checked: Pipeline) -> None:
    text = f"# One\n\n{GERMAN}\n\n# Two\n\n{GERMAN}"
    checked.spec = replace(checked.spec, pipeline=replace(checked.spec.pipeline, min_tokens=1))
    checked.configure()
    checked.ingest(make_event("a", 1, text, language="fr"))
    checked.ingest(make_event("a", 2, text, language="de"))
    row = checked.connection.execute(
        "SELECT cardinality(chunk_ids), chunk_ids[1] = chunk_ids[2] FROM freshet.document WHERE is_head"
    ).fetchone()
    assert row is not None
    assert row in ((2, True), (1, None), (2, False))
    assert found(checked, "Dorf") == {"a"}


def test_another_language_and_another_paragraph(checked: Pipeline) -> None:
    checked.ingest(make_event("a", 1, LONG_TEXT + "\n\n" + GERMAN, language="fr"))
    report = checked.ingest(
        make_event("a", 2, LONG_TEXT + "\n\n" + GERMAN + " Neu.", language="de")
    )
    assert report.chunks_reused == 0
    assert report.texts_embedded < report.chunks_opened
    assert found(checked, "Dorf") == {"a"}


def test_the_same_version_keeps_its_language(checked: Pipeline) -> None:
    """It keeps the content that was written first, and its language with it."""
    checked.ingest(make_event("a", 1, GERMAN, language="de"))
    report = checked.ingest(make_event("a", 1, GERMAN, language="en"))
    assert (report.superseded, report.chunks_opened) == (1, 0)
    assert checked.ingest(make_event("a", 1, GERMAN, language="de")).unchanged == 1
    assert language(checked, "a") == ("german", "event", None)


def test_an_expired_document_comes_back_in_its_language(checked: Pipeline) -> None:
    event = make_event("a", 1, GERMAN, language="de")
    checked.ingest(event)
    assert checked.expire(after_seconds=0).documents_expired == 1
    again = checked.ingest(event | {"expires_at": "2999-01-01T00:00:00Z"})
    assert again.applied == 1
    assert language(checked, "a") == ("german", "event", None)
    assert found(checked, "Dorf") == {"a"}


# ── detected ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def detecting(checked: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A source that detects, by a word."""

    def detect(text: str) -> str | None:
        return "de" if "Die" in text else None

    monkeypatch.setattr(language_module, "detected_language", detect)
    set_detection(checked, on=True)
    return checked


def set_detection(pipeline: Pipeline, *, on: bool) -> None:
    pipeline.spec = replace(pipeline.spec, detect_language=on)
    pipeline.configure()


def test_a_language_is_detected_where_the_event_names_none(detecting: Pipeline) -> None:
    report = detecting.ingest(
        make_event("de", 1, GERMAN),
        make_event("en", 1, ENGLISH),
        make_event("named", 1, GERMAN + " Auch.", language="fr"),
        make_event("und", 1, GERMAN + " Ja.", language="und"),
        make_event("unknown", 1, GERMAN + " Nein.", language="tlh"),
    )
    assert sums(detecting, report.batch) == (1, 1)
    assert language(detecting, "de") == ("german", "detected", None)
    assert language(detecting, "en") == ("english", "source", "unsure")
    assert language(detecting, "named") == ("french", "event", None)
    assert language(detecting, "und") == ("german", "detected", None)
    assert language(detecting, "unknown") == ("english", "source", "unknown")


def test_what_was_detected_stays_with_the_text(detecting: Pipeline) -> None:
    detecting.ingest(make_event("de", 1, GERMAN), make_event("en", 1, ENGLISH))
    report = detecting.ingest(
        make_event("de", 2, GERMAN, uri="https://example.org/de"),
        make_event("en", 2, ENGLISH, uri="https://example.org/en"),
    )
    assert (report.applied, report.chunks_opened, report.chunks_closed) == (2, 0, 0)
    assert sums(detecting, report.batch) == (0, 1)
    assert language(detecting, "de") == ("german", "detected", None)


def test_detection_that_is_switched_on_begins_with_the_next_version(detecting: Pipeline) -> None:
    set_detection(detecting, on=False)
    detecting.ingest(make_event("a", 1, GERMAN))
    assert language(detecting, "a") == ("english", "source", None)
    set_detection(detecting, on=True)
    assert detecting.ingest(make_event("a", 1, GERMAN)).unchanged == 1
    report = detecting.ingest(make_event("a", 2, GERMAN))
    assert (report.texts_embedded, report.chunks_opened) == (0, 1)
    assert language(detecting, "a") == ("german", "detected", None)
    set_detection(detecting, on=False)
    detecting.ingest(make_event("a", 3, GERMAN))
    assert language(detecting, "a") == ("english", "source", None)


# ── other versions of Freshet ───────────────────────────────────────────────────────────────────────────────────────


def test_what_an_older_preparer_wrote_is_published(
    checked: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names no language: new text is in that of the source, and text that stays keeps its own."""
    checked.ingest(make_event("kept", 1, GERMAN, language="de"))
    frame_of = preparer_module.document_frame
    added = ["stated_language", "language", "language_from", "language_note"]
    monkeypatch.setattr(preparer_module, "document_frame", lambda rows: frame_of(rows).drop(added))
    checked.ingest(
        make_event("kept", 2, GERMAN, language="de"), make_event("new", 1, ENGLISH, language="fr")
    )
    assert language(checked, "kept") == ("german", None, None)
    assert language(checked, "new") == ("english", None, None)


def test_events_that_an_older_consumer_staged_are_prepared(checked: Pipeline) -> None:
    ref = checked.stage(checked.records([make_event("a", 1, GERMAN)]))
    folder = Path(checked.store.url.removeprefix("file://"))
    frame = pl.read_parquet(folder / ref.url).drop("stated_language")
    content = to_parquet(frame)
    sha256 = hashlib.sha256(content).hexdigest()
    offsets = (ref.first_offset, ref.next_offset)
    url = events_name(ref.source, ref.topic, ref.partition, *offsets, sha256)
    (folder / url).write_bytes(content)
    report = checked.run(replace(ref, url=url, sha256=sha256))
    assert report.applied == 1
    assert language(checked, "a") == ("english", "source", None)


def test_chunks_of_before_have_the_language_of_the_source(checked: Pipeline) -> None:
    checked.ingest(make_event("a", 1, ENGLISH), make_event("b", 1, GERMAN, language="de"))
    checked.connection.execute(
        "UPDATE freshet.document SET language = NULL, language_from = NULL WHERE document_id = 'a'"
    )
    checked.connection.execute("UPDATE freshet.chunk SET language = NULL WHERE document_id = 'a'")
    assert found(checked, "opened sluices") == {"a"}
    assert {hit.language for hit in checked.search("opened sluices")} == {"english", "german"}
    report = checked.ingest(make_event("a", 2, ENGLISH))
    assert (report.chunks_opened, report.chunks_closed) == (0, 0)
    assert checked.ingest(make_event("a", 3, ENGLISH, language="de")).chunks_opened == 1


def test_rebuilt_search_texts_keep_their_language(checked: Pipeline) -> None:
    checked.ingest(make_event("a", 1, GERMAN, language="de"), make_event("b", 1, ENGLISH))
    checked.connection.execute("UPDATE freshet.chunk SET search_text = ''")
    rebuild_search_texts(checked.database_url)
    assert found(checked, "Dorf") == {"a"}
    checked.connection.execute(
        "UPDATE freshet.chunk SET search_text = freshet.search_text(language::regconfig, text)"
    )

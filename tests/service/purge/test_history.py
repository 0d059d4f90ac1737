"""History beyond the horizon goes, a search as of before is refused by name, and all that is within stays exact."""

import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from corpus.database import connect
from corpus.errors import ConfigurationError
from corpus.purge import purger as purger_module
from corpus.purge.purge import Phase
from tests.service.publish.test_random_histories import STRAY, History
from tests.support.auditing import Auditor, KeptLog
from tests.support.pipeline import LONG_TEXT, NOW_MS, Pipeline, make_event
from tests.support.purging import Purging

DAY = 86_400
BEYOND = r"as of \S+ lies before the history of source s, which goes back to "


@pytest.fixture
def purging(pipeline: Pipeline) -> Iterator[Purging]:
    yield Purging(pipeline)


def microseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1_000_000)


def published(pipeline: Pipeline) -> datetime:
    row = pipeline.connection.execute("SELECT last_published_at FROM freshet.source").fetchone()
    assert row is not None
    return row[0]


def seen(pipeline: Pipeline, instant: datetime) -> set[tuple[str, int]]:
    hits = pipeline.search("gauge", mode="text", k=50, as_of_us=microseconds(instant))
    return {(hit.document_id, hit.version) for hit in hits}


def test_nothing_is_removed_where_nothing_is_set(purging: Purging) -> None:
    pipeline = purging.pipeline
    pipeline.ingest(make_event("a", 1, "gauge one"))
    first = published(pipeline)
    pipeline.ingest(make_event("a", 2, "gauge two"))
    purging.age(10_000)
    assert purging.run().removed == {}
    assert purging.count("document") == 2
    assert purging.count("retention WHERE history_from IS NOT NULL") == 0
    with suppress(ConfigurationError):
        assert seen(pipeline, first)


def test_what_ended_before_the_horizon_goes_and_the_rest_stays(purging: Purging) -> None:
    pipeline = purging.pipeline
    pipeline.ingest(make_event("a", 1, "gauge one"), make_event("gone", 1, "gauge of the gone"))
    pipeline.ingest(make_event("a", 2, "gauge two"), make_event("gone", 2, op="delete"))
    purging.age(20)
    old = published(pipeline)
    pipeline.ingest(make_event("a", 3, "gauge three"))
    purging.age(5)
    within = published(pipeline)
    pipeline.ingest(make_event("a", 4, "gauge four"))
    purging.keep(history_seconds=10 * DAY)
    planned = purging.plan()
    result = purging.run()
    assert result.removed == {"chunks": 2, "versions": 2}
    assert {kind: n for kind, n in planned.removed.items() if n} == result.removed
    # The fence stays: a deleted document does not come back.
    assert pipeline.ingest(make_event("gone", 1, "gauge again")).superseded == 1
    assert seen(pipeline, within) == {("a", 3)}
    with pytest.raises(ConfigurationError, match=BEYOND):
        seen(pipeline, old)
    # The setting is removed: what is gone stays gone, and is still refused.
    purging.keep()
    assert purging.run().removed == {}
    with pytest.raises(ConfigurationError, match=BEYOND):
        seen(pipeline, old)


def test_a_batch_beyond_the_horizon_is_refused_and_other_sources_are_not(
    purging: Purging, tmp_path: Any
) -> None:
    pipeline = purging.pipeline
    pipeline.ingest(make_event("a", 1, "gauge one"))
    purging.age(30)
    long_ago = published(pipeline)
    purging.keep(history_seconds=DAY)
    purging.run()
    with pytest.raises(ConfigurationError, match=BEYOND):
        pipeline.search("gauge", mode="text", sources=("s",), as_of_batch=1)
    with Pipeline(
        pipeline.database_url, tmp_path, source="other", cleaner=pipeline.cleaner
    ) as other:
        other.ingest(make_event("b", 1, "gauge"))
        as_of = microseconds(long_ago)
        assert other.search("gauge", mode="text", sources=("other",), as_of_us=as_of) == ()
        with pytest.raises(ConfigurationError, match=BEYOND):
            other.search("gauge", mode="text", as_of_us=as_of)


def test_a_withdrawn_document_comes_back_with_what_is_sent(purging: Purging) -> None:
    """Its head stays as the fence; its content is purged, so it is prepared again."""
    pipeline = purging.pipeline
    text = "# Gauge\n\ngauge of the weir"
    event = make_event("a", 1, text)
    pipeline.ingest(event)
    assert pipeline.expire(after_seconds=1).documents_expired == 1
    renewed = make_event("a", 1, text, expires_at="2100-01-01T00:00:00Z")
    prepared_before = pipeline.stage(pipeline.records([renewed], partition=1))
    number = pipeline.number()
    unaware = pipeline.prepare([prepared_before], number)
    purging.age(3)
    purging.keep(history_seconds=2 * DAY)
    assert purging.run().removed == {"withdrawn": 1, "chunks": 1}
    assert purging.count("document WHERE title IS NOT NULL OR chunk_ids <> '{}'") == 0
    # A batch that was prepared before the purge is prepared again.
    pipeline.embed(unaware)
    with pytest.raises(Exception, match="changed after they were prepared"):
        pipeline.publish([prepared_before], unaware, number)
    # An older version, and the same with nothing new, change nothing.
    assert pipeline.ingest(make_event("a", 0, "gauge older")).superseded == 1
    assert pipeline.visible() == {}
    assert pipeline.run(prepared_before).applied == 1
    assert {name: version for name, (version, _) in pipeline.visible().items()} == {"a": 1}
    assert pipeline.connection.execute(STRAY).fetchall() == [(0,)]
    assert pipeline.search("gauge", mode="text")[0].title == "A"


def test_a_purge_that_is_repeated_or_ends_in_the_middle_counts_once(
    purging: Purging, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = purging.pipeline
    monkeypatch.setattr(purger_module, "PAGE", 2)
    for version in range(1, 8):
        pipeline.ingest(make_event("a", version, f"gauge {version}"))
    purging.age(3)
    pipeline.ingest(make_event("a", 8, "gauge 8"))
    purging.age(2)
    purging.keep(history_seconds=DAY)
    cursor = purging.begin()
    while cursor.phase is not Phase.DONE:
        purging.purger.step(cursor)  # its result is lost
        cursor = purging.purger.step(cursor)
    assert purging.purger.finish(cursor).removed == {"chunks": 7, "versions": 7}
    purging.age(2)
    assert purging.run().removed == {}
    assert purging.count("document") == 1
    row = pipeline.connection.execute("SELECT removed FROM freshet.retention").fetchone()
    assert row == ({"chunks": 7, "versions": 7},)


def test_one_page_at_a_time_whatever_the_source(purging: Purging) -> None:
    pipeline = purging.pipeline
    purging.keep(history_seconds=DAY)
    cursor = purging.begin()
    with connect(pipeline.database_url, autocommit=False) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtext('freshet.purge'))")
        waits = purging.purger.step(cursor)
    assert (waits.is_busy, waits.phase) == (True, cursor.phase)
    assert not purging.purger.step(waits).is_busy


@pytest.mark.parametrize("seed", range(2))
def test_as_of_is_exact_or_refused_while_a_purge_runs(
    purging: Purging, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Random events; searches as of every batch beside a purge give what they gave, or are refused; none gives less."""
    pipeline = purging.pipeline
    monkeypatch.setattr(purger_module, "PAGE", 3)
    history = History(pipeline, seed)
    history.texts = [f"{text}\n\ngauge" for text in history.texts]
    chance = random.Random(seed)
    kept: list[tuple[datetime, set[tuple[str, int]]]] = []
    for n in range(24):
        history.expire() if n and chance.random() < 0.15 else history.ingest()
        instant = published(pipeline)
        kept.append((instant, seen(pipeline, instant)))
        if n == 11:
            purging.age(4)
            kept = [(at - _days(4), rows) for at, rows in kept]
    purging.age(1)
    kept = [(at - _days(1), rows) for at, rows in kept]
    purging.keep(history_seconds=3 * DAY)
    stop = threading.Event()
    wrong: list[Any] = []
    refused: set[datetime] = set()

    def search_on_and_on() -> None:
        with connect(pipeline.database_url) as connection:
            reader = _Reader(pipeline, connection)
            while not stop.is_set():
                for at, rows in kept:
                    try:
                        if (found := reader.seen(at)) != rows:
                            wrong.append((at, rows, found))
                    except ConfigurationError as error:
                        assert "lies before the history of source s" in str(error)
                        refused.add(at)

    thread = threading.Thread(target=search_on_and_on)
    thread.start()
    purging.run()
    refused_before = set(refused)
    stop.set()
    thread.join()
    assert wrong == []
    assert refused_before <= {at for at, _ in kept[:12]}
    for at, rows in kept[12:]:
        assert seen(pipeline, at) == rows
    for at, _ in kept[:12]:
        with pytest.raises(ConfigurationError, match=BEYOND):
            seen(pipeline, at)
    assert pipeline.connection.execute(STRAY).fetchall() == [(0,)]
    # Life goes on: the same records again, and new ones.
    for _ in range(6):
        history.ingest()
    assert pipeline.connection.execute(STRAY).fetchall() == [(0,)]


def test_an_audit_of_what_was_purged_is_clean(pipeline: Pipeline) -> None:
    auditor = Auditor(pipeline, KeptLog(pipeline))
    purging = Purging(pipeline)
    pipeline.ingest(
        make_event("a", 1, "gauge one"),
        b"not json",
        make_event("long", 1, LONG_TEXT),
        make_event("b", 1, "gauge b"),
    )
    pipeline.ingest(make_event("a", 2, "gauge two"), make_event("b", 2, op="delete"))
    pipeline.connection.execute("UPDATE freshet.dead_letter SET produced_at = now()")
    purging.age(300)
    purging.keep(history_seconds=DAY, open_dead_letters_seconds=DAY)
    assert purging.run().removed == {"chunks": 2, "versions": 2, "dead_letters": 1}
    assert auditor.findings(auditor.run()) == []


class _Reader:
    """Searches on a connection of its own."""

    def __init__(self, pipeline: Pipeline, connection: Any) -> None:
        self.pipeline = pipeline
        self.connection = connection

    def seen(self, instant: datetime) -> set[tuple[str, int]]:
        from corpus.answer.search import search
        from corpus.service import SearchRequest

        request = SearchRequest(query="gauge", mode="text", k=50, as_of_us=microseconds(instant))
        hits = search(self.connection, request, self.pipeline.embedder.of).hits
        return {(hit.document_id, hit.version) for hit in hits}


def _days(days: int) -> Any:
    from datetime import timedelta

    return timedelta(days=days)


def test_a_withdrawn_document_keeps_its_chunks_when_its_version_is_corrected(
    purging: Purging,
) -> None:
    """The head is of today then, and its chunks ended long ago."""
    pipeline = purging.pipeline
    pipeline.spec = replace(pipeline.spec, version_scale="any")
    purging.keep(history_seconds=3600)
    pipeline.ingest(make_event("a", NOW_MS, "gauge of old", expires_at="2026-01-01T00:00:00Z"))
    pipeline.expire()
    purging.age(10)
    pipeline.correct("a", NOW_MS, 6)
    assert purging.run().removed.get("chunks") is None
    later = make_event("a", 6, "gauge of old", expires_at="2126-01-01T00:00:00Z")
    renewed = pipeline.ingest(later)
    assert (renewed.applied, renewed.dead_lettered, renewed.texts_embedded) == (1, 0, 0)
    assert pipeline.visible()["a"] == (6, "gauge of old")
    # Withdrawn again, it goes with its chunks.
    pipeline.ingest(make_event("a", 7, "gauge of old", expires_at="2026-01-01T00:00:00Z"))
    pipeline.expire()
    purging.age(10)
    purging.run()
    assert purging.count("chunk") == 0

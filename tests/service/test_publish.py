"""The publishing transaction against a real database: what the promises say of it."""

import hashlib
import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from corpus.answer.await_fresh import current_outcome
from corpus.batch import BatchInput, Expire, PublishRequest
from corpus.clean.cleaner import Cleaner
from corpus.errors import (
    BatchNumberTakenError,
    ConfigurationError,
    DatabaseRefusalError,
    MassExpiryError,
    MissingVectorError,
    PositionGapError,
    StalePreparationError,
)
from corpus.preparation import PreparationSpec
from corpus.publish.publisher import Publisher
from corpus.service import AwaitFreshRequest, WaitOutcome
from corpus.sql import query
from ingest.event import KafkaRecord
from tests.support.pipeline import NOW_MS, Pipeline, make_event
from tests.support.polling import wait_until


def tombstone(document_id: str) -> KafkaRecord:
    return KafkaRecord(
        topic="", partition=0, offset=0, timestamp_ms=NOW_MS, key=document_id.encode(), value=None
    )


def at(record: KafkaRecord, timestamp_ms: int) -> KafkaRecord:
    """The record, with another time."""
    return KafkaRecord(
        **{name: getattr(record, name) for name in record.__dataclass_fields__}
        | {"timestamp_ms": timestamp_ms}
    )


LONG = "\n\n".join(
    f"Paragraph {n}: " + "the gauging station at the weir recorded a level. " * 12
    for n in range(30)
)


def test_a_document_is_found(pipeline: Pipeline) -> None:
    report = pipeline.ingest(
        make_event("a", 1, "# Sluices\n\nHow the sluices are opened in spring.")
    )
    assert (report.records, report.applied, report.chunks_opened) == (1, 1, 1)
    hit = pipeline.search("sluices opened in spring", k=1)[0]
    assert (
        hit.document_id,
        hit.version,
        hit.batch,
        hit.topic,
        hit.partition,
        hit.offset,
        hit.position,
    ) == ("a", 1, 1, "s", 0, 0, 0)
    assert hit.observed_at_ms is not None


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
    events = [make_event("a", 1, LONG), make_event("b", 1, "other")]
    pipeline.ingest(*events)
    embedded = pipeline.embedder.embedded.total()
    report = pipeline.ingest(*events)
    assert (report.unchanged, report.chunks_opened, report.chunks_closed) == (2, 0, 0)
    assert pipeline.embedder.embedded.total() == embedded


def test_an_edit_touches_only_its_chunks(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, LONG))
    report = pipeline.ingest(
        make_event("a", 2, LONG.replace("Paragraph 15:", "Paragraph 15, amended:"))
    )
    assert 1 <= report.chunks_opened <= 3
    assert report.chunks_reused > 10
    assert report.texts_embedded == report.chunks_opened
    assert pipeline.visible()["a"][0] == 2
    assert "15, amended" in pipeline.visible()["a"][1]


def test_nothing_is_embedded_when_only_the_title_changes(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, LONG))
    report = pipeline.ingest(make_event("a", 2, LONG, title="Another"))
    assert (report.applied, report.texts_embedded, report.chunks_opened, report.chunks_closed) == (
        1,
        0,
        0,
        0,
    )
    assert pipeline.search("gauging station", k=1)[0].title == "Another"


def test_a_text_is_embedded_once_across_documents_and_sources(
    pipeline: Pipeline, database_url: str, tmp_path: Path, cleaner: Cleaner
) -> None:
    pipeline.ingest(make_event("a", 1, LONG))
    with Pipeline(
        database_url, tmp_path, source="other", cleaner=cleaner, embedder=pipeline.embedder
    ) as other:
        assert other.ingest(make_event("copy", 1, LONG)).texts_embedded == 0
    assert max(pipeline.embedder.embedded.values()) == 1


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


def test_a_time_that_no_calendar_has_stops_nothing(pipeline: Pipeline) -> None:
    """A producer writes microseconds where Kafka wants milliseconds."""
    records = pipeline.records([make_event("a", 1, "one"), b"no json"])
    report = pipeline.run(pipeline.stage([at(record, NOW_MS * 1000) for record in records]))
    assert (report.applied, report.dead_lettered) == (1, 1)
    hit = pipeline.search("one", k=1)[0]
    assert hit.observed_at_ms == report.published_at_ms


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


def test_a_gap_is_an_error_and_changes_nothing(pipeline: Pipeline) -> None:
    records = pipeline.records([make_event("a", 1, "one"), make_event("b", 1, "one")])
    with pytest.raises(PositionGapError, match="offsets 0 to 0 are missing"):
        pipeline.run(pipeline.stage(records[1:]))
    assert pipeline.visible() == {}
    assert pipeline.position(0) == 0


def test_holes_that_kafka_leaves_are_counted_apart(pipeline: Pipeline) -> None:
    records = pipeline.records([make_event("a", 1, "one")])
    pipeline.run(pipeline.stage(records, next_offset=5))
    assert pipeline.connection.execute(
        "SELECT records, absent FROM freshet.batch_range"
    ).fetchall() == [(1, 4)]
    assert pipeline.position(0) == 5


def test_a_repeated_attempt_returns_what_the_first_did(pipeline: Pipeline) -> None:
    ref = pipeline.stage(pipeline.records([make_event("a", 1, "one")]))
    number = pipeline.number()
    prepared = pipeline.prepare([ref], number)
    pipeline.embed(prepared)
    first = pipeline.publish([ref], prepared, number, run_id="run")
    assert pipeline.publish([ref], prepared, number, run_id="run") == first
    with pytest.raises(BatchNumberTakenError):
        pipeline.publish([ref], prepared, number, run_id="another")


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


def test_a_document_that_cannot_be_used_gives_way_to_its_next_best(
    database_url: str, tmp_path: Path, cleaner: Cleaner
) -> None:
    """As it would had each event come in a batch of its own."""
    with Pipeline(
        database_url, tmp_path, cleaner=cleaner, pipeline=PreparationSpec(max_chunks=3)
    ) as pipeline:
        report = pipeline.ingest(
            make_event("a", 1, "fine"), make_event("a", 2, LONG), make_event("b", 1, "fine too")
        )
        assert (report.applied, report.dead_lettered, report.superseded) == (2, 1, 0)
        assert pipeline.visible() == {"a": (1, "fine"), "b": (1, "fine too")}
        value = pipeline.connection.execute(
            "SELECT reason, value FROM freshet.dead_letter"
        ).fetchone()
        assert value is not None
        assert value[0] == "too_many_chunks"
        assert b"Paragraph 29" in value[1]


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
    pipeline.run(
        pipeline.stage(
            [
                KafkaRecord(
                    **{name: getattr(late, name) for name in late.__dataclass_fields__}
                    | {"timestamp_ms": 1_000}
                )
            ]
        )
    )
    assert pipeline.visible() == {}  # a late duplicate from before the expiry is no sign of life
    now = pipeline.connection.execute(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 60000"
    ).fetchone()
    assert now is not None
    fresh = pipeline.records([event])[0]
    pipeline.run(
        pipeline.stage(
            [
                KafkaRecord(
                    **{name: getattr(fresh, name) for name in fresh.__dataclass_fields__}
                    | {"timestamp_ms": now[0]}
                )
            ]
        )
    )
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
    report = pipeline.run(pipeline.stage([at(late, 1_000), at(fresh, now[0])]))
    assert (report.applied, report.unchanged) == (1, 1)
    assert pipeline.visible() == {"a": (1, "one")}


def test_as_of_a_batch_gives_what_was_visible_then(pipeline: Pipeline) -> None:
    first = pipeline.ingest(make_event("a", 1, "sluice one"))
    second = pipeline.ingest(make_event("a", 2, "sluice two"))
    pipeline.ingest(make_event("a", 3, op="delete"))
    for report, version in ((first, 1), (second, 2)):
        row = pipeline.connection.execute(
            "SELECT published_at FROM freshet.batch WHERE batch = %s", (report.batch,)
        ).fetchone()
        assert row is not None
        hits = pipeline.connection.execute(
            "SELECT version, text FROM freshet.search(NULL, 'sluice', 5, 'text', NULL, NULL, NULL, %s)",
            (row[0],),
        ).fetchall()
        assert [hit[0] for hit in hits] == [version]
    assert pipeline.search("sluice") == ()


class SlowStore:
    """A staging store that stops before it answers, until told to go on: a publisher in the middle of its transaction."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.reached, self.go_on = threading.Event(), threading.Event()

    def get(self, file: Any) -> bytes:
        self.reached.set()
        assert self.go_on.wait(60)
        return self._store.get(file)

    def delete(self, names: Any) -> None:
        self._store.delete(names)


def test_as_of_an_instant_waits_for_the_batch_that_is_being_committed(
    pipeline: Pipeline, database_url: str
) -> None:
    """The batch's instant has passed, its commit has not come: an answer without it would change."""
    pipeline.ingest(make_event("a", 1, "sluice one"))
    refs = [pipeline.stage(pipeline.records([make_event("a", 2, "sluice two")]))]
    number = pipeline.number()
    prepared = pipeline.prepare(refs, number)
    pipeline.embed(prepared)
    store = SlowStore(pipeline.store)
    pipeline.publisher = Publisher(store=store, pool=pipeline.pool)  # type: ignore[arg-type]
    with ThreadPoolExecutor(2) as threads:
        publishing = threads.submit(pipeline.publish, refs, prepared, number)
        try:
            assert store.reached.wait(60)
            now = math.ceil(time.time() * 1000)
            looking = threads.submit(pipeline.search, "sluice", as_of_ms=now)
            with psycopg.connect(database_url, autocommit=True) as other:
                waits = b"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND NOT granted"
                wait_until(lambda: other.execute(waits).fetchone() == (1,))
            assert not looking.done()
        finally:
            store.go_on.set()
        publishing.result()
        assert [hit.version for hit in looking.result()] == [2]
    assert [hit.version for hit in pipeline.search("sluice", as_of_ms=now)] == [2]
    assert [
        hit.version for hit in pipeline.search("sluice", as_of_ms=math.ceil(time.time() * 1000))
    ] == [2]


def test_as_of_the_future_is_refused(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "sluice one"))
    with pytest.raises(ConfigurationError, match="lies in the future"):
        pipeline.search("sluice", as_of_ms=round(time.time() * 1000) + 60_000)


def test_k_hits_when_k_exist_under_a_narrow_filter(pipeline: Pipeline) -> None:
    """pgvector's default returned nothing here: the filter is applied after the index scan."""
    pipeline.ingest(
        *(
            make_event(
                f"d{n}",
                1,
                f"document number {n} about weirs",
                metadata={"team": "rare" if n % 100 == 0 else "many"},
            )
            for n in range(1500)
        )
    )
    for mode in ("vector", "text", "hybrid"):
        hits = pipeline.search("weirs", k=10, mode=mode, metadata='{"team": "rare"}')
        assert len(hits) == 10
        assert len({hit.chunk_id for hit in hits}) == 10


def test_k_hits_by_text_though_the_rare_term_has_fewer(pipeline: Pipeline) -> None:
    """Common terms widen the search where the rare ones leave less than was asked for: by themselves, or under a filter."""
    team = {0: "rare"}
    events = [
        make_event(
            f"d{n}",
            1,
            f"document about {'sluices and ' if n < 3 else ''}weirs",
            metadata={"team": team.get(n % 100, "many")},
        )
        for n in range(6000)
    ]
    for start in range(0, len(events), 2000):
        pipeline.ingest(*events[start : start + 2000])
    hits = pipeline.search("sluices weirs", k=10, mode="text")
    assert [hit.document_id for hit in hits[:3]] == ["d0", "d1", "d2"]
    assert len({hit.chunk_id for hit in hits}) == 10
    narrow = pipeline.search("sluices weirs", k=10, mode="text", metadata='{"team": "rare"}')
    assert len({hit.chunk_id for hit in narrow}) == 10
    assert {hit.metadata for hit in narrow} == {'{"team": "rare"}'}


def test_a_query_of_another_space_is_refused_by_the_database(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    with pytest.raises(psycopg.Error) as caught:
        pipeline.connection.execute(
            "SELECT * FROM freshet.search('[1,2,3]'::vector, NULL, 5, 'vector')"
        )
    assert caught.value.sqlstate == "FR001"
    with pytest.raises(psycopg.errors.CheckViolation):
        pipeline.connection.execute("UPDATE freshet.chunk SET embedding = '[1,2,3]'")


def test_a_reader_never_sees_half_a_change(pipeline: Pipeline, database_url: str) -> None:
    """Promise 2, with a reader that looks all the time while a large document is rewritten."""
    pipeline.ingest(make_event("a", 1, LONG.replace("level", "v1")))
    stop = threading.Event()
    seen: list[tuple[int, bool, bool]] = []

    def read() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            while not stop.is_set():
                rows = connection.execute(
                    """SELECT d.version, c.text FROM freshet.document d
                       LEFT JOIN freshet.chunk c ON c.source = d.source AND c.document_id = d.document_id AND c.visible_to IS NULL
                       WHERE d.visible_to IS NULL"""
                ).fetchall()
                version = rows[0][0]
                complete = len(rows) == chunks and all(row[1] for row in rows)
                mixed = any(f"v{version}" not in row[1] for row in rows if row[1])
                seen.append((version, complete, mixed))

    chunks = pipeline.connection.execute(
        "SELECT count(*) FROM freshet.chunk WHERE visible_to IS NULL"
    ).fetchone()[0]  # type: ignore[index]
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for version in range(2, 8):
            pipeline.ingest(make_event("a", version, LONG.replace("level", f"v{version}")))
    finally:
        stop.set()
        reader.join()
    assert len(seen) > 20
    assert all(complete and not mixed for _, complete, mixed in seen)
    assert len({version for version, _, _ in seen}) > 3


def test_what_was_prepared_before_a_failover_skips_nothing(pipeline: Pipeline) -> None:
    """A repeated reference is prepared as applied already; then a standby takes over that lacks the last transactions."""
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


def test_a_chunk_beyond_what_text_search_holds_is_published(pipeline: Pipeline) -> None:
    """A tsvector ends at 1 MB; with `chunker = "whole"` a chunk does not."""
    pipeline.spec = replace(pipeline.spec, pipeline=PreparationSpec(chunker="whole"))
    pipeline.configure()
    words = " ".join(hashlib.sha256(str(n).encode()).hexdigest()[:12] for n in range(120_000))
    report = pipeline.ingest(
        make_event("small", 1, "fine"), make_event("large", 1, f"zanclean {words}")
    )
    assert (report.applied, report.dead_lettered) == (2, 0)
    assert [hit.document_id for hit in pipeline.search("zanclean", mode="text")] == ["large"]


def test_a_text_that_was_embedded_in_part_is_embedded_anew_in_whole(pipeline: Pipeline) -> None:
    text = " ".join(f"word{n} river" for n in range(60))
    for limit, truncated in ((16, True), (None, False)):
        pipeline.spec = replace(
            pipeline.spec, pipeline=PreparationSpec(chunker="whole", max_tokens=limit)
        )
        pipeline.configure()
        assert pipeline.ingest(make_event("a", 1 if truncated else 2, text)).texts_embedded == 1
        row = pipeline.connection.execute(
            "SELECT truncated, token_count FROM freshet.chunk WHERE visible_to IS NULL"
        ).fetchall()
        assert [found[0] for found in row] == [truncated]
        assert (row[0][1] == 16) is truncated


def test_the_same_text_in_another_format_gets_its_headings(pipeline: Pipeline) -> None:
    body = "# Sluices\n\nHow the sluices are opened in spring.\n\n" + "The weir holds. " * 200
    pipeline.ingest(make_event("a", 1, body, content_type="text/plain"))
    pipeline.ingest(make_event("a", 2, body, content_type="text/markdown"))
    pipeline.ingest(make_event("b", 2, body, content_type="text/markdown"))
    rows = pipeline.connection.execute(
        "SELECT chunk_headings, chunk_starts FROM freshet.document WHERE visible_to IS NULL"
    ).fetchall()
    assert rows[0] == rows[1]
    assert rows[0][0][-1] == "Sluices"


def test_a_refusal_of_the_database_is_no_outage(pipeline: Pipeline) -> None:
    """What PostgreSQL refuses it refuses again: to wait for ever would stop the source without a word."""
    pipeline.spec = replace(pipeline.spec, text_search_language="klingon")
    pipeline.configure()
    with pytest.raises(DatabaseRefusalError, match="klingon"):
        pipeline.ingest(make_event("a", 1, "one"))


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


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "a batch each"])
def test_a_deleted_version_that_could_never_be_used_keeps_nothing_out(
    database_url: str, tmp_path: Path, cleaner: Cleaner, together: bool
) -> None:
    """What the corpus holds does not depend on where batches are cut."""
    with Pipeline(
        database_url, tmp_path, cleaner=cleaner, pipeline=PreparationSpec(max_chunks=3)
    ) as pipeline:
        events = [
            make_event("a", 7, LONG),
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

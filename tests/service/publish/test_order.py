"""What decides between records of one document: never which was read first, nor where batches were cut."""

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from corpus.clean.cleaner import Cleaner
from corpus.errors import ConfigurationError
from corpus.source import VersionRule
from ingest.dead_letters.first_position import FirstPosition
from ingest.event import KafkaRecord
from tests.support.pipeline import NOW_MS, Pipeline, make_event
from workers.apply import checks

Rows = list[tuple[Any, ...]]
FUTURE_MS = 4_102_444_800_000  # 2100


def record(value: dict[str, Any] | None, at: int = NOW_MS, **other: Any) -> KafkaRecord:
    """A record of document "a"; None: a delete without a version."""
    body = None if value is None else json.dumps(value).encode()
    return KafkaRecord(
        topic="", partition=0, offset=0, timestamp_ms=at, key=b"a", value=body, **other
    )


def rows(pipeline: Pipeline, what: str) -> Rows:
    found = pipeline.connection.execute(
        f"SELECT {what} FROM freshet.document WHERE source = %s ORDER BY document_key",
        (pipeline.spec.source,),
    )
    return found.fetchall()


class Readings:
    """One log, read in every way: each order of its partitions, in one batch and in one each."""

    def __init__(self, url: str, folder: Path, cleaner: Cleaner) -> None:
        self.url, self.folder, self.cleaner = url, folder, cleaner
        self._numbers = itertools.count()

    def all(self, *partitions: Sequence[KafkaRecord | dict[str, Any]]) -> list[Pipeline]:
        made: list[Pipeline] = []
        for order in itertools.permutations(range(len(partitions))):
            for together in (True, False):
                number = next(self._numbers)
                pipeline = Pipeline(
                    self.url, self.folder / str(number), source=f"p{number}", cleaner=self.cleaner
                )
                made.append(pipeline)
                refs = [
                    pipeline.stage(pipeline.records(partitions[place], partition=place))
                    for place in order
                ]
                batches = [refs] if together else [[ref] for ref in refs]
                for batch in batches:
                    pipeline.run(*batch)
        return made

    def seen(self, *partitions: Sequence[KafkaRecord | dict[str, Any]]) -> dict[str, Any]:
        """What is visible, which is the same however the log was read."""
        pipelines = self.all(*partitions)
        ends = [pipeline.visible() for pipeline in pipelines]
        for pipeline in pipelines:
            pipeline.__exit__(None, None, None)
        assert all(end == ends[0] for end in ends), ends
        return ends[0]


@pytest.fixture
def readings(database_url: str, tmp_path: Path, cleaner: Cleaner) -> Iterator[Readings]:
    yield Readings(database_url, tmp_path, cleaner)


# ── deletes without a version, in another partition than their document ─────────────────────────────────────────────


def test_a_later_delete_deletes_whichever_partition_is_read_first(readings: Readings) -> None:
    gone = record(None, NOW_MS + 1_000)
    assert readings.seen([gone], [make_event("a", 1, "one")]) == {}
    assert readings.seen([record(None, NOW_MS - 1)], [make_event("a", 1, "one")]) == {
        "a": (1, "one")
    }


def test_what_a_delete_deleted_stays_so_in_every_order(readings: Readings) -> None:
    """Version 5 was written before the delete, and sent again after it, as was version 4."""
    gone = record(None, NOW_MS + 1_000)
    again = [record(make_event("a", version, "x"), NOW_MS + 9_000) for version in (5, 4)]
    assert readings.seen([gone, *again], [make_event("a", 5, "x")]) == {}
    newer = record(make_event("a", 6, "six"), NOW_MS + 9_000)
    assert readings.seen([gone, newer], [make_event("a", 5, "x")]) == {"a": (6, "six")}


def test_a_delete_of_what_comes_later_is_remembered(pipeline: Pipeline) -> None:
    report = pipeline.ingest(record(None, NOW_MS + 1_000))
    assert (report.unchanged, report.documents_deleted) == (1, 0)
    pipeline.position(1)
    report = pipeline.ingest(make_event("a", 3, "three"), partition=1)
    assert (report.superseded, pipeline.visible()) == (1, {})
    report = pipeline.ingest(record(make_event("a", 4, "four"), NOW_MS + 2_000), partition=1)
    assert (report.applied, pipeline.visible()) == (1, {"a": (4, "four")})


def test_a_document_whose_version_was_first_written_before_its_delete_goes(
    pipeline: Pipeline,
) -> None:
    """The first of two equal records is read last: only now is it known that the delete came between them."""
    pipeline.ingest(record(None, NOW_MS + 1_000))
    pipeline.ingest(record(make_event("a", 5, "x"), NOW_MS + 2_000))
    assert pipeline.visible() == {"a": (5, "x")}
    report = pipeline.ingest(record(make_event("a", 5, "x"), NOW_MS), partition=1)
    assert (report.applied, report.documents_deleted, pipeline.visible()) == (1, 1, {})
    assert rows(pipeline, "topic, partition, record_offset")[-1] == ("s", 0, 0)


def test_lineage_of_a_tombstone_names_the_record_that_deleted(pipeline: Pipeline) -> None:
    """The delete is in partition 0, an outdated upsert of the same document in partition 1."""
    pipeline.ingest(make_event("a", 5, "five"))
    first = pipeline.stage(pipeline.records([record(None)], partition=0))
    second = pipeline.stage(pipeline.records([make_event("a", 3, "three")], partition=1))
    report = pipeline.run(first, second)
    assert (report.applied, report.superseded, report.documents_deleted) == (1, 1, 1)
    where = rows(pipeline, "kind, version, topic, partition, record_offset")
    assert where[-1] == ("tombstone", 5, "s", 0, 1)


def test_lineage_of_a_delete_with_a_version_names_its_record(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 5, "five"))
    first = pipeline.stage(pipeline.records([make_event("a", 9, op="delete")], partition=0))
    second = pipeline.stage(pipeline.records([record(None)], partition=1))
    pipeline.run(first, second)
    assert rows(pipeline, "kind, version, partition, record_offset")[-1] == ("tombstone", 9, 0, 1)


# ── one version, several records ────────────────────────────────────────────────────────────────────────────────────


def test_of_one_version_the_first_written_stands(readings: Readings) -> None:
    first = record(make_event("a", 1, "first"), NOW_MS)
    other = record(make_event("a", 1, "second"), NOW_MS + 1)
    assert readings.seen([other], [first]) == {"a": (1, "first")}
    deleted = record(make_event("a", 1, op="delete"), NOW_MS + 1)
    assert readings.seen([deleted], [first]) == {"a": (1, "first")}
    deleted = replace(deleted, timestamp_ms=NOW_MS - 1)
    assert readings.seen([deleted], [first]) == {}


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "a batch each"])
def test_other_metadata_under_the_same_version_is_superseded_not_unchanged(
    pipeline: Pipeline, together: bool
) -> None:
    events = [
        make_event("a", 1, "text", metadata={"team": "one"}),
        make_event("a", 1, "text", metadata={"team": "two"}),
        make_event("a", 1, "text", metadata={"team": "one"}),
    ]
    reports = [pipeline.ingest(*events)] if together else [pipeline.ingest(one) for one in events]
    counts = [sum(getattr(one, name) for one in reports) for name in ("superseded", "unchanged")]
    assert counts == [1, 1]
    assert rows(pipeline, "metadata") == [({"team": "one"},)]


@pytest.mark.parametrize("content", ["first", "second"])
def test_sent_again_after_it_expired_it_comes_back_as_it_was(
    pipeline: Pipeline, content: str
) -> None:
    """Whether or not it expired in between, one version has the content that was written first."""
    now = round(time.time() * 1000)
    pipeline.ingest(record(make_event("a", 1, "first"), now - 3 * 86_400_000))
    pipeline.expire(after_seconds=2 * 86_400)
    assert pipeline.visible() == {}
    embedded = pipeline.embedder.embedded.total()
    report = pipeline.ingest(record(make_event("a", 1, content), now - 60_000))
    assert (report.applied, report.chunks_opened) == (1, 1)
    assert pipeline.visible() == {"a": (1, "first")}
    assert pipeline.embedder.embedded.total() == embedded
    assert [hit.document_id for hit in pipeline.search("first", k=1)] == ["a"]


def test_sent_again_after_it_was_deleted_it_stays_away(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "first", expires_at="2020-01-01T00:00:00Z"))
    pipeline.expire()
    pipeline.ingest(record(None, NOW_MS + 1_000))
    again = make_event("a", 1, "first", expires_at="2100-01-01T00:00:00Z")
    report = pipeline.ingest(record(again, NOW_MS + 2_000))
    assert (report.superseded, pipeline.visible()) == (1, {})


# ── the end of a document ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_later_end_under_the_same_version_takes_effect(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("lease", 1, "text", expires_at="2026-01-01T00:00:00Z"))
    embedded = pipeline.embedder.embedded.total()
    report = pipeline.ingest(make_event("lease", 1, "text", expires_at="2100-01-01T00:00:00Z"))
    assert (report.applied, report.documents_written, report.chunks_reused) == (1, 1, 1)
    assert (report.chunks_opened, report.chunks_closed) == (0, 0)
    assert pipeline.expire().documents_expired == 0
    assert pipeline.visible() == {"lease": (1, "text")}
    ends = [end.year for (end,) in rows(pipeline, "expires_at")]
    assert ends == [2026, 2100]  # as of the first batch, the document ended in 2026
    assert pipeline.embedder.embedded.total() == embedded


@pytest.mark.parametrize("expired", [True, False])
@pytest.mark.parametrize("together", [True, False])
def test_the_latest_end_counts_in_any_order(
    pipeline: Pipeline, expired: bool, together: bool
) -> None:
    ends = ["2019-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "2020-01-01T00:00:00Z"]
    events = [make_event("a", 1, "text", expires_at=end) for end in ends]
    if expired:
        pipeline.ingest(make_event("a", 1, "text", expires_at="2018-01-01T00:00:00Z"))
        assert pipeline.expire().documents_expired == 1
    if together:
        pipeline.ingest(*events)
    else:
        for event in events:
            pipeline.ingest(event)
    pipeline.expire()
    assert pipeline.visible() == {"a": (1, "text")}


def test_an_end_that_is_still_past_brings_nothing_back(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "text", expires_at="2019-01-01T00:00:00Z"))
    pipeline.expire()
    report = pipeline.ingest(make_event("a", 1, "text", expires_at="2020-01-01T00:00:00Z"))
    assert (report.superseded, pipeline.visible()) == (1, {})


# ── times and offsets that are no versions ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("unit", [1_000, 1_000_000, 0.001], ids=["µs", "ns", "s"])
@pytest.mark.parametrize("rule", [VersionRule.EVENT, VersionRule.RECORD])
def test_a_producer_that_writes_times_in_another_unit_freezes_no_document(
    pipeline: Pipeline, unit: float, rule: VersionRule
) -> None:
    pipeline.spec = replace(pipeline.spec, version_rule=rule)
    pipeline.configure()
    at = 1_780_000_000_000
    pipeline.ingest(record({"id": "a", "content": "old"}, round(at * unit)))
    pipeline.ingest(record({"id": "a", "content": "newer"}, round((at + 60_000) * unit)))
    assert pipeline.visible()["a"][1] == "newer"
    pipeline.ingest(record({"id": "a", "content": "newest"}, at + 120_000))
    assert pipeline.visible()["a"][1] == "newest"
    pipeline.ingest(record(None, round((at + 180_000) * unit)), partition=1)
    assert pipeline.visible() == {}
    observed = rows(pipeline, "observed_at")
    assert [one.year for (one,) in observed] == [2026] * len(observed)


def test_a_time_in_the_future_is_no_version(pipeline: Pipeline) -> None:
    report = pipeline.ingest(record({"id": "a", "content": "of 2100"}, FUTURE_MS))
    assert report.dead_lettered == 1
    pipeline.ingest(record({"id": "a", "content": "of now"}))
    assert pipeline.visible()["a"][1] == "of now"
    found = pipeline.connection.execute("SELECT reason, detail FROM freshet.dead_letter").fetchall()
    assert [reason for reason, _ in found] == ["no_version"]
    assert "more than 24 hours ahead" in found[0][1]


def test_a_delete_of_the_future_deletes_what_its_own_log_has_before_it(pipeline: Pipeline) -> None:
    """It has no time, so it is older than what other logs have."""
    pipeline.ingest(make_event("a", 1, "one"))
    pipeline.ingest(record(None, FUTURE_MS))
    assert pipeline.visible() == {}
    pipeline.ingest(make_event("a", 2, "two"), partition=1)
    assert pipeline.visible() == {"a": (2, "two")}


@pytest.mark.parametrize("topic_id", [None, "topic-id"])
@pytest.mark.parametrize("rule", [VersionRule.RECORD, VersionRule.EVENT])
def test_a_redriven_record_of_an_earlier_log_of_its_topic_stays_old(
    pipeline: Pipeline, rule: VersionRule, topic_id: str | None
) -> None:
    pipeline.spec = replace(pipeline.spec, version_rule=rule)
    pipeline.configure()
    pipeline.recreate_topic()
    pipeline.ingest(record({"id": "a", "content": "new text"}))
    old = FirstPosition("s", 0, 500, NOW_MS - 86_400_000, topic_id=topic_id)
    headers = tuple(old.headers(7))
    late = record({"id": "a", "content": "old text"}, NOW_MS + 60_000, headers=headers)
    assert pipeline.ingest(late).superseded == 1
    gone = record(None, NOW_MS + 90_000, headers=headers)
    assert pipeline.ingest(gone).superseded == 1
    assert pipeline.visible()["a"][1] == "new text"


@pytest.mark.parametrize("offset", [1, 500])
def test_an_offset_of_an_earlier_log_is_no_version(pipeline: Pipeline, offset: int) -> None:
    pipeline.spec = replace(pipeline.spec, version_rule=VersionRule.OFFSET)
    pipeline.configure()
    pipeline.recreate_topic()
    pipeline.ingest(make_event("b", None, "b"), make_event("a", None, "new text"))
    old = FirstPosition("s", 0, offset, NOW_MS - 86_400_000, topic_id="topic-id")
    headers = tuple(old.headers(7))
    late = record({"id": "a", "content": "old text"}, NOW_MS + 60_000, headers=headers)
    assert pipeline.ingest(late).dead_lettered == 1
    assert pipeline.visible()["a"][1] == "new text"


def test_a_dead_letter_remembers_the_incarnation_of_its_topic(pipeline: Pipeline) -> None:
    pipeline.ingest(b"no json")
    pipeline.recreate_topic()
    pipeline.ingest(b"no json")
    found = pipeline.connection.execute(
        "SELECT topic_id FROM freshet.dead_letter ORDER BY dead_letter"
    ).fetchall()
    assert found == [("topic-id",), ("topic-id-anew",)]


def test_offsets_of_a_topic_that_was_made_anew_do_not_undo_a_delete(pipeline: Pipeline) -> None:
    """Offset 0 of the new log is not before offset 1 of the old one: times decide."""
    pipeline.ingest(make_event("a", 1, "one"))
    pipeline.recreate_topic()
    pipeline.ingest(record(None, NOW_MS + 60_000))
    assert pipeline.visible() == {}


def test_the_greatest_version_shuts_out_no_delete(pipeline: Pipeline) -> None:
    pipeline.spec = replace(pipeline.spec, version_scale="any")
    pipeline.configure()
    pipeline.ingest(make_event("a", 2**63 - 1, "greatest"))
    pipeline.ingest(record(None))
    assert pipeline.visible() == {}
    assert pipeline.ingest(make_event("a", 2**63 - 1, "again")).superseded == 1


# ── the rule itself ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("deleted", [False, True])
def test_apply_refuses_another_version_rule_while_versions_are_known(
    pipeline: Pipeline, deleted: bool
) -> None:
    def check() -> None:
        after = replace(pipeline.spec, version_rule=VersionRule.RECORD)
        config = SimpleNamespace(sources=(after,))
        target: Any = SimpleNamespace(config=config, continuing=(after,))
        checks.check(pipeline.connection, target)

    check()
    pipeline.ingest(make_event("a", 1, "one"))
    if deleted:
        pipeline.ingest(make_event("a", 2, op="delete"))
    with pytest.raises(ConfigurationError, match=r"version_rule cannot change from 'event'"):
        check()


def test_a_head_of_the_version_before_is_judged_by_its_record(pipeline: Pipeline) -> None:
    """Its columns are empty; the record that it names stands in for them."""
    pipeline.ingest(make_event("a", 1, "one"), make_event("b", 1, "one"))
    pipeline.connection.execute(
        "UPDATE freshet.document SET first_record = NULL, written = NULL, deletes = NULL"
    )
    assert pipeline.ingest(make_event("a", 1, "other")).superseded == 1
    pipeline.ingest(record(None, NOW_MS - 60_000), partition=1)  # older, of another log
    assert set(pipeline.visible()) == {"a", "b"}
    pipeline.ingest(record(None, NOW_MS - 60_000))  # of the same log, and later in it
    assert set(pipeline.visible()) == {"b"}

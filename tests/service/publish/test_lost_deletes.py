"""A hole that compaction may have left over a tombstone is named until the corpus was compared with the topic."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from compose.local.checks import CheckFailedError
from compose.local.topics_check import judge_deletes, judge_lost
from ingest.condition import deletes_in_vain
from ingest.consume.compaction import deletes_reconciled, lost_deletes
from ingest.consume.partition_state import PartitionLog
from ingest.kafka import Cluster, PartitionKey
from tests.support.fake_kafka import FakeCluster
from tests.support.pipeline import Pipeline, make_event, tombstone

COMPACTED = {"cleanup.policy": "compact"}
KEY = PartitionKey("s", 0)


@pytest.fixture
def kafka() -> Any:
    cluster = FakeCluster({"s": 1})
    cluster.settings["s"] = COMPACTED
    return cluster


def lost(pipeline: Pipeline, kafka: Any, end: int = 0) -> list[str]:
    log = PartitionLog(
        cluster_id="c", topic="s", topic_id="i", partition=0, first_offset=0, next_offset=end
    )
    logs = {KEY: log} if end else {}
    return lost_deletes(pipeline.connection, kafka, ["s"], logs).get("s", [])


def read_last(pipeline: Pipeline, days: float) -> None:
    """Everything that was written before then is known."""
    pipeline.connection.execute(
        "UPDATE freshet.source_position SET begun_at = now() - make_interval(secs => %s), newest_at = NULL",
        (days * 86_400,),
    )


def ingest(pipeline: Pipeline, *, hole: int) -> None:
    """One record, behind so many offsets that are gone."""
    start = pipeline.position(0)
    records = pipeline.records([make_event("a", start + 1, "text")], first_offset=start + hole)
    pipeline.run(pipeline.stage(records, first_offset=start))


def test_a_hole_that_was_read_too_late_is_named_and_stays_so(
    pipeline: Pipeline, kafka: Any
) -> None:
    read_last(pipeline, days=3)
    ingest(pipeline, hole=2)
    ingest(pipeline, hole=0)
    [line] = lost(pipeline, kafka)
    since = datetime.now(UTC) - timedelta(days=3)
    assert line.startswith(f"deletes may be lost since {since:%Y-%m-%d}")
    assert "freshet audit --source s --repair" in line
    with pytest.raises(CheckFailedError, match="s: deletes may be lost"):
        judge_lost({"s": [line]})


def test_a_hole_in_a_later_batch_of_the_catching_up_is_named(
    pipeline: Pipeline, kafka: Any
) -> None:
    """Its records are old, so that what was deleted since is not known yet."""
    read_last(pipeline, days=9)
    ingest(pipeline, hole=0)
    pipeline.connection.execute(
        "UPDATE freshet.source_position SET newest_at = now() - interval '8 days'"
    )
    ingest(pipeline, hole=1)
    assert len(lost(pipeline, kafka)) == 1


@pytest.mark.parametrize(
    ("days", "hole", "settings"),
    [
        (3, 0, COMPACTED),  # quiet for long, and nothing is missing
        (0.5, 2, COMPACTED),  # compaction beside a reading in time
        (3, 2, {"cleanup.policy": "delete"}),  # markers of transactions
    ],
    ids=["no hole", "in time", "not compacted"],
)
def test_where_no_delete_can_be_lost_none_is_named(
    pipeline: Pipeline, kafka: Any, days: float, hole: int, settings: dict[str, str]
) -> None:
    kafka.settings["s"] = settings
    read_last(pipeline, days=days)
    ingest(pipeline, hole=hole)
    assert lost(pipeline, kafka) == []


def test_the_first_reading_of_an_old_compacted_topic_names_none(
    pipeline: Pipeline, kafka: Any
) -> None:
    """Whatever was deleted in it, the corpus never had."""
    read_last(pipeline, days=0)
    for _ in range(3):
        ingest(pipeline, hole=3)
        pipeline.connection.execute(
            "UPDATE freshet.source_position SET newest_at = now() - interval '400 days'"
        )
    assert lost(pipeline, kafka) == []


def test_what_is_gone_before_it_was_read_is_named_while_the_source_waits(
    pipeline: Pipeline, kafka: Any
) -> None:
    read_last(pipeline, days=3)
    assert lost(pipeline, kafka, end=5) == []  # a record is where the source continues
    kafka.only_holes.add(KEY)
    assert len(lost(pipeline, kafka, end=5)) == 1


def test_a_comparison_with_the_topic_settles_what_was_before_it(
    pipeline: Pipeline, kafka: Any
) -> None:
    read_last(pipeline, days=3)
    ingest(pipeline, hole=2)
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    deletes_reconciled(pipeline.connection, "s", an_hour_ago)
    assert len(lost(pipeline, kafka)) == 1, "the hole was published after that"
    deletes_reconciled(pipeline.connection, "s", datetime.now(UTC))
    assert lost(pipeline, kafka) == []
    ingest(pipeline, hole=2)
    assert lost(pipeline, kafka) == []


def test_the_settings_of_topics_are_read(
    kafka_bootstrap: str, make_topic: Callable[..., str]
) -> None:
    compacted = make_topic(**{"cleanup.policy": "compact,delete", "delete.retention.ms": "12345"})
    settings = Cluster(kafka_bootstrap, {}).topic_settings([compacted, "no-such-topic"])
    known = settings.answers[compacted]
    assert (known["cleanup.policy"], known["delete.retention.ms"]) == ("compact,delete", "12345")
    assert "no-such-topic" in settings.refusals
    assert Cluster(kafka_bootstrap, {}).topic_settings([]).answers == {}


# ── deletes that name no document ───────────────────────────────────────────────────────────────────────────────────


def test_deletes_of_documents_and_of_none_are_counted_apart(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"), make_event("b", 1, "two"))
    report = pipeline.ingest(
        tombstone("a"),
        make_event("b", 2, op="delete"),
        make_event("never", 5, op="delete"),
        tombstone('{"id": "b"}'),
    )
    assert (report.documents_deleted, report.deletes_without_document) == (2, 2)
    assert (report.applied, report.unchanged) == (3, 1)


def test_a_source_whose_deletes_name_nothing_is_named_with_figures(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"), make_event("b", 1, "two"))
    pipeline.ingest(*(tombstone(f'{{"id": {number}}}') for number in range(12)), tombstone("a"))
    rows = [{"source": "s", "documents_deleted": 1, "deletes_without_document": 12}]
    with pytest.raises(CheckFailedError, match=r"s: 12 of 13 deletes \(92%\) name documents that"):
        judge_deletes(rows)
    assert deletes_in_vain(rows[0] | {"deletes_without_document": 9}) == ""
    assert deletes_in_vain(rows[0] | {"documents_deleted": 12}) == ""
    fine = [{"source": "s", "documents_deleted": 12, "deletes_without_document": 3}]
    assert judge_deletes(fine) == "12 deletes of documents, 3 of what was never there"

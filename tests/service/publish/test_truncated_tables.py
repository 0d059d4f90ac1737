"""A truncated table: nothing is deleted before a person said so, then all that was there, once, and nothing else."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.clean.cleaner import Cleaner
from corpus.errors import ConfigurationError
from corpus.source import VersionRule
from corpus.specs.formats import MappingSpec
from corpus.versions.truncation import Decision, Place, place_in
from ingest.consume.positions import decisions_of, positions_read
from ingest.consume.truncated import decide, plan_truncation
from ingest.event import KafkaRecord
from ingest.stage import SourceStoppedError
from tests.support.debezium import NOW_MS, change, record
from tests.support.pipeline import Pipeline, with_time

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def cleaner() -> Iterator[Cleaner]:
    with Cleaner(processes=1) as made:
        yield made


@pytest.fixture(params=["by the log", "by the record"])
def table(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path, cleaner: Cleaner
) -> Iterator[Pipeline]:
    """With the versions of the database's log; and without, where a truncation is a delete without a version."""
    rule = VersionRule.OWN if request.param == "by the log" else VersionRule.RECORD
    mapping = MappingSpec(content="text")
    spec: dict[str, Any] = {"format": "debezium", "mapping": mapping, "version_rule": rule}
    with Pipeline(database_url, tmp_path, cleaner=cleaner, **spec) as made:
        yield made


def row(number: int, lsn: int) -> KafkaRecord:
    made = change("c", lsn, {"id": number, "text": f"Row {number} of {lsn}."})
    return with_time(made, NOW_MS + lsn)


def truncate(lsn: int) -> KafkaRecord:
    source = {"connector": "postgresql", "lsn": lsn, "ts_ms": NOW_MS, "table": "notes"}
    made = record(None, {"before": None, "after": None, "source": source, "op": "t"})
    return with_time(made, NOW_MS + lsn)


def ids(pipeline: Pipeline) -> list[str]:
    return sorted(pipeline.visible())


def refused(pipeline: Pipeline, records: list[KafkaRecord]) -> Place:
    """Stage records, which halts the source; returns where."""
    with pytest.raises(SourceStoppedError) as halted:
        pipeline.stage(records)
    place = place_in(str(halted.value))
    assert place is not None
    return place


def say(pipeline: Pipeline, records: list[KafkaRecord], decision: Decision) -> int:
    """Decide about the truncation that halts the source; returns how many documents came of the table."""
    place = refused(pipeline, records)
    [found] = [each for each in records if each.offset == place.offset]
    [position] = [
        each
        for each in positions_read(pipeline.connection, pipeline.spec)
        if each.partition == place.partition
    ]
    plan = plan_truncation(pipeline.connection, pipeline.spec, place, position, found)
    decide(pipeline.connection, plan, decision, "as the owner said", "test")
    pipeline.decisions = decisions_of(pipeline.connection, [pipeline.spec.source])
    return plan.documents


def applied(pipeline: Pipeline) -> list[tuple[str, int | None]]:
    query = "SELECT decision, documents FROM freshet.truncation ORDER BY record_offset"
    return pipeline.connection.execute(query).fetchall()


def test_documents_are_deleted_when_a_person_has_said_so(table: Pipeline) -> None:
    table.ingest(row(1, 10), row(2, 20), row(3, 30))
    records = table.records([truncate(40), row(3, 50), row(4, 60)])
    assert refused(table, records).offset == 3
    assert ids(table) == ["1", "2", "3"]
    assert say(table, records, Decision.DELETE) == 3
    assert (ids(table), applied(table)) == (["1", "2", "3"], [("delete", None)])

    report = table.run(table.stage(records))
    # What the batch says of a document itself is from after the truncation.
    assert (ids(table), report.documents_deleted) == (["3", "4"], 2)
    assert table.visible()["3"][1] == "Row 3 of 50."
    assert (report.ignored, report.applied, report.records) == (1, 2, 3)
    assert applied(table) == [("delete", 2)]


def test_what_was_there_before_does_not_come_back(table: Pipeline) -> None:
    table.ingest(row(1, 10))
    records = table.records([row(2, 20), truncate(40)])
    say(table, records, Decision.DELETE)
    report = table.run(table.stage(records))
    assert (ids(table), report.ignored, report.documents_deleted) == ([], 2, 1)
    # A partition that was behind.
    late = table.records([row(7, 30), row(8, 70)], partition=1)
    table.run(table.stage(late))
    assert ids(table) == ["8"]


def test_documents_are_kept_when_a_person_has_said_so(table: Pipeline) -> None:
    table.ingest(row(1, 10))
    records = table.records([row(2, 20), truncate(40), row(3, 50)])
    assert say(table, records, Decision.KEEP) == 1
    report = table.run(table.stage(records))
    assert (ids(table), report.documents_deleted, report.ignored) == (["1", "2", "3"], 0, 1)


def test_a_batch_that_is_published_again_deletes_nothing_again(table: Pipeline) -> None:
    table.ingest(row(1, 10))
    records = table.records([truncate(40)])
    say(table, records, Decision.DELETE)
    table.run(table.stage(records))
    assert ids(table) == []
    table.ingest(row(1, 60))
    again = table.run(table.stage(records))
    assert (again.documents_deleted, ids(table)) == (0, ["1"])
    assert applied(table) == [("delete", 1)]


def test_a_database_without_the_decision_deletes_nothing(table: Pipeline) -> None:
    table.ingest(row(1, 10))
    records = table.records([truncate(40)])
    say(table, records, Decision.DELETE)
    staged = table.stage(records)
    table.connection.execute("DELETE FROM freshet.truncation")  # an older database was restored
    with pytest.raises(ConfigurationError, match="nobody decided about the truncated table"):
        table.run(staged)
    assert ids(table) == ["1"]


def test_a_record_that_is_none_any_more_is_named(table: Pipeline) -> None:
    table.ingest(row(1, 10))
    [position] = positions_read(table.connection, table.spec)
    place = Place(topic="s", partition=0, offset=1)
    for found, message in ((None, "not in Kafka any more"), (row(1, 10), "no truncation any more")):
        with pytest.raises(ConfigurationError, match=message):
            plan_truncation(table.connection, table.spec, place, position, found)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("table", ["by the log"], indirect=True)
def test_any_cut_and_any_repetition_ends_as_the_table(table: Pipeline, seed: int) -> None:
    """A connector that was killed sends a stretch of its log again, truncations included."""
    rng = random.Random(seed)
    log: list[KafkaRecord] = []
    rows: set[str] = set()
    for lsn in range(10, 200, 10):
        if rng.random() < 0.15:
            log.append(truncate(lsn))
            rows.clear()
        else:
            number = rng.randint(1, 5)
            log.append(row(number, lsn))
            rows.add(str(number))
    begin = rng.randint(0, len(log) - 1)
    sent = log[: rng.randint(begin, len(log))] + log[begin:]
    while sent:
        size = rng.randint(1, 6)
        records, sent = table.records(sent[:size]), sent[size:]
        _decide_all(table, records)
        table.run(table.stage(records))
    assert set(ids(table)) == rows, seed


def _decide_all(table: Pipeline, records: list[KafkaRecord]) -> None:
    for _ in records:
        try:
            table.stage(records)
        except SourceStoppedError:
            say(table, records, Decision.DELETE)

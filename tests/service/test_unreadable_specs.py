"""One row of `freshet.source` that this version cannot read: its own source waits, everything else works."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from corpus.answer import searched
from corpus.errors import UnreadableSpecError
from corpus.source import SourceSpec, read_spec
from freshness import scan
from freshness.policy import FreshnessStatus
from ingest.consume.positions import Positions
from ingest.kafka import Cluster
from ingest.overview import overview
from tests.support.consuming import Bench, bench
from tests.support.pipeline import Pipeline, make_event
from tests.support.polling import until
from workers.apply.schedules import Schedules
from workers.apply.sources import read_sources

pytestmark = pytest.mark.service

# A newer version wrote a rule that this one does not know; a person damaged a row by hand; a topic that is none.
UNREADABLE: dict[str, Any] = {
    "newer": SourceSpec(source="newer", topics=("t",)).to_json() | {"version_rule": "content"},
    "damaged": {"source": "damaged", "limits": {"max_records": "many"}},
    "empty": None,
    "swapped": SourceSpec(source="s", topics=("t",)).to_json(),
    "pattern": SourceSpec(source="pattern", topics=("^.*",)).to_json(),
}
INSERT = "INSERT INTO freshet.source (source, spec) VALUES (%s, %s)"


def add_unreadable(connection: Any) -> None:
    for source, spec in UNREADABLE.items():
        connection.execute(INSERT, (source, Jsonb(spec)))


def test_the_other_sources_are_read_and_each_reason_is_named(pipeline: Pipeline) -> None:
    add_unreadable(pipeline.connection)
    positions = Positions(pipeline.pool, Cluster.__new__(Cluster))
    for _ in range(2):
        assert [active.spec.source for active in positions.active_sources()] == ["s"]
        assert positions.unreadable.keys() == UNREADABLE.keys()
    pipeline.connection.execute("DELETE FROM freshet.source WHERE source = 'newer'")
    positions.active_sources()
    assert "newer" not in positions.unreadable


def test_a_row_that_is_written_again_is_read_again(pipeline: Pipeline) -> None:
    positions = Positions(pipeline.pool, Cluster.__new__(Cluster))
    (before,) = positions.active_sources()
    update = "UPDATE freshet.source SET spec = %s, epoch = %s WHERE source = 's'"
    pipeline.connection.execute(update, (Jsonb({"source": "s"}), 0))
    assert positions.active_sources() == []
    pipeline.connection.execute(update, (Jsonb(before.spec.to_json()), 5))
    (after,) = positions.active_sources()
    assert (after.spec, after.epoch) == (before.spec, 5)
    assert positions.unreadable == {}


def test_searches_reports_and_apply_go_on(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    add_unreadable(pipeline.connection)
    assert [hit.document_id for hit in pipeline.search("one")] == ["a"]
    with pytest.raises(UnreadableSpecError, match="source 'newer' cannot be searched"):
        pipeline.search("one", sources=("newer",))
    reports, _ = scan.latest(pipeline.connection)
    errors = {report.source: report.error or "" for report in reports}
    assert all(report.status is FreshnessStatus.RUNTIME_ERROR for report in reports)
    assert "stored specification" in errors["newer"]
    readable = read_sources(pipeline.connection)
    assert readable.keys() == {"s", "pattern"}  # the topic is wrong for Kafka only


def test_a_search_reads_a_specification_once_and_again_when_it_changed(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def noted(source: str, stored: Any) -> SourceSpec:
        read.append(source)
        return read_spec(source, stored)

    monkeypatch.setattr(searched, "read_spec", noted)
    monkeypatch.setattr(searched, "_known", searched._Known())
    pipeline.ingest(make_event("a", 1, "one"))
    add_unreadable(pipeline.connection)
    for _ in range(2):
        assert [hit.document_id for hit in pipeline.search("one")] == ["a"]
    assert sorted(read) == sorted(["s", *UNREADABLE])
    read.clear()
    update = "UPDATE freshet.source SET spec = %s WHERE source = 's'"
    pipeline.connection.execute(update, (Jsonb(UNREADABLE["damaged"]),))
    with pytest.raises(UnreadableSpecError, match="source 's' cannot be searched"):
        pipeline.search("one", sources=("s",))
    assert read == ["s"]


def test_an_unreadable_source_with_ends_of_its_own_stops_no_apply(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one", expires_at="2199-01-01T00:00:00Z"))
    services: Any = SimpleNamespace(connection=pipeline.connection, installation=None)
    target: Any = SimpleNamespace(continuing=())
    wanted = asyncio.run(Schedules().desired(services, target))
    assert len(wanted) == 1
    pipeline.connection.execute(
        "UPDATE freshet.source SET spec = %s", (Jsonb(UNREADABLE["damaged"]),)
    )
    assert asyncio.run(Schedules().desired(services, target)) == {}


@pytest.mark.parametrize("mode", ["text", "vector", "hybrid"])
def test_what_is_left_out_of_a_search_is_left_out_of_its_answer(
    pipeline: Pipeline, mode: str
) -> None:
    """Its documents, and its dictionary, which this server may not have."""
    pipeline.ingest(make_event("a", 1, "lighthouses"))
    with Pipeline(
        pipeline.database_url, Path(pipeline.store.url.removeprefix("file://")), source="other"
    ) as other:
        other.ingest(make_event("b", 1, "lighthouses"))
        assert len(pipeline.search("lighthouses", mode=mode)) == 2
        damaged = {"text_search_language": "klingon"}
        pipeline.connection.execute(
            "UPDATE freshet.source SET spec = %s WHERE source = 'other'", (Jsonb(damaged),)
        )
    assert [hit.document_id for hit in pipeline.search("lighthouses", mode=mode)] == ["a"]


@pytest.fixture
async def stand(
    database_url: str, kafka_bootstrap: str, tmp_path: Path, make_topic: Callable[[int], str]
) -> AsyncIterator[Bench]:
    with bench(database_url, kafka_bootstrap, tmp_path, make_topic(1)) as made:
        yield made


@pytest.mark.timeout(90)
async def test_a_running_consumer_goes_on(stand: Bench, make_topic: Callable[[int], str]) -> None:
    topic = make_topic(1)
    stand.add_source("good", topic)
    stand.produce(topic, 3)
    async with stand.consumer():
        await until(lambda: stand.ledger.records("good") == 3)
        for source, spec in UNREADABLE.items():
            await asyncio.to_thread(stand.execute, INSERT, source, Jsonb(spec))
        later = make_topic(1)
        stand.add_source("later", later)
        stand.produce(later, 2)
        await until(lambda: stand.ledger.records("later") == 2)
    with stand.pool.connection() as connection:
        problems = {row["source"]: row["problems"] for row in overview(connection, stand.cluster())}
    assert (problems["good"], problems["later"]) == ([], [])
    assert all(problems[source] for source in UNREADABLE)

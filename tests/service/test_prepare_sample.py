"""The estimate of what preparing a source again embeds."""

from typing import Any

import pytest

from ingest import prepare_again
from ingest.event import KafkaRecord
from tests.support.fake_kafka import FakeCluster
from tests.support.pipeline import Pipeline, make_event
from tests.support.upgrading import upgrade
from workers.prepare_sample import Sample, sample

pytestmark = pytest.mark.service


def tried(pipeline: Pipeline, records: dict[int, KafkaRecord], limit: int = 50) -> Sample:
    source = pipeline.spec.source
    cluster: Any = FakeCluster({source: 1}, {(source, 0): (0, pipeline.next_offset[0])})
    cluster.id, cluster.topic_ids = "cluster", {source: pipeline.topic_id}
    plan = prepare_again.plan(pipeline.connection, cluster, source)

    def read(_topic: str, _partition: int, offset: int) -> KafkaRecord | None:
        return records.get(offset)

    return sample(pipeline.connection, read, pipeline.spec, plan, limit)


def published(pipeline: Pipeline, *events: dict[str, Any]) -> dict[int, KafkaRecord]:
    records = pipeline.records(events)
    pipeline.run(pipeline.stage(records))
    return {record.offset: record for record in records}


def test_texts_that_have_no_vector_are_counted(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [make_event(f"d{n}", 1, f"Document {n}{'~' * (n % 2)}.") for n in range(10)]
    records = published(pipeline, *events)
    upgrade(monkeypatch)
    assert tried(pipeline, records) == Sample(tried=10, chunks=10, new_texts=5)
    some = tried(pipeline, records, limit=4)
    assert (some.tried, some.chunks) == (4, 4)
    assert some == tried(pipeline, records, limit=4)


def test_texts_of_another_document_count_as_embedded(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = published(pipeline, make_event("a", 1, "The ~mill."), make_event("b", 1, "The mill."))
    upgrade(monkeypatch)
    assert tried(pipeline, records).new_texts == 0


def test_records_that_are_not_there_are_counted(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = published(pipeline, make_event("a", 1, "The mill."), make_event("b", 1, "A weir."))
    upgrade(monkeypatch)
    del records[0]
    assert tried(pipeline, records) == Sample(tried=1, not_read=1, chunks=1)
    # Another record has taken its place: the topic was written anew.
    records[0] = pipeline.records([make_event("c", 1, "A bridge.")], first_offset=0)[0]
    assert tried(pipeline, records).not_read == 1


def test_dead_letters_of_the_newer_preparation_are_counted(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = published(pipeline, make_event("a", 1, "<p>x", content_type="text/html"))
    upgrade(monkeypatch)
    pipeline.connection.execute("UPDATE freshet.document SET content_type = 'application/pdf'")
    assert tried(pipeline, records).dead_letters == 1


def test_an_estimate_scales_with_the_documents() -> None:
    some = Sample(tried=50, not_read=2, dead_letters=1, chunks=200, new_texts=30)
    assert some.estimate(1_000) == 600
    assert some.line(1_000) == (
        "about 600 texts to embed: of 200 chunks that 50 of these documents have now, 30 have a new text; "
        "1 become dead letters and stay as they are; 2 more have no record"
    )
    assert Sample(not_read=3).estimate(7) is None
    assert Sample(not_read=3).line(7).startswith("none of 3 records could be read")

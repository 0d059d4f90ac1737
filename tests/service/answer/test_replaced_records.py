"""A wait for a record whose version has another content, by a record that was written before it."""

import json

import pytest

from corpus.answer.await_fresh import current_outcome
from corpus.service import AwaitFreshRequest
from ingest.event import KafkaRecord
from tests.support.pipeline import NOW_MS, Pipeline, make_event

pytestmark = pytest.mark.service


def why(pipeline: Pipeline, offset: int, partition: int = 0) -> str:
    request = AwaitFreshRequest(source="s", topic="s", partition=partition, offset=offset)
    return str(current_outcome(pipeline.connection, request).why)


def written_at(at: int, content: str, **other: str) -> KafkaRecord:
    value = json.dumps(make_event("a", 1, content, **other)).encode()
    return KafkaRecord(topic="", partition=0, offset=0, timestamp_ms=at, key=b"a", value=value)


@pytest.mark.parametrize("earlier", [("other", {}), ("text", {"title": "Other"})])
def test_a_record_whose_content_an_earlier_record_replaced(
    pipeline: Pipeline, earlier: tuple[str, dict[str, str]]
) -> None:
    content, other = earlier
    pipeline.ingest(written_at(NOW_MS, "text"))
    pipeline.ingest(written_at(NOW_MS + 1, "text"))
    assert (why(pipeline, 0), why(pipeline, 1)) == ("retrievable", "unchanged")
    pipeline.ingest(written_at(NOW_MS - 1, content, **other), partition=1)
    assert why(pipeline, 0, partition=1) == "retrievable"
    assert (why(pipeline, 0), why(pipeline, 1)) == ("superseded", "superseded")


def test_repetitions_of_what_another_content_outranks(pipeline: Pipeline) -> None:
    """In one batch, as in one each: neither says that the corpus has its content."""
    pipeline.ingest(make_event("a", 1, "text"))
    report = pipeline.ingest(make_event("a", 1, "other"), make_event("a", 1, "other"))
    assert (report.superseded, report.unchanged) == (2, 0)
    pipeline.ingest(make_event("a", 1, "other"))
    assert [why(pipeline, offset) for offset in range(4)] == ["retrievable"] + ["superseded"] * 3


def test_a_later_end_with_another_content_is_no_promise_of_that_content(
    pipeline: Pipeline,
) -> None:
    pipeline.ingest(make_event("a", 1, "text"))
    pipeline.ingest(make_event("a", 1, "other", expires_at="2199-01-01T00:00:00Z"))
    assert pipeline.visible() == {"a": (1, "text")}
    assert (why(pipeline, 0), why(pipeline, 1)) == ("retrievable", "superseded")

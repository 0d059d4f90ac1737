"""Events that PostgreSQL refused, beside what waits and counts say of them."""

from typing import Any

import pytest

from corpus.answer.await_fresh import current_outcome
from corpus.service import AwaitFreshRequest
from tests.support.pipeline import Pipeline, make_event

pytestmark = pytest.mark.service

KEPT = "title NOT LIKE 'Refused%'"


def why(pipeline: Pipeline, offset: int) -> str:
    request = AwaitFreshRequest(source="s", topic="s", partition=0, offset=offset)
    return str(current_outcome(pipeline.connection, request).why)


def refused(document_id: str, version: int, **other: Any) -> Any:
    return make_event(document_id, version, "bad", **({"title": "Refused"} | other))


def test_waits_and_counts_of_refused_events(pipeline: Pipeline) -> None:
    """Two documents in one batch, one of them twice, one the newest of three versions; then again in a later batch."""
    pipeline.connection.execute(
        f"ALTER TABLE freshet.document ADD CONSTRAINT refuses CHECK ({KEPT}) NOT VALID".encode()
    )
    report = pipeline.ingest(
        make_event("a", 1, "one"),
        make_event("a", 2, "two"),
        refused("a", 3),
        refused("b", 1),
        refused("b", 1, title="Refused again", expires_at="2199-01-01T00:00:00Z"),
        make_event("c", 1, "fine"),
    )
    assert (report.records, report.dead_lettered, report.superseded, report.applied) == (6, 3, 1, 2)
    again = pipeline.ingest(refused("a", 3), make_event("c", 1, "fine"), refused("a", 4))
    assert (again.records, again.dead_lettered, again.unchanged) == (3, 2, 1)
    assert {name: version for name, (version, _) in pipeline.visible().items()} == {"a": 2, "c": 1}
    assert [why(pipeline, offset) for offset in range(9)] == [
        "superseded",
        "retrievable",
        *["dead_lettered"] * 3,
        "retrievable",
        "dead_lettered",
        "unchanged",
        "dead_lettered",
    ]
    left = pipeline.connection.execute("SELECT count(*) FROM freshet.refused_event").fetchone()
    assert left == (0,)


def test_a_later_end_that_is_refused_leaves_the_document_as_it_was(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    pipeline.connection.execute(
        b"ALTER TABLE freshet.document ADD CONSTRAINT refuses CHECK (expires_at IS NULL) NOT VALID"
    )
    report = pipeline.ingest(
        make_event("a", 1, "one", expires_at="2199-01-01T00:00:00Z"), make_event("b", 1, "two")
    )
    assert (report.dead_lettered, report.applied) == (1, 1)
    assert [why(pipeline, offset) for offset in range(3)] == [
        "retrievable",
        "dead_lettered",
        "retrievable",
    ]

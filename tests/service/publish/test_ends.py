"""Ends of documents beside the order of records: no past changes, and the cut of batches decides nothing."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from corpus.answer.await_fresh import current_outcome
from corpus.clean.cleaner import Cleaner
from corpus.service import AwaitFreshRequest
from corpus.sql import query
from tests.support.pipeline import Pipeline, make_event

pytestmark = pytest.mark.service

PAST, FUTURE = "2020-01-01T00:00:00Z", "2199-01-01T00:00:00Z"


def why(pipeline: Pipeline, offset: int, partition: int = 0) -> str:
    """How a wait for a record ends now."""
    request = AwaitFreshRequest(
        source=pipeline.spec.source,
        topic=pipeline.spec.source,
        partition=partition,
        offset=offset,
    )
    return str(current_outcome(pipeline.connection, request).why)


def now(pipeline: Pipeline) -> datetime:
    """By the database's clock."""
    found = pipeline.connection.execute("SELECT clock_timestamp()").fetchone()
    assert found is not None
    return found[0]


def found_at(pipeline: Pipeline, instant: datetime) -> list[str]:
    """Documents that a search as of an instant finds, by the text "text"."""
    hits = pipeline.connection.execute(
        "SELECT document_id FROM freshet.search(NULL, 'text', 10, 'text', p_as_of => %s)",
        (instant,),
    )
    return sorted(hit[0] for hit in hits)


def announced(pipeline: Pipeline, batch: int) -> list[str]:
    """Documents of a batch's notice."""
    values = {"source": pipeline.spec.source, "batch": batch, "most": 10}
    return [
        row[0]
        for name in ("batch_changes", "batch_expiries")
        for row in pipeline.connection.execute(query(name), values)
    ]


@pytest.mark.parametrize("has_end", [True, False])
def test_an_end_that_comes_after_the_withdrawal_changes_no_past(
    pipeline: Pipeline, has_end: bool
) -> None:
    """The later end lies between an instant that was answered and now: it is past, and the document stays away."""
    ends = {"expires_at": PAST} if has_end else {}
    pipeline.ingest(make_event("a", 1, "text", **ends))
    time.sleep(0.002)
    answered = now(pipeline)
    before = found_at(pipeline, answered)
    assert before == ([] if has_end else ["a"])
    end = answered + timedelta(milliseconds=1) if has_end else answered - timedelta(days=1)
    time.sleep(0.002)
    pipeline.expire(after_seconds=1)
    pipeline.ingest(make_event("a", 1, "text", expires_at=end.astimezone(UTC).isoformat()))
    assert pipeline.visible() == {}
    assert found_at(pipeline, answered) == before
    # A subscriber who reads the ledger only now is notified of what was visible, once.
    assert [announced(pipeline, batch) for batch in (1, 2, 3)] == [["a"], ["a"], []]


def test_a_past_end_that_was_added_counts_when_the_document_is_sent_again(
    pipeline: Pipeline,
) -> None:
    pipeline.ingest(make_event("a", 1, "text"))
    pipeline.expire(after_seconds=1)
    pipeline.ingest(make_event("a", 1, "text", expires_at=PAST))
    pipeline.expire()
    pipeline.ingest(make_event("a", 1, "text"))
    assert pipeline.visible() == {}
    pipeline.ingest(make_event("a", 1, "text", expires_at=FUTURE))
    assert pipeline.visible() == {"a": (1, "text")}


@pytest.mark.parametrize("first_end", [PAST, "2198-01-01T00:00:00Z", None])
def test_a_later_end_counts_although_a_delete_of_the_version_came_in_its_batch(
    database_url: str, tmp_path: Path, cleaner: Cleaner, first_end: str | None
) -> None:
    """The delete is later than the version's first record, so it is superseded in every cut."""
    ends = [] if first_end is None else [("expires_at", first_end)]
    events: list[Any] = [
        make_event("a", 1, "text", **dict(ends)),
        make_event("a", 1, op="delete"),
        make_event("a", 1, "text", expires_at=FUTURE),
    ]
    seen: list[Any] = []
    for together in (True, False):
        source = "together" if together else "apart"
        folder = tmp_path / source
        with Pipeline(database_url, folder, source=source, cleaner=cleaner) as pipeline:
            pipeline.ingest(events[0])
            pipeline.expire()
            for batch in [events[1:]] if together else [[event] for event in events[1:]]:
                pipeline.ingest(*batch)
            ended = pipeline.connection.execute(
                "SELECT expires_at, observed_at FROM freshet.document WHERE source = %s AND is_head",
                (source,),
            ).fetchall()
            seen.append((pipeline.visible(), ended, why(pipeline, 0)))
            assert why(pipeline, 1) != "deleted"
    assert seen[0] == seen[1]
    assert seen[0][0] == {"a": (1, "text")}

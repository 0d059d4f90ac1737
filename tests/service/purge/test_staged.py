"""Staged files that no batch needs go at the age that their source says: failed, cancelled, never handed over."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from corpus.retention.spec import RetentionSpec
from corpus.staging.layout import parse_name
from corpus.staging.sweep import Sweeper, SweptFiles
from tests.support.pipeline import Pipeline, make_event

HOUR = 3_600


@pytest.fixture
def other(pipeline: Pipeline, tmp_path: Path) -> Iterator[Pipeline]:
    """A second source in the same store, which keeps its files for the default of a day."""
    url, cleaner = pipeline.database_url, pipeline.cleaner
    with Pipeline(url, tmp_path, source="other", cleaner=cleaner) as made:
        yield made


def keep_for(pipeline: Pipeline, seconds: int) -> None:
    pipeline.spec = replace(pipeline.spec, retention=RetentionSpec(staged_files_seconds=seconds))
    pipeline.configure()


def leave_behind(pipeline: Pipeline) -> int:
    """Files of a batch that failed, and a micro-batch that was never handed over; returns how many."""
    before = len(names(pipeline))
    failed = pipeline.stage(pipeline.records([make_event("a", 1, "one")]))
    pipeline.prepare([failed], 7)
    pipeline.stage(pipeline.records([make_event("b", 1, "two")]))
    return len(names(pipeline)) - before


def names(pipeline: Pipeline) -> list[str]:
    return [*pipeline.store.names("events"), *pipeline.store.names("batches")]


def sources_of(pipeline: Pipeline) -> set[str]:
    return {name.source for name in map(parse_name, names(pipeline)) if name is not None}


def sweep(pipeline: Pipeline, seconds: float) -> SweptFiles:
    """As a storer does so many seconds from now; no entity holds a file."""
    sweeper = Sweeper(pipeline.store, pipeline.pool)
    now = datetime.now(UTC) + timedelta(seconds=seconds)
    return sweeper.remove(sweeper.find(now), {"s": (), "other": ()})


def test_each_source_has_its_own_age(pipeline: Pipeline, other: Pipeline) -> None:
    keep_for(pipeline, HOUR)
    mine, its = leave_behind(pipeline), leave_behind(other)
    assert (mine, its) == (6, 6)
    assert sweep(pipeline, HOUR - 60).removed == 0
    assert sweep(pipeline, HOUR + 60).removed == mine
    assert sources_of(pipeline) == {"other"}
    assert sweep(pipeline, 24 * HOUR - 60).removed == 0
    assert sweep(pipeline, 24 * HOUR + 60).removed == its
    assert names(pipeline) == []


def test_a_longer_age_keeps_for_longer(pipeline: Pipeline) -> None:
    keep_for(pipeline, 72 * HOUR)
    left = leave_behind(pipeline)
    assert sweep(pipeline, 25 * HOUR).removed == 0
    assert sweep(pipeline, 73 * HOUR).removed == left


def test_what_a_batch_needs_stays_at_any_age(pipeline: Pipeline) -> None:
    keep_for(pipeline, HOUR)
    waiting = pipeline.stage(pipeline.records([make_event("a", 1, "one")]))
    sweeper = Sweeper(pipeline.store, pipeline.pool)
    later = datetime.now(UTC) + timedelta(days=30)
    for held in (None, {waiting.url}):
        assert sweeper.remove(sweeper.find(later), {"s": held}).removed == 0
    assert pipeline.run(waiting).applied == 1

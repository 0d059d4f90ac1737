"""Clocks that are wrong by two hours: those of processes decide nothing, and those of producers no expiry."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from corpus.clean.cleaner import Cleaner
from corpus.source import FreshnessSpec
from ingest.event import KafkaRecord
from tests.support.pipeline import Pipeline, make_event, with_time

TWO_HOURS = int(timedelta(hours=2).total_seconds())
# Of what lies at the ages of minutes: the documents that an hour's expiry withdraws.
AGES = {"fresh": 1, "of-half-an-hour": 30, "of-50-minutes": 50, "of-61-minutes": 61, "old": 600}
OVERDUE = {"of-61-minutes", "old"}


@pytest.fixture
def skewed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`skewed(seconds)`: from now on the clock of this process is wrong; it may also go back."""
    right = time.time

    def skew(seconds: int) -> None:
        monkeypatch.setattr(time, "time", lambda: right() + seconds)
        monkeypatch.setattr(time, "time_ns", lambda: int((right() + seconds) * 1e9))

    return skew


def aged(pipeline: Pipeline) -> None:
    """Documents that the database saw so many minutes ago."""
    pipeline.ingest(*(make_event(name, 1, f"The weir is {name}.") for name in AGES))
    for name, minutes in AGES.items():
        pipeline.connection.execute(
            """UPDATE freshet.document SET observed_at = now() - make_interval(mins => %s)
               WHERE document_id = %s""",
            (minutes, name),
        )


@pytest.mark.parametrize("seconds", [-TWO_HOURS, TWO_HOURS])
def test_expiry_follows_the_clock_of_the_database(
    seconds: int,
    skewed: Callable[[int], None],
    database_url: str,
    tmp_path: Path,
    cleaner: Cleaner,
) -> None:
    skewed(seconds)
    freshness = FreshnessSpec(expire_after_seconds=3_600, max_expiry_ratio=1.0)
    with Pipeline(database_url, tmp_path, cleaner=cleaner, freshness=freshness) as pipeline:
        aged(pipeline)
        pipeline.expire(after_seconds=3_600)
        assert set(pipeline.visible()) == AGES.keys() - OVERDUE
        skewed(-seconds)  # the clock jumps by four hours
        assert pipeline.expire(after_seconds=3_600).documents_expired == 0
        pipeline.ingest(make_event("old", 2, "The weir is old and was built again."))
        assert set(pipeline.visible()) == AGES.keys() - {"of-61-minutes"}


def test_a_producer_whose_clock_is_ahead_does_not_keep_its_documents(pipeline: Pipeline) -> None:
    """Its events are of the future; they count as seen when they came, and not later."""
    [future] = pipeline.records([make_event("ahead", 1, "Of tomorrow.")])
    now_ms = int(time.time() * 1000)
    pipeline.run(pipeline.stage([with_time(future, now_ms + TWO_HOURS * 1000)]))
    [row] = pipeline.connection.execute(
        "SELECT observed_at <= clock_timestamp() FROM freshet.document WHERE is_head"
    ).fetchall()
    assert row == (True,)


def test_instants_rise_when_the_clock_of_a_producer_goes_back(pipeline: Pipeline) -> None:
    """As at the end of summer time on a machine that keeps local time: the version decides, not the time."""
    now_ms = int(time.time() * 1000)
    for version, minutes in ((1, 0), (2, -60), (3, 60), (4, -120)):
        [record] = pipeline.records([make_event("d", version, f"Weir {version}.")])
        moved: KafkaRecord = with_time(record, now_ms + minutes * 60_000)
        pipeline.run(pipeline.stage([moved]))
        assert pipeline.visible() == {"d": (version, f"Weir {version}.")}
    instants = [
        row[0]
        for row in pipeline.connection.execute(
            "SELECT published_at FROM freshet.batch ORDER BY batch"
        ).fetchall()
    ]
    assert instants == sorted(set(instants))

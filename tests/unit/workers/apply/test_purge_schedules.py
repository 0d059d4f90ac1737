"""The schedule of a source's purges: what it is built from, and which sources have one."""

from dataclasses import replace
from datetime import timedelta

import pytest

from corpus.purge.purge import PurgeCursor, PurgeOrder
from corpus.retention.spec import RetentionSpec
from corpus.source import SourceSpec
from workers.apply import purge_schedules
from workers.apply.kind import Target
from workers.apply.purge_schedules import PurgeSchedules, build, schedule_id, spec_hash
from workers.apply.sources import ConfiguredSource
from workers.config.file import Config

DAILY = SourceSpec(source="peps", topics=("peps",), retention=RetentionSpec(rate=3))


def test_it_starts_a_purge_of_the_source() -> None:
    schedule = build(DAILY)
    [interval] = schedule.spec.intervals
    assert interval.every == timedelta(days=1)
    action = schedule.action
    assert action.id == "purge:peps"  # type: ignore[union-attr]
    [cursor] = action.args  # type: ignore[union-attr]
    assert cursor == PurgeCursor(order=PurgeOrder(source="peps", rate=3))


@pytest.mark.parametrize("change", [{"every_seconds": 1}, {"rate": 0}])
def test_another_setting_is_another_schedule(change: dict[str, int]) -> None:
    other = replace(DAILY, retention=replace(DAILY.retention, **change))
    assert spec_hash(other) != spec_hash(DAILY)


async def test_retired_sources_have_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Services:
        connection = None

    retired = SourceSpec(source="old", topics=("old",))
    stored = {
        "old": ConfiguredSource(retired, is_retired=True),
        "damaged": ConfiguredSource(replace(retired, source="damaged"), unreadable="no JSON"),
    }
    monkeypatch.setattr(purge_schedules, "read_sources", lambda _connection: stored)
    target = Target(config=Config(sources=(DAILY,), subscribers=()))
    desired = await PurgeSchedules().desired(Services(), target)  # type: ignore[arg-type]
    assert set(desired) == {schedule_id("old"), schedule_id("peps")}

"""The schedule of a source's audits: what it is built from, and which sources have one."""

from dataclasses import replace
from datetime import timedelta

import pytest

from corpus.audit.audit import AuditCursor, AuditOrder
from corpus.source import AuditSpec, SourceSpec
from workers.apply.audit_schedules import AuditSchedules, build, schedule_id, spec_hash
from workers.apply.kind import Target
from workers.config.file import Config
from workers.config.tables import ConfigFile

WEEKLY = SourceSpec(
    source="peps", topics=("peps",), audit=AuditSpec(every_seconds=604_800, sample=9, rate=3)
)


def test_it_starts_an_audit_of_the_source() -> None:
    schedule = build(WEEKLY)
    [interval] = schedule.spec.intervals
    assert interval.every == timedelta(days=7)
    action = schedule.action
    assert action.id == "audit:peps"  # type: ignore[union-attr]
    [cursor] = action.args  # type: ignore[union-attr]
    assert cursor == AuditCursor(order=AuditOrder(source="peps", sample=9, rate=3))


@pytest.mark.parametrize("change", [{"every_seconds": 1}, {"sample": 0}, {"rate": 0}])
def test_another_setting_is_another_schedule(change: dict[str, int]) -> None:
    other = replace(WEEKLY, audit=replace(WEEKLY.audit, **change))
    assert spec_hash(other) != spec_hash(WEEKLY)


async def test_only_sources_that_name_an_interval_have_one() -> None:
    never = SourceSpec(source="never", topics=("never",))
    target = Target(config=Config(sources=(WEEKLY, never), subscribers=()))
    desired = await AuditSchedules().desired(None, target)  # type: ignore[arg-type]
    assert set(desired) == {schedule_id("peps")}


def test_the_table_is_read() -> None:
    file = ConfigFile.model_validate({"source": {"s": {"audit": {"every": "7d", "sample": 5}}}})
    [spec] = file.sources()
    assert spec.audit == AuditSpec(every_seconds=604_800, sample=5)
    assert SourceSpec.from_json(spec.to_json()) == spec

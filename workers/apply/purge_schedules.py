"""Temporal Schedules of the purges: one per source, retired ones included, since their rows stay."""

import hashlib
import json
from collections.abc import Iterable
from datetime import timedelta

from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
)

from corpus import task_queues
from corpus.purge.purge import PurgeCursor, PurgeOrder, purge_workflow_id
from corpus.purge.workflows import PurgeWorkflow
from corpus.source import SourceSpec
from workers.apply.kind import Services, Target
from workers.apply.source_schedules import SourceSchedules
from workers.apply.sources import ConfiguredSource, read_sources

# Raised when `build` changes, so that reconciling updates the schedules that exist.
_BUILD_REVISION = 1
# A purge that an outage prevented is made up for within this time.
_CATCHUP_WINDOW = timedelta(hours=1)
_MAX_JITTER = timedelta(hours=1)  # spreads the purges of many sources


class PurgeSchedules(SourceSchedules):
    """That of a source that the database no longer has is deleted."""

    name = "purge schedule"

    def schedule_id(self, source: str) -> str:
        return schedule_id(source)

    def spec_hash(self, spec: SourceSpec) -> str:
        return spec_hash(spec)

    def build(self, spec: SourceSpec) -> Schedule:
        return build(spec)

    def wanted(self, services: Services, target: Target) -> Iterable[SourceSpec]:
        """Every source of the database, as the file says where it names it."""
        stored = read_sources(services.connection).values()
        specs = {row.spec.source: row.spec for row in stored if self.is_wanted(row)}
        configured = {spec.source: spec for spec in target.config.sources}
        return {**specs, **configured}.values()

    def is_wanted(self, source: ConfiguredSource) -> bool:
        return not source.unreadable


def schedule_id(source: str) -> str:
    """Id of the schedule of a source's purges."""
    return f"freshet/{source}/purge"


def spec_hash(spec: SourceSpec) -> str:
    """Hash of everything that the schedule is built from; a purge reads the ages from the database."""
    retention = spec.retention
    built_from = [
        *(_BUILD_REVISION, spec.source, task_queues.WORKFLOWS),
        *(retention.every_seconds, retention.rate),
    ]
    digest = hashlib.sha256(json.dumps(built_from).encode())
    return digest.hexdigest()[:16]


def build(spec: SourceSpec) -> Schedule:
    """The schedule of a source."""
    every = timedelta(seconds=spec.retention.every_seconds)
    order = PurgeOrder(source=spec.source, rate=spec.retention.rate)
    return Schedule(
        action=ScheduleActionStartWorkflow(
            PurgeWorkflow.run,
            PurgeCursor(order=order),
            id=purge_workflow_id(spec.source),
            task_queue=task_queues.WORKFLOWS,
        ),
        spec=ScheduleSpec(
            intervals=[ScheduleIntervalSpec(every=every)],
            jitter=min(every / 10, _MAX_JITTER),
        ),
        policy=SchedulePolicy(
            overlap=ScheduleOverlapPolicy.SKIP,
            catchup_window=_CATCHUP_WINDOW,
            pause_on_failure=False,
        ),
        state=ScheduleState(note="made by freshet apply; pausing it is kept"),
    )

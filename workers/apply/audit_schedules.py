"""Temporal Schedules of the audits: one per source that continues and names an interval."""

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
from corpus.audit.audit import AuditCursor, AuditOrder, audit_workflow_id
from corpus.audit.workflows import AuditWorkflow
from corpus.source import SourceSpec
from workers.apply.kind import Services, Target
from workers.apply.source_schedules import SourceSchedules
from workers.apply.sources import ConfiguredSource

# Raised when `build` changes, so that reconciling updates the schedules that exist.
_BUILD_REVISION = 1
# An audit that an outage prevented is made up for within this time.
_CATCHUP_WINDOW = timedelta(hours=1)
_MAX_JITTER = timedelta(minutes=10)  # spreads the audits of many sources


class AuditSchedules(SourceSchedules):
    """Those of sources that are retired, or name no interval any more, are deleted."""

    name = "audit schedule"

    def schedule_id(self, source: str) -> str:
        return schedule_id(source)

    def spec_hash(self, spec: SourceSpec) -> str:
        return spec_hash(spec)

    def build(self, spec: SourceSpec) -> Schedule:
        return build(spec)

    def wanted(self, services: Services, target: Target) -> Iterable[SourceSpec]:
        """Those that continue and are audited by schedule."""
        return (spec for spec in target.continuing if spec.audit.every_seconds)

    def is_wanted(self, source: ConfiguredSource) -> bool:
        return not source.is_retired and bool(source.spec.audit.every_seconds)


def schedule_id(source: str) -> str:
    """Id of the schedule of a source's audits."""
    return f"freshet/{source}/audit"


def spec_hash(spec: SourceSpec) -> str:
    """Hash of everything that the schedule is built from."""
    audit = spec.audit
    built_from = [
        *(_BUILD_REVISION, spec.source, task_queues.WORKFLOWS),
        *(audit.every_seconds, audit.sample, audit.rate),
    ]
    digest = hashlib.sha256(json.dumps(built_from).encode())
    return digest.hexdigest()[:16]


def build(spec: SourceSpec) -> Schedule:
    """The schedule of a source that names an interval."""
    audit = spec.audit
    every = timedelta(seconds=audit.every_seconds or 0)
    order = AuditOrder(source=spec.source, sample=audit.sample, rate=audit.rate)
    return Schedule(
        action=ScheduleActionStartWorkflow(
            AuditWorkflow.run,
            AuditCursor(order=order),
            id=audit_workflow_id(spec.source),
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

"""Temporal Schedules of the audits: one per source that continues and names an interval."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import (
    Client,
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
from corpus.search_attributes import SPEC_HASH
from corpus.source import SourceSpec
from freshness import schedules
from workers.apply.change import Action, Change, StalePlanError
from workers.apply.kind import Kind, Names, Services, Target
from workers.apply.schedules import errors_translated
from workers.apply.settling import until_settled
from workers.apply.sources import read_sources

# Raised when `build` changes, so that reconciling updates the schedules that exist.
_BUILD_REVISION = 1
# An audit that an outage prevented is made up for within this time.
_CATCHUP_WINDOW = timedelta(hours=1)
_MAX_JITTER = timedelta(minutes=10)  # spreads the audits of many sources


@dataclass(frozen=True, slots=True)
class AuditSchedule:
    """A schedule, by the hash of all that it is built from."""

    built_from: str | None
    spec: SourceSpec | None = None  # None: as read from the server

    def fields(self) -> Mapping[str, Any]:
        """The hash. An operator's pause is no part of it, and is kept."""
        return {"built_from": self.built_from}


class AuditSchedules(Kind[AuditSchedule]):
    """Those of sources that are retired, or name no interval any more, are deleted."""

    name = "audit schedule"

    async def desired(
        self, services: Services, target: Target
    ) -> Mapping[str, AuditSchedule]:
        """One per source that continues and is audited by schedule."""
        return {
            schedule_id(spec.source): AuditSchedule(spec_hash(spec), spec)
            for spec in target.continuing
            if spec.audit.every_seconds
        }

    async def existing(self, services: Services) -> Names:
        """Those of the sources that the database has."""
        sources = read_sources(services.connection)
        return {schedule_id(source) for source in sources}

    async def current(
        self, services: Services, names: Names
    ) -> Mapping[str, AuditSchedule]:
        """Each as the server has it."""
        reads = [_read(services.client, name) for name in names]
        with errors_translated("reading the schedules"):
            states = await asyncio.gather(*reads)
        return {name: state for name, state in zip(names, states, strict=True) if state}

    def surplus(
        self, name: str, current: AuditSchedule, target: Target
    ) -> Change[AuditSchedule] | None:
        """Its source is retired, or is not audited by schedule; that of a source that cannot be read stays."""
        if name in map(schedule_id, target.unreadable):
            return None
        return Change(kind=self.name, name=name, action=Action.DELETE, current=current)

    async def write(self, services: Services, change: Change[AuditSchedule]) -> None:
        """Create, update or delete it.

        Raises:
            StalePlanError: another `apply` has changed the schedule's source since.
        """
        desired = change.desired
        built_from = desired.built_from if desired else None
        needed = _built_from_now(services, change.name)
        if built_from != needed:
            raise StalePlanError(
                "its source was changed after the plan was made; run `freshet apply` again"
            )
        with errors_translated("writing the schedule"):
            if desired is None or desired.spec is None:
                await schedules.delete(services.client, change.name)
            else:
                await _write_when_settled(services.client, desired.spec)


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


@until_settled
async def _write_when_settled(client: Client, spec: SourceSpec) -> None:
    name = schedule_id(spec.source)
    await schedules.put(client, name, build(spec), spec_hash(spec))


async def _read(client: Client, name: str) -> AuditSchedule | None:
    described = await schedules.describe(client, name)
    if described is None:
        return None
    return AuditSchedule(described.typed_search_attributes.get(SPEC_HASH))


def _built_from_now(services: Services, name: str) -> str | None:
    """What the schedule is to be built from by what the database says now; None: no source needs it."""
    sources = read_sources(services.connection)
    for source in sources.values():
        spec = source.spec
        every = spec.audit.every_seconds
        if source.is_retired or not every:
            continue
        if schedule_id(spec.source) == name:
            return spec_hash(spec)
    return None

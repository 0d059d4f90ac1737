"""One Temporal Schedule per source, reconciled with the configuration; reconciling twice changes nothing."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from corpus import task_queues
from corpus.search_attributes import SPEC_HASH
from corpus.source import SourceSpec
from freshness.workflows import FreshnessCheck, FreshnessWorkflow

# Raised when `build` changes, so that reconciling updates the schedules that exist.
_BUILD_REVISION = 1
# Checks that an outage prevented are made up for within this time; the server's default is a year.
_CATCHUP_WINDOW = timedelta(minutes=10)


class Changed(StrEnum):
    """What reconciling did."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleChange:
    """One schedule, and what was done with it."""

    schedule: str
    change: Changed


def schedule_id(source: str) -> str:
    """Id of a source's schedule."""
    return f"freshet/{source}/freshness"


def check_workflow_id(source: str) -> str:
    """Workflow id of a check; the server appends the time where the schedule starts it."""
    return f"freshness/{source}"


def spec_hash(spec: SourceSpec) -> str:
    """Hash of everything that the schedule is built from; the check reads the rest from the database."""
    built_from = [
        _BUILD_REVISION,
        spec.source,
        spec.freshness.check_every_seconds,
        task_queues.WORKFLOWS,
    ]
    digest = hashlib.sha256(json.dumps(built_from).encode())
    return digest.hexdigest()[:16]


def build(spec: SourceSpec) -> Schedule:
    """The schedule of a source."""
    every = timedelta(seconds=spec.freshness.check_every_seconds)
    return Schedule(
        action=ScheduleActionStartWorkflow(
            FreshnessWorkflow.run,
            FreshnessCheck(source=spec.source),
            id=check_workflow_id(spec.source),
            task_queue=task_queues.WORKFLOWS,
        ),
        spec=ScheduleSpec(
            intervals=[ScheduleIntervalSpec(every=every)],
            jitter=min(every / 10, timedelta(seconds=30)),
        ),
        policy=SchedulePolicy(
            overlap=ScheduleOverlapPolicy.SKIP,
            catchup_window=_CATCHUP_WINDOW,
            pause_on_failure=False,
        ),
        state=ScheduleState(note="made by freshet apply; pausing it is kept"),
    )


async def reconcile(client: Client, specs: Iterable[SourceSpec]) -> list[ScheduleChange]:
    """Make the schedules what the sources say; delete those of sources that are gone. An operator's pause is kept."""
    have: dict[str, str | None] = {}
    async for listed in await client.list_schedules():
        if listed.id.startswith("freshet/") and listed.id.endswith("/freshness"):
            have[listed.id] = listed.typed_search_attributes.get(SPEC_HASH)
    changes = [
        ScheduleChange(schedule=schedule_id(spec.source), change=await _ensure(client, spec, have))
        for spec in specs
    ]
    for gone in sorted(set(have) - {change.schedule for change in changes}):
        try:
            await client.get_schedule_handle(gone).delete()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # the list runs a little behind
                raise
        else:
            changes.append(ScheduleChange(schedule=gone, change=Changed.DELETED))
    return changes


async def _ensure(client: Client, spec: SourceSpec, have: dict[str, str | None]) -> Changed:
    name, digest = schedule_id(spec.source), spec_hash(spec)
    if have.get(name) == digest:
        return Changed.UNCHANGED
    attributes = TypedSearchAttributes([SearchAttributePair(SPEC_HASH, digest)])
    if name not in have:
        try:
            await client.create_schedule(
                name, build(spec), trigger_immediately=True, search_attributes=attributes
            )
        except ScheduleAlreadyRunningError:
            pass  # the list runs a little behind: it is there, so update it
        else:
            return Changed.CREATED

    def update(current: ScheduleUpdateInput) -> ScheduleUpdate:
        wanted = build(spec)
        wanted.state.paused = current.description.schedule.state.paused
        wanted.state.note = current.description.schedule.state.note or wanted.state.note
        return ScheduleUpdate(schedule=wanted, search_attributes=attributes)

    await client.get_schedule_handle(name).update(update)
    return Changed.UPDATED

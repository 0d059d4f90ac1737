"""One Temporal Schedule per source: what it is built from, how it is read and written. `freshet apply` compares."""

import hashlib
import json
from datetime import timedelta
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
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
# The mark of a schedule that our keys cannot read.
UNREADABLE = "one with other payload keys"
# In the memo of the checks, which can be changed with the schedule; a schedule's own memo cannot.
_INSTALLATION = "installation"
_MAX_JITTER = timedelta(seconds=30)  # spreads the checks of many sources


def schedule_id(source: str) -> str:
    """Id of a source's schedule."""
    return f"freshet/{source}/freshness"


def source_of(name: str) -> str:
    """The source of a schedule of this id, whatever kind of schedule it is: "freshet/SOURCE/kind"."""
    return name.removeprefix("freshet/").rpartition("/")[0]


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


def build(spec: SourceSpec, installation: str | None = None) -> Schedule:
    """The schedule of a source.

    Args:
        spec: of the source.
        installation: id of the installation that makes it; None: it gets no mark.
    """
    every = timedelta(seconds=spec.freshness.check_every_seconds)
    return Schedule(
        action=ScheduleActionStartWorkflow(
            FreshnessWorkflow.run,
            FreshnessCheck(source=spec.source),
            id=check_workflow_id(spec.source),
            task_queue=task_queues.WORKFLOWS,
            memo={_INSTALLATION: installation} if installation else None,
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


async def list_ids(client: Client) -> list[str]:
    """Ids of the schedules that Freshet made; none where the namespace does not exist.

    The server's list is a little behind its schedules.
    """
    try:
        listing = await client.list_schedules()
        names = [listed.id async for listed in listing]
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return []
        raise
    return [name for name in names if is_freshness_schedule(name)]


def is_freshness_schedule(name: str) -> bool:
    """Whether a schedule of this id is one that `schedule_id` names."""
    return name.startswith("freshet/") and name.endswith("/freshness")


async def describe(client: Client, name: str) -> ScheduleDescription | None:
    """A schedule as it is now; None where it does not exist."""
    try:
        return await client.get_schedule_handle(name).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


async def made_by(client: Client, schedule: Schedule) -> str | None:
    """Id of the installation that made a schedule; None: an older Freshet, which left no mark."""
    action = schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow):
        return None
    stored: Any = (action.memo or {}).get(_INSTALLATION)
    if not isinstance(stored, Payload):
        return stored
    try:
        [installation] = await client.data_converter.decode([stored], [str])
    except (
        Exception
    ):  # of another library, or a codec: another installation has other keys
        return UNREADABLE
    return installation


async def write(
    client: Client, spec: SourceSpec, installation: str | None = None
) -> None:
    """Create a source's schedule, which checks at once, or update it. An operator's pause is kept."""
    name = schedule_id(spec.source)
    schedule = build(spec, installation)
    await put(client, name, schedule, spec_hash(spec), begins_at_once=True)


async def put(
    client: Client,
    name: str,
    schedule: Schedule,
    built_from: str,
    *,
    begins_at_once: bool = False,
) -> None:
    """Create a schedule, or update it. An operator's pause is kept.

    Args:
        client: of Temporal.
        name: id of the schedule.
        schedule: as it should be.
        built_from: hash of what it is built from, for the next comparison.
        begins_at_once: trigger it when it is created.
    """
    hashed = SearchAttributePair(SPEC_HASH, built_from)
    attributes = TypedSearchAttributes([hashed])

    def update(current: ScheduleUpdateInput) -> ScheduleUpdate:
        kept = current.description.schedule.state
        schedule.state.paused = kept.paused
        schedule.state.note = kept.note or schedule.state.note
        return ScheduleUpdate(schedule=schedule, search_attributes=attributes)

    try:
        await client.create_schedule(
            name,
            schedule,
            trigger_immediately=begins_at_once,
            search_attributes=attributes,
        )
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(name).update(update)


async def delete(client: Client, name: str) -> None:
    """Delete a schedule; one that is gone already is no error."""
    try:
        await client.get_schedule_handle(name).delete()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise

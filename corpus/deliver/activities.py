"""Shells of the activities of deliveries, and the calls that wake one; the steps are injected by workers."""

from collections.abc import Callable
from typing import TypeVar

from temporalio import activity
from temporalio.api.operatorservice.v1 import ListNexusEndpointsRequest
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from corpus import task_queues
from corpus.deliver.subscription import (
    Acknowledgement,
    DeliveryInput,
    NextNotice,
    Parking,
    WakeDeliveries,
    delivery_workflow_id,
)
from corpus.errors import FreshetError, as_application_error

DELIVERY_WORKFLOW = "DeliveryWorkflow"
_In = TypeVar("_In")
_Out = TypeVar("_Out")


async def wake_delivery(
    client: Client, subscriber: str, source: str, batch: int
) -> None:
    """Signal a delivery that a batch was published; starts the delivery where it does not run. May be repeated."""
    await _signal(client, subscriber, source, "published", batch)


async def resume_delivery(client: Client, subscriber: str, source: str) -> None:
    """Let a parked delivery call now; starts the delivery where it does not run."""
    await _signal(client, subscriber, source, "resume")


async def _signal(
    client: Client, subscriber: str, source: str, name: str, *arguments: int
) -> None:
    await client.start_workflow(
        DELIVERY_WORKFLOW,
        DeliveryInput(subscriber=subscriber, source=source),
        id=delivery_workflow_id(subscriber, source),
        task_queue=task_queues.WORKFLOWS,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal=name,
        start_signal_args=arguments,
    )


async def endpoint_exists(client: Client, name: str) -> bool:
    """Whether a Nexus endpoint exists; true where the server does not let us list endpoints (a managed server)."""
    try:
        listed = await client.operator_service.list_nexus_endpoints(
            ListNexusEndpointsRequest(name=name, page_size=1)
        )
    except RPCError as error:
        if error.status in (
            RPCStatusCode.PERMISSION_DENIED,
            RPCStatusCode.UNIMPLEMENTED,
        ):
            return True
        raise
    return bool(listed.endpoints)


class DeliveryActivities:
    """Queue `freshet`: reads the ledger and moves the cursor for deliveries."""

    def __init__(
        self,
        *,
        next_notice: Callable[[DeliveryInput], NextNotice],
        acknowledge: Callable[[Acknowledgement], None],
        park: Callable[[Parking], None],
    ) -> None:
        self._next_notice = next_notice
        self._acknowledge = acknowledge
        self._park = park

    @activity.defn(name="corpus.wake_deliveries")
    async def wake(self, request: WakeDeliveries) -> None:
        """Wake the deliveries of a batch's subscribers."""
        for subscriber in request.subscribers:
            await wake_delivery(
                activity.client(), subscriber, request.source, request.batch
            )

    @activity.defn(name="corpus.next_notice")
    def next_notice(self, delivery: DeliveryInput) -> NextNotice:
        """The notice after the cursor."""
        return _run(self._next_notice, delivery)

    @activity.defn(name="corpus.endpoint_exists")
    async def endpoint_exists(self, endpoint: str) -> bool:
        """Whether the team can be called; a call of a missing endpoint would fail the workflow task again and again."""
        return await endpoint_exists(activity.client(), endpoint)

    @activity.defn(name="corpus.acknowledge_notice")
    def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Move the cursor."""
        _run(self._acknowledge, acknowledgement)

    @activity.defn(name="corpus.park_delivery")
    def park(self, parking: Parking) -> None:
        """Record that a delivery is parked, or what holds it up."""
        _run(self._park, parking)


def _run(step: Callable[[_In], _Out], value: _In) -> _Out:
    try:
        return step(value)
    except FreshetError as error:
        raise as_application_error(error) from error

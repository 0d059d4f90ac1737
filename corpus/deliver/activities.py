"""Shells of the light activities around notices; the steps are injected by workers."""

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


async def wake_delivery(client: Client, subscriber: str, source: str, batch: int) -> None:
    """Tell a delivery that a batch is there, starting it where it does not run. Harmless when repeated."""
    await _signal(client, subscriber, source, "published", batch)


async def resume_delivery(client: Client, subscriber: str, source: str) -> None:
    """Let a parked delivery try now."""
    await _signal(client, subscriber, source, "resume")


async def _signal(client: Client, subscriber: str, source: str, name: str, *arguments: int) -> None:
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
    """Whether a Nexus endpoint is there. Where we may not ask (a managed server), it is taken to be."""
    try:
        listed = await client.operator_service.list_nexus_endpoints(
            ListNexusEndpointsRequest(name=name, page_size=1)
        )
    except RPCError as error:
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED):
            return True
        raise
    return bool(listed.endpoints)


class DeliveryActivities:
    """Queue `freshet`: the ledger for deliveries."""

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
        """Tell the deliveries that there is something new."""
        for subscriber in request.subscribers:
            await wake_delivery(activity.client(), subscriber, request.source, request.batch)

    @activity.defn(name="corpus.next_notice")
    def next_notice(self, delivery: DeliveryInput) -> NextNotice:
        """The notice after the cursor."""
        return _run(self._next_notice, delivery)

    @activity.defn(name="corpus.endpoint_exists")
    async def endpoint_exists(self, endpoint: str) -> bool:
        """Whether there is anybody to call; calling an endpoint that is not there would wedge the workflow."""
        return await endpoint_exists(activity.client(), endpoint)

    @activity.defn(name="corpus.acknowledge_notice")
    def acknowledge(self, told: Acknowledgement) -> None:
        """Move the cursor."""
        _run(self._acknowledge, told)

    @activity.defn(name="corpus.park_delivery")
    def park(self, parking: Parking) -> None:
        """Show that a delivery stands still."""
        _run(self._park, parking)


def _run(step: Callable[[_In], _Out], value: _In) -> _Out:
    try:
        return step(value)
    except FreshetError as error:
        raise as_application_error(error) from error

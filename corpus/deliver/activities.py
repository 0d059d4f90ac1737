"""Shells of the activities of deliveries, and the calls that wake one; the steps are injected by workers."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
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
    DueDelivery,
    NextNotice,
    Parking,
    WakeDeliveries,
    WakeDue,
    WakeOutcome,
    WokenDeliveries,
    delivery_workflow_id,
)
from corpus.errors import FreshetError, as_application_error

logger = logging.getLogger(__name__)

DELIVERY_WORKFLOW = "DeliveryWorkflow"
_SIGNAL_TIMEOUT = timedelta(seconds=5)
_MAX_SIGNALS = 16  # side by side, per source
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
        rpc_timeout=_SIGNAL_TIMEOUT,
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
    """Queue `freshet`: wakes deliveries, and reads the ledger and moves the cursor for them."""

    def __init__(
        self,
        *,
        next_notice: Callable[[DeliveryInput], NextNotice],
        acknowledge: Callable[[Acknowledgement], None],
        park: Callable[[Parking], None],
        to_wake: Callable[[WakeDue], Sequence[DueDelivery]],
        woken: Callable[[WokenDeliveries], None],
    ) -> None:
        self._next_notice = next_notice
        self._acknowledge = acknowledge
        self._park = park
        self._to_wake = to_wake
        self._woken = woken

    @activity.defn(name="corpus.wake_deliveries")
    async def wake(self, request: WakeDeliveries) -> None:
        """Wake the deliveries of a source, for a batch that a version before began."""
        await self.wake_due(WakeDue(source=request.source))

    @activity.defn(name="corpus.wake_due_deliveries")
    async def wake_due(self, request: WakeDue) -> WakeOutcome:
        """Wake the deliveries of a source that have a batch to read; one that cannot be woken holds up no other.

        1. read which have something to do and no wake-up outstanding
        2. signal each of them
        3. record those that were woken. The signal comes first: where this process ends between the two, the signal is
           sent once more, while a record without a signal would let the delivery wait.
        """
        # Step 1.
        due = await asyncio.to_thread(_run, self._to_wake, request)
        if not due:
            return WakeOutcome(woken=0, refused=0)
        # Step 2.
        free = asyncio.Semaphore(_MAX_SIGNALS)
        signals = [_try_to_wake(free, request.source, delivery) for delivery in due]
        accepted = await asyncio.gather(*signals)
        subscribers = tuple(
            delivery.subscriber
            for delivery, was_accepted in zip(due, accepted, strict=True)
            if was_accepted
        )
        # Step 3.
        if subscribers:
            woken = WokenDeliveries(
                source=request.source, batch=due[0].batch, subscribers=subscribers
            )
            await asyncio.to_thread(_run, self._woken, woken)
        return WakeOutcome(woken=len(subscribers), refused=len(due) - len(subscribers))

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


async def _try_to_wake(
    free: asyncio.Semaphore, source: str, delivery: DueDelivery
) -> bool:
    """Signal one delivery; whether Temporal accepted the signal."""
    async with free:
        try:
            await wake_delivery(
                activity.client(), delivery.subscriber, source, delivery.batch
            )
        except RPCError as error:
            context = {
                "action": "wake_up_refused",
                "source": source,
                "subscriber": delivery.subscriber,
                "error": f"{error.status.name}: {error.message}",
            }
            logger.warning("a delivery cannot be woken; again later", extra=context)
            return False
    return True


def _run(step: Callable[[_In], _Out], value: _In) -> _Out:
    try:
        return step(value)
    except FreshetError as error:
        raise as_application_error(error) from error

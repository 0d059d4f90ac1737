"""DeliveryWorkflow: one per (subscriber, source); notifies a team of every published batch, in order, at least once.

The cursor is in the database and nothing else has to be remembered, so continue-as-new, a restart and a repeated
wake-up lose nothing. A wake-up that is lost delays a notice until the next re-check.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import (
    NexusOperationError,
    TimeoutError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from corpus import policies
    from corpus.deliver import attempts
    from corpus.deliver.activities import DELIVERY_WORKFLOW, DeliveryActivities
    from corpus.deliver.subscription import (
        Acknowledgement,
        DeliveryInput,
        NextNotice,
        Parking,
    )
    from corpus.service import BatchNotice, BatchSubscriberService

RECHECK_INTERVAL = timedelta(minutes=5)  # the longest delay that a lost wake-up causes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """Answer of the `status` query."""

    told: int  # newest batch that this run acknowledged; the database has the cursor
    declined: int  # declines in a row
    waiting_for: str  # "" while it works

    @property
    def acknowledged_batch(self) -> int:
        """Newest batch that this run acknowledged; `told` is its name on the wire."""
        return self.told


@workflow.defn(name=DELIVERY_WORKFLOW)
class DeliveryWorkflow:
    """Delivers the notices of one source to one team.

    1. read the batch after the cursor from the ledger; where there is none, wait to be woken or for the next re-check
    2. check that the team's endpoint exists; where it does not, park and try again later
    3. call the team's `batch_published`; `attempts` says what happens when the call fails
    4. move the cursor
    """

    @workflow.init
    def __init__(self, delivery: DeliveryInput) -> None:
        self._delivery = delivery
        self._attempts = attempts.Attempts()
        self._acknowledged_batch = 0
        self._woken = False
        self._resumed = False
        self._waiting_for = ""

    @workflow.run
    async def run(self, delivery: DeliveryInput) -> None:
        """Deliver until the subscription ends."""
        while True:
            self._woken = self._resumed = False
            # Step 1.
            following: NextNotice = await workflow.execute_activity_method(
                DeliveryActivities.next_notice, delivery, **policies.DELIVERY_STEP
            )
            if following.ended:
                return
            if following.notice is None:
                await self._wait_for_batch()
            # Step 2.
            elif not await workflow.execute_activity_method(
                DeliveryActivities.endpoint_exists,
                following.endpoint,
                **policies.DELIVERY_STEP,
            ):
                await self._react(self._attempts.endpoint_missing(following.endpoint))
            else:
                await self._deliver(following.endpoint, following.notice)
            if workflow.info().is_continue_as_new_suggested():
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(delivery)

    async def _deliver(self, endpoint: str, notice: BatchNotice) -> None:
        # Step 3.
        client = workflow.create_nexus_client(
            service=BatchSubscriberService, endpoint=endpoint
        )
        try:
            await client.execute_operation(
                BatchSubscriberService.batch_published,
                notice,
                schedule_to_close_timeout=attempts.CALL_TIMEOUT,
            )
        except NexusOperationError as error:
            if is_cancelled_exception(error):
                raise
            await self._react(self._reaction_to(error, notice.notice_id))
        else:
            # Step 4.
            await self._acknowledge(notice)

    async def _acknowledge(self, notice: BatchNotice) -> None:
        acknowledgement = Acknowledgement(
            subscriber=self._delivery.subscriber,
            source=notice.source,
            batch=notice.batch,
        )
        await workflow.execute_activity_method(
            DeliveryActivities.acknowledge, acknowledgement, **policies.DELIVERY_STEP
        )
        self._acknowledged_batch = notice.batch
        self._attempts.acknowledged()

    def _reaction_to(
        self, error: NexusOperationError, notice_id: str
    ) -> attempts.Reaction:
        cause = error.cause or error
        if isinstance(cause, TimeoutError):
            return self._attempts.timed_out(notice_id)
        return self._attempts.declined(notice_id, cause)

    async def _react(self, reaction: attempts.Reaction) -> None:
        """Record the error where operators see it, then pause."""
        parking = Parking(
            subscriber=self._delivery.subscriber,
            source=self._delivery.source,
            error=reaction.error,
            parked=reaction.parked,
        )
        await workflow.execute_activity_method(
            DeliveryActivities.park, parking, **policies.DELIVERY_STEP
        )
        if reaction.pause is not None:
            self._waiting_for = reaction.waiting_for
            with suppress(asyncio.TimeoutError):
                await workflow.wait_condition(
                    lambda: self._resumed, timeout=reaction.pause
                )
            self._waiting_for = ""

    async def _wait_for_batch(self) -> None:
        self._waiting_for = "a batch"
        with suppress(asyncio.TimeoutError):
            await workflow.wait_condition(
                lambda: self._resumed or self._woken, timeout=RECHECK_INTERVAL
            )
        self._waiting_for = ""

    @workflow.signal
    def published(self, batch: int) -> None:
        """A batch was published; only a hint, the ledger is the truth."""
        self._woken = True

    @workflow.signal
    def resume(self) -> None:
        """Call now."""
        self._resumed = True
        self._attempts.resumed()

    @workflow.query
    def status(self) -> DeliveryView:
        """Progress of this run."""
        return DeliveryView(
            told=self._acknowledged_batch,
            declined=self._attempts.declines,
            waiting_for=self._waiting_for,
        )

"""DeliveryWorkflow: one per (subscriber, source); notifies a team of every published batch, in order, at least once.

The cursor is in the database, so continue-as-new, a restart and a repeated wake-up lose nothing. What a run leaves to
the next are its failed attempts and the pause that it is in.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NoReturn

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
        CarriedAttempts,
        DeliveryInput,
        NextNotice,
        Parking,
    )
    from corpus.service import BatchNotice, BatchSubscriberService
    from corpus.trace.context import call_headers

# The source's entity repeats a wake-up until Temporal accepts it. This bounds what is left: a signal that was accepted
# and lost (Temporal was restored). It is long, since a delivery without a batch should cost nothing.
RECHECK_INTERVAL = timedelta(days=1)
# Signals of one run after which it continues as new, also while it waits; the server refuses the 10,001st.
MAX_SIGNALS = 1_000
# Id of `workflow.patched`: runs that started before this change end their waits first.
_CONTINUES_WHILE_WAITING = "continues-as-new-while-waiting"


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

    It continues as new when its history or the number of its signals grows, also while it waits or is parked.
    """

    @workflow.init
    def __init__(self, delivery: DeliveryInput) -> None:
        self._delivery = replace(delivery, carried=None)
        self._attempts = attempts.Attempts(delivery.carried)
        self._acknowledged_batch = 0
        self._signals = 0
        self._continues_while_waiting = False
        self._woken = False
        self._resumed = False
        self._waiting_for = ""

    @workflow.run
    async def run(self, delivery: DeliveryInput) -> None:
        """Deliver until the subscription ends."""
        self._continues_while_waiting = workflow.patched(_CONTINUES_WHILE_WAITING)
        if delivery.carried is not None:
            await self._pause_until(
                delivery.carried.pause_until_ms, delivery.carried.waiting_for
            )
        while True:
            self._woken = self._resumed = False
            # Step 1.
            following: NextNotice = await workflow.execute_activity_method(
                DeliveryActivities.next_notice, self._delivery, **policies.DELIVERY_STEP
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
                await self._deliver(following, following.notice)
            if self._is_long() or workflow.info().is_continue_as_new_suggested():
                self._continue_as_new(self._attempts.carry())

    async def _deliver(self, following: NextNotice, notice: BatchNotice) -> None:
        # Step 3.
        client = workflow.create_nexus_client(
            service=BatchSubscriberService, endpoint=following.endpoint
        )
        try:
            await client.execute_operation(
                BatchSubscriberService.batch_published,
                notice,
                schedule_to_close_timeout=attempts.CALL_TIMEOUT,
                headers=call_headers(following.traceparent),
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
            until = workflow.now() + reaction.pause
            await self._pause_until(_epoch_ms(until), reaction.waiting_for)

    async def _pause_until(self, until_ms: int, waiting_for: str) -> None:
        """Wait until then or until resumed; the next run goes on with the same pause."""
        pause = timedelta(milliseconds=until_ms - _epoch_ms(workflow.now()))
        if pause <= timedelta():
            return
        self._waiting_for = waiting_for
        with suppress(asyncio.TimeoutError):
            await workflow.wait_condition(
                lambda: self._resumed or self._is_long(), timeout=pause
            )
        if self._is_long() and not self._resumed:
            carried = self._attempts.carry(
                pause_until_ms=until_ms, waiting_for=waiting_for
            )
            self._continue_as_new(carried)
        self._waiting_for = ""

    async def _wait_for_batch(self) -> None:
        self._waiting_for = "a batch"
        with suppress(asyncio.TimeoutError):
            await workflow.wait_condition(
                lambda: self._resumed or self._woken or self._is_long(),
                timeout=RECHECK_INTERVAL,
            )
        self._waiting_for = ""

    def _is_long(self) -> bool:
        """Whether this run should end, also where it waits."""
        if not self._continues_while_waiting:
            return False
        has_many_signals = self._signals >= MAX_SIGNALS
        return has_many_signals or workflow.info().is_continue_as_new_suggested()

    def _continue_as_new(self, carried: CarriedAttempts) -> NoReturn:
        """Start the next run; the handlers are synchronous, so none is cut off."""
        workflow.continue_as_new(replace(self._delivery, carried=carried))

    @workflow.signal
    def published(self, batch: int) -> None:
        """A batch was published; only a hint, the ledger is the truth."""
        self._signals += 1
        self._woken = True

    @workflow.signal
    def resume(self) -> None:
        """Call now."""
        self._signals += 1
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


def _epoch_ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)

"""DeliveryWorkflow: one a (subscriber, source), tells a team of every published batch, in order, at least once.

1. read the batch after the cursor from the ledger; nothing there: wait to be woken, and look again now and then
2. look whether the team's endpoint exists; it does not: park and come back
3. call the team's `batch_published`; a team that is down is called until it answers; one that declines is asked again
   a few times, then the delivery parks
4. move the cursor

The cursor stands in the database and nothing else has to be remembered, so continue-as-new, a restart and a repeated
wake-up lose nothing; a lost wake-up costs one re-check.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import NexusOperationError, TimeoutError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from corpus import policies
    from corpus.deliver.activities import DELIVERY_WORKFLOW, DeliveryActivities
    from corpus.deliver.subscription import Acknowledgement, DeliveryInput, NextNotice, Parking
    from corpus.service import BatchNotice, BatchSubscriberService

RECHECK = timedelta(minutes=5)  # a lost wake-up strands a notice for no longer
# One call of a team that is down. The server's own retries of one operation back off up to an hour (measured: ten minutes
# down, next try four minutes after it came back), so a call is kept short and made again, which begins at one second.
ANSWER_WITHIN = timedelta(minutes=2)
DECLINES_BEFORE_PARKING = 3
FIRST_RETRY = timedelta(seconds=5)  # doubles
MAX_RETRY = timedelta(minutes=5)
PARKED_RETRY = timedelta(
    hours=1
)  # a parked delivery tries once by itself; `resume` makes it try now


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """Answer of the `status` query."""

    told: int  # newest batch this run acknowledged; the database has the cursor
    declined: int  # times in a row
    waiting_for: str  # "" when working, else what for


@workflow.defn(name=DELIVERY_WORKFLOW)
class DeliveryWorkflow:
    """See the module."""

    @workflow.init
    def __init__(self, delivery: DeliveryInput) -> None:
        self._delivery = delivery
        self._woken = False
        self._resumed = False
        self._declined = 0
        self._misses = 0
        self._unanswered = 0
        self._told = 0
        self._waiting_for = ""

    @workflow.run
    async def run(self, delivery: DeliveryInput) -> None:
        """Deliver until the subscription ends."""
        while True:
            self._woken = self._resumed = False
            # 1
            following: NextNotice = await workflow.execute_activity_method(
                DeliveryActivities.next_notice, delivery, **policies.DELIVERY_STEP
            )
            if following.ended:
                return
            if following.notice is None:
                await self._wait(RECHECK, "a batch")
            # 2
            elif not await workflow.execute_activity_method(
                DeliveryActivities.endpoint_exists, following.endpoint, **policies.DELIVERY_STEP
            ):
                await self._miss(
                    f"there is no Nexus endpoint {following.endpoint!r}; create it, or change the subscription"
                )
            else:
                await self._tell(following.endpoint, following.notice)
            if workflow.info().is_continue_as_new_suggested():
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(delivery)

    async def _tell(self, endpoint: str, notice: BatchNotice) -> None:
        # 3
        client = workflow.create_nexus_client(service=BatchSubscriberService, endpoint=endpoint)
        try:
            await client.execute_operation(
                BatchSubscriberService.batch_published,
                notice,
                schedule_to_close_timeout=ANSWER_WITHIN,
            )
        except NexusOperationError as error:
            if is_cancelled_exception(error):
                raise
            await self._refused(notice, error)
            return
        # 4
        told = Acknowledgement(
            subscriber=self._delivery.subscriber, source=notice.source, batch=notice.batch
        )
        await workflow.execute_activity_method(
            DeliveryActivities.acknowledge, told, **policies.DELIVERY_STEP
        )
        self._told, self._declined, self._misses, self._unanswered = notice.batch, 0, 0, 0

    async def _refused(self, notice: BatchNotice, error: NexusOperationError) -> None:
        cause = error.cause or error
        if isinstance(cause, TimeoutError):
            self._unanswered += 1
            await self._say(
                f"no answer to {notice.notice_id}, called {self._unanswered} times for {ANSWER_WITHIN} each",
                parked=False,
            )
            return
        self._declined += 1
        if self._declined < DECLINES_BEFORE_PARKING:
            await self._miss(f"{notice.notice_id} declined: {cause}")
            return
        await self._say(f"{notice.notice_id} declined {self._declined} times: {cause}")
        await self._wait(PARKED_RETRY, "resume", woken=False)

    async def _miss(self, error: str) -> None:
        """Not this time: park visibly, come back by itself."""
        await self._say(error)
        self._misses += 1
        await self._wait(
            min(FIRST_RETRY * 2 ** min(self._misses - 1, 10), MAX_RETRY),
            "the next try",
            woken=False,
        )

    async def _say(self, error: str, *, parked: bool = True) -> None:
        parking = Parking(
            subscriber=self._delivery.subscriber,
            source=self._delivery.source,
            error=error,
            parked=parked,
        )
        await workflow.execute_activity_method(
            DeliveryActivities.park, parking, **policies.DELIVERY_STEP
        )

    async def _wait(self, most: timedelta, what: str, *, woken: bool = True) -> None:
        self._waiting_for = what
        with suppress(asyncio.TimeoutError):
            await workflow.wait_condition(
                lambda: self._resumed or (woken and self._woken), timeout=most
            )
        self._waiting_for = ""

    @workflow.signal
    def published(self, batch: int) -> None:
        """A batch is there; only a hint."""
        self._woken = True

    @workflow.signal
    def resume(self) -> None:
        """Try now."""
        self._resumed = True
        self._declined = self._misses = 0

    @workflow.query
    def status(self) -> DeliveryView:
        """How it stands."""
        return DeliveryView(told=self._told, declined=self._declined, waiting_for=self._waiting_for)
